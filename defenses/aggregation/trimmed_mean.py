"""Coordinate-wise trimmed mean."""

from dataclasses import dataclass
from functools import partial

import torch

from fedsec.api import RoundContext
from fedsec.maths import coordinates
from fedsec.maths.rows import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class TrimmedMean:
    """The mean of each coordinate's values without its f smallest and its f largest, f being what is declared.

    Source: Yin et al., "Byzantine-Robust Distributed Learning", ICML 2018, definition 2 (coordinate-wise trimmed mean)
        with beta = f/n.
    Deviations: none.
    """

    def vector(self, rows: Rows, context: RoundContext) -> torch.Tensor:
        """Return the trimmed mean [parameters], fp32."""
        return coordinates.coordinate_wise(rows, partial(coordinates.trimmed_mean, f=context.declared_malicious))
