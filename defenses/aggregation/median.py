"""Coordinate-wise median."""

from dataclasses import dataclass

import torch

from fedsec.api import RoundContext
from fedsec.maths import coordinates
from fedsec.maths.rows import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Median:
    """The middle of each coordinate's values; the mean of the two middle ones where their number is even.

    Source: Yin et al., "Byzantine-Robust Distributed Learning", ICML 2018, definition 1 (coordinate-wise median).
    Deviations: none.
    """

    def vector(self, rows: Rows, context: RoundContext) -> torch.Tensor:
        """Return the median row [parameters], fp32."""
        return coordinates.coordinate_wise(rows, coordinates.median)
