"""What an attacker who knows the update defenses makes of the matrices that they left: what is missing, and noise."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from fedsec.api import RoundView

from ..shared.known_defenses import known_defenses, noise_variance
from .completion import complete

if TYPE_CHECKING:
    from torch import Tensor

_FLOOR = 3e-7
"""Misfit of a completed matrix that fp32 rounding explains."""

_CHANCE = 0.1
"""Error of a completion on entries that it did not see from which on it fits by chance (true ones: 1e-7 to 1e-3)."""

_LOOSE = 10.0
"""Misfit in floors from which on a completion is only near the truth, as its error says."""


class Recovered(NamedTuple):
    """Matrices as far as known defenses let them be known."""

    parts: list["Tensor"]
    """Matrices with the same row space, for `row_space`."""
    noise: list[float] | None
    """Their entries' error."""
    values: list["Tensor"]
    """The matrices themselves; of pruned ones what was left out filled in, and rows of which that cannot be told 0."""


def recovered(view: RoundView, row: "Tensor", parts: Sequence["Tensor"], noise: Sequence[float] | None) -> Recovered:
    """Matrices with the same row space, as far as the defenses let it be known, and their entries' error.

    Noise: its size follows from the settings and the update's norm. Quantization: rounding is noise that is larger in
    rows with larger entries; rows are scaled until it is even. Pruning: entries that were left out follow from the
    others, since all matrices together have no more rank than there were inputs; where too few are left to tell, they
    are noise as large as those that are, or as the threshold that they fell under allows.

    Args:
        view: says which defenses are known, if any.
        row: the update that the parts are taken from [parameters].
        parts: each [outputs, inputs]; products with the same inputs.
        noise: standard deviation of each part's entries' error, without defenses; None for no more than fp32 rounding.

    Returns:
        All as given where no defense is known, or of a sum over clients.
    """
    # Of a sum over clients each has its own noise, levels and missing entries: the settings say little of it.
    known = known_defenses(view) if view.rows is not None else {}
    if not known:
        return Recovered(list(parts), None if noise is None else list(noise), list(parts))
    matrices = [part.double() for part in parts]
    variances = [torch.full_like(m, s**2) for m, s in zip(matrices, noise or [0.0] * len(matrices), strict=True)]
    if "gaussian-noise" in known:
        added = noise_variance(row, **known["gaussian-noise"])
        variances = [variance + added for variance in variances]
    if "quantization" in known:
        pairs = zip(variances, matrices, strict=True)
        variances = [variance + _rounding(matrix, **known["quantization"]) for variance, matrix in pairs]
    values = matrices
    if "gradient-pruning" in known:
        top = known["gradient-pruning"]["kind"] == "top-k"
        matrices, variances, values = _completed(matrices, variances, top=top, seconds_left=view.seconds_left)
    if not any(bool(variance.any()) for variance in variances):
        return Recovered(matrices, None, values)
    spreads = [variance.mean(dim=1, keepdim=True).sqrt() for variance in variances]  # [outputs, 1]
    least = max(float(spread.max()) for spread in spreads) * 1e-6
    scaled = [m / spread.clamp_min(least) for m, spread in zip(matrices, spreads, strict=True)]
    return Recovered(scaled, [1.0] * len(matrices), values)


def _rounding(matrix: "Tensor", bits: int) -> "Tensor":
    """About the variance of each entry's rounding, same shape; 0 for one bit, whose error is no noise.

    A value v between two levels a step apart is off by a variance of (v - lower)(upper - v): on average step^2 / 6 far
    from 0, and step |v| near it, where the rounded |v| has the right expectation. A row that shows nothing still hides
    about one entry's worth.
    """
    magnitude = matrix.abs()
    if bits == 1 or not bool(magnitude.any()):
        return torch.zeros_like(matrix)
    levels = torch.cat([magnitude.new_zeros(1), magnitude.flatten()]).unique()
    step = float(levels.diff().min())  # some neighbours among the levels both occur, if not the lowest
    variance = torch.where(magnitude < 1.5 * step, magnitude * step, step**2 / 6.0)
    return variance + step**2 / matrix.shape[1]


def _completed(
    matrices: Sequence["Tensor"], variances: Sequence["Tensor"], *, top: bool, seconds_left: Callable[[], float]
) -> tuple[list["Tensor"], list["Tensor"], list["Tensor"]]:
    """The matrices with what was left out of them filled in, all of them as one.

    Where nothing is exactly 0, noise came after the pruning and hides what was left out: they stay as they are.

    Args:
        matrices: each [outputs, inputs].
        variances: of their entries' errors, same shapes.
        top: whether what was left out is smaller than what was kept.
        seconds_left: for the completion.

    Returns:
        The matrices, rows of which too little is left to tell the rest being 0; their entries' variances; and the
        matrices as far as they are known exactly, other rows being 0. Where too little is left altogether, the first
        are as they were, and what is missing is noise: as large as what is there, or at most as large as it can be.
    """
    if all(bool(matrix.all()) for matrix in matrices):
        return list(matrices), list(variances), list(matrices)
    scales = [float(matrix.norm()) or 1.0 for matrix in matrices]
    sizes = [len(matrix) for matrix in matrices]
    whole = torch.cat([matrix / scale for matrix, scale in zip(matrices, scales, strict=True)])
    noisy = sum(float(variance.sum()) / scale**2 for variance, scale in zip(variances, scales, strict=True))
    floor = max(_FLOOR, (noisy / len(matrices)) ** 0.5)
    done = complete(whole, whole != 0.0, floor=floor, seconds_left=seconds_left)
    if done.error <= max(_CHANCE, 3.0 * floor):
        rows = done.determined.split(sizes)
        filled = [f * s * told[:, None] for f, s, told in zip(done.values.split(sizes), scales, rows, strict=True)]
        if done.misfit <= _LOOSE * floor:
            return filled, list(variances), filled
        loose = zip(matrices, filled, variances, strict=True)
        hidden = [v + _hidden(m, f, done.error**2) for m, f, v in loose]
        return filled, hidden, [torch.zeros_like(matrix) for matrix in matrices]
    hidden = []
    for matrix, variance in zip(matrices, variances, strict=True):
        missing = _hidden(matrix, matrix, 1.0)
        if top and bool(matrix.any()):
            missing = missing.clamp_max(float(matrix[matrix != 0.0].abs().min()) ** 2 / 3.0)  # even up to the threshold
        hidden.append(variance + missing)
    whole_rows = [matrix * matrix.all(dim=1, keepdim=True) for matrix in matrices]
    return list(matrices), hidden, whole_rows


def _hidden(matrix: "Tensor", filled: "Tensor", share: float) -> "Tensor":
    """A variance for what is missing in a matrix: a share of its row's mean square where that is known."""
    known = matrix != 0.0
    squares = (filled * known).square().sum(dim=1, keepdim=True) / known.sum(dim=1, keepdim=True).clamp_min(1)
    return torch.where(known, 0.0, share * squares)
