"""How far vectors lie from a row space, in units of what true ones may."""

from typing import TYPE_CHECKING, NamedTuple

import torch

from fedsec.maths.row_space import RowSpace

if TYPE_CHECKING:
    from torch import Tensor

_COARSE = 1e-4
"""fp32 residuals below this are measured again in fp64; their own rounding is about 1e-6."""


class Distances(NamedTuple):
    """Of vectors from a row space."""

    residuals: "Tensor"
    """Relative distances [count], fp64."""
    ratios: "Tensor"
    """The same over what a true vector may have [count], fp64; at most 1: within the tolerance."""


class Ruler:
    """Measures residuals against a tolerance that follows the span's own noise.

    Args:
        space: the row space.
        tolerance: accepted relative residual where nothing but fp32 rounding blurs the span.
        slack: accepted residual in units of what the noise of the span explains.
        blur: noise is believed to explain residuals up to this.
    """

    def __init__(self, space: RowSpace, *, tolerance: float, slack: float, blur: float) -> None:
        self.space = space
        self._tolerance, self._slack, self._blur = tolerance, slack, max(blur, tolerance)
        self._basis = space.basis.float()
        faintest = float(space.singular[space.rank - 1])
        self._most = min(max(slack * space.noise / faintest, tolerance), self._blur)

    @property
    def near(self) -> float:
        """Nothing beyond this residual can be within the tolerance."""
        return max(1.5 * self._most, _COARSE)

    def measure(self, vectors: "Tensor") -> Distances:
        """Distances of vectors [count, width], fp32: fp64 where near, else against the largest tolerance."""
        rest = vectors - (vectors @ self._basis) @ self._basis.T
        residuals = (rest.norm(dim=-1) / vectors.norm(dim=-1).clamp_min(1e-30)).double()
        allowed = torch.full_like(residuals, self._most)
        near = (residuals <= self.near).nonzero()[:, 0]
        if len(near):
            close = vectors[near].double()
            residuals[near] = self.space.residuals(close)
            allowed[near] = (self._slack * self.space.expected(close)).clamp(self._tolerance, self._blur)
        return Distances(residuals, residuals / allowed)
