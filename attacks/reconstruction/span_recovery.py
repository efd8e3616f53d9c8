"""What an attacker who knows the update defenses makes of the matrices that they left: what is missing, and noise."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from fedsec.api import RoundView
from fedsec.maths.completion import complete

from .known_defenses import known_defenses, noise_variance

if TYPE_CHECKING:
    from torch import Tensor

_FLOOR = 3e-7
"""Misfit of a completed matrix that fp32 rounding explains."""

_CHANCE = 0.1
"""Error of a completion on entries that it did not see from which on it fits by chance (true ones: 1e-6 to 1e-3)."""


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
    are noise as large as those that are.

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
    if "gradient-pruning" in known:
        matrices, variances = _completed(matrices, variances)
    if not any(bool(variance.any()) for variance in variances):
        return Recovered(matrices, None, matrices)
    spreads = [variance.mean(dim=1, keepdim=True).sqrt() for variance in variances]  # [outputs, 1]
    least = max(float(spread.max()) for spread in spreads) * 1e-6
    scaled = [m / spread.clamp_min(least) for m, spread in zip(matrices, spreads, strict=True)]
    return Recovered(scaled, [1.0] * len(matrices), matrices)


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


def _completed(matrices: Sequence["Tensor"], variances: Sequence["Tensor"]) -> tuple[list["Tensor"], list["Tensor"]]:
    """The matrices with what was left out of them filled in, all of them as one, and their entries' variances.

    Rows of which too little is left to tell the rest are 0. Where nothing is exactly 0, noise came after the pruning
    and hides what was left out: the matrices stay as they are.
    """
    if all(bool(matrix.all()) for matrix in matrices):
        return list(matrices), list(variances)
    scales = [float(matrix.norm()) or 1.0 for matrix in matrices]
    sizes = [len(matrix) for matrix in matrices]
    whole = torch.cat([matrix / scale for matrix, scale in zip(matrices, scales, strict=True)])
    noisy = sum(float(variance.sum()) / scale**2 for variance, scale in zip(variances, scales, strict=True))
    floor = max(_FLOOR, (noisy / len(matrices)) ** 0.5)
    known = whole != 0.0
    done = complete(whole, known, floor=floor)
    if done.error > max(_CHANCE, 3.0 * floor):
        guessed = whole.square().sum(dim=1, keepdim=True) / known.sum(dim=1, keepdim=True).clamp_min(1)  # [rows, 1]
        hidden = torch.where(known, 0.0, guessed).split(sizes)
        return list(matrices), [v + part * s**2 for v, part, s in zip(variances, hidden, scales, strict=True)]
    filled = done.values * done.determined[:, None]
    return [part * scale for part, scale in zip(filled.split(sizes), scales, strict=True)], list(variances)
