"""Functions that the filters on norms share."""

import torch

from fedsec.maths.rows import Rows


def norms_of(rows: Rows) -> torch.Tensor:
    """Euclidean norms of the rows [kept], fp64."""
    return rows.squared_norms().sqrt()


def clipped_to(norms: torch.Tensor, radius: torch.Tensor | float) -> torch.Tensor:
    """The diagonal mixing matrix that scales each longer row down to `radius` [kept, kept], fp64; others stay."""
    return torch.where(norms > radius, radius / norms, torch.ones_like(norms)).diag()
