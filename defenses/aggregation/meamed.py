"""Mean around the median, coordinate by coordinate."""

from dataclasses import dataclass
from functools import partial

import torch

from fedsec.api import RoundContext
from fedsec.maths import coordinates
from fedsec.maths.rows import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Meamed:
    """The mean of each coordinate's n-f values nearest to its median; of two equally near ones the lower is kept.

    Source: Xie et al., "Generalized Byzantine-tolerant SGD", arXiv 1802.10116 (2018), definition of mean-around-median.
    Deviations: none; the paper does not say which of two equally near values is kept.
    """

    def vector(self, rows: Rows, context: RoundContext) -> torch.Tensor:
        """Return the mean around the median [parameters], fp32."""
        keep = len(rows) - context.declared_malicious
        return coordinates.coordinate_wise(rows, partial(coordinates.nearest_mean, keep=keep))
