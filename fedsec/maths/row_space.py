"""The row space of a noisy low-rank matrix, and how far vectors lie from it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from fedsec.maths.threads import one_thread

CLEAR_GAP = 30.0
"""A drop between neighbouring singular values by this factor ends the signal; noise alone drops by less than 2."""
_EDGE = 1.03
"""Noise of known size passes its largest singular value (in the limit) by less than this; a signal that near the edge
hardly shares a direction with what is seen of it."""

_SHRINK = 1.95
"""Gavish and Donoho (2014): optimal hard threshold over the median singular value, aspect 1/3, unknown noise."""

_FLOOR = 40.0
"""Behind a clear gap, what exceeds this times the tail's median is weak signal; rounding's own top reaches 10."""

_ROUNDING, _STEP = 1e-6, 5.0
"""fp32 products' rounding has no singular value above the first times the largest (measured on decoders: 4e-8 to 4e-7);
down there a drop by the second ends the signal: a trained model's weakest tokens come as near as that."""

_FLAT = 0.15
"""White noise of this shape has no singular value below 0.4 of its median; a spectrum that falls further is signal."""


@dataclass(frozen=True, slots=True)
class RowSpace:
    """What is left of a matrix's row space once noise is cut off."""

    basis: torch.Tensor
    """Orthonormal columns [width, rank], fp64."""
    singular: torch.Tensor
    """All singular values [width], descending, fp64."""
    noise: float
    """Norm of what noise adds to a kept direction, in units of the singular values."""

    @property
    def rank(self) -> int:
        """Directions that stand out of the noise."""
        return self.basis.shape[1]

    @property
    def full(self) -> bool:
        """Whether it is the whole space, which any vector lies in."""
        return self.rank >= self.basis.shape[0]

    def residuals(self, vectors: torch.Tensor) -> torch.Tensor:
        """Relative distance of each vector [count, width] from the space [count], in 0..1, in the vectors' type.

        Subtracting the projection keeps it accurate to the type's epsilon, where 1 - |R^T v|^2 / |v|^2 only reaches
        the epsilon's root.
        """
        basis = self.basis.to(vectors.dtype)
        rest = vectors - (vectors @ basis) @ basis.T  # [count, width]
        distances: torch.Tensor = rest.norm(dim=-1) / vectors.norm(dim=-1).clamp_min(1e-30)
        return distances

    def expected(self, vectors: torch.Tensor) -> torch.Tensor:
        """Relative residual that the noise alone gives a true row [count], for vectors [count, width].

        A direction of singular value s is off by noise / s; a vector is off by its share of each direction.
        """
        share = (vectors.double() @ self.basis) / self.singular[: self.rank]  # [count, rank]
        blurred: torch.Tensor = self.noise * share.norm(dim=-1) / vectors.double().norm(dim=-1).clamp_min(1e-30)
        return blurred


def row_space(matrices: Sequence[torch.Tensor], noise: Sequence[float] | None = None) -> RowSpace:
    """The space that the rows of all matrices share, from one decomposition of the stack.

    Args:
        matrices: each [rows, width]; all are products with the same inputs.
        noise: standard deviation of each matrix's entries' error where it is known (the rounding of a difference of
            weights); the matrices are then scaled to unit noise and directions above the noise's own largest singular
            value are kept. None scales each to unit norm and cuts at the largest relative gap, keeping what stands
            out of the floor behind it, or, if no gap is clear, at the optimal hard threshold for unknown noise; without
            a flat floor either, everything is signal.

    Returns:
        The space; rank 0 if nothing is above the noise.
    """
    scales = [float(m.double().norm()) for m in matrices] if noise is None else list(noise)
    stack = torch.cat([m.double() / s for m, s in zip(matrices, scales, strict=True) if s > 0.0])  # [rows, width]
    rows, width = stack.shape
    with one_thread():  # 20 ms for 1152 x 384, where two threads on busy cores take up to 5 s
        triangle = torch.linalg.qr(stack, mode="r").R
        _, singular, right = torch.linalg.svd(triangle, full_matrices=True)
    singular = torch.cat([singular, singular.new_zeros(width - len(singular))])
    if noise is not None:
        rank = int((singular > _EDGE * (rows**0.5 + width**0.5)).sum())
        level = max(width - rank, 1) ** 0.5
    else:
        rank = _cut(singular[:rows])  # directions beyond the rows hold nothing at all, which is no gap
        tail = float(singular[rank:].square().mean().sqrt()) if rank < width else 0.0
        level = max(tail * max(width - rank, 1) ** 0.5 / max(rows - rank, 1) ** 0.5, float(singular[0]) * 1e-12)
    return RowSpace(basis=right[:rank].T.contiguous(), singular=singular, noise=level)


def _cut(singular: torch.Tensor) -> int:
    """Where the signal ends: at a clear gap, else at the optimal hard threshold above a flat floor, else nowhere."""
    floored = singular.clamp_min(float(singular[0]) * 1e-11)
    ratios = floored[:-1] / floored[1:]
    best = int(ratios.argmax())
    if float(ratios[best]) >= CLEAR_GAP:
        tail = floored[best + 1 :]
        return best + 1 + int((tail > _FLOOR * tail.median()).sum())
    rounded = ratios * (floored[1:] <= _ROUNDING * floored[0])
    if float(rounded.max()) >= _STEP:
        return int(rounded.argmax()) + 1
    if float(singular[-1]) < _FLAT * float(singular.median()):
        return len(singular)
    return int((singular > _SHRINK * singular.median()).sum())


def rounding_noise(stored: torch.Tensor) -> torch.Tensor:
    """Standard deviation of the error that storing updated weights in fp32 leaves in them, same shape, fp64.

    Half a unit in the last place either way, evenly spread.

    Args:
        stored: fp32 weights after the update.
    """
    magnitude = stored.detach().abs().clamp_min(torch.finfo(torch.float32).tiny)
    _, exponent = torch.frexp(magnitude)
    unit = torch.ldexp(torch.ones_like(magnitude, dtype=torch.float64), exponent.double() - 24.0)
    return unit.div(12.0**0.5)
