"""What an attacker who knows the update defenses makes of a gradient before it matches it."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from fedsec.api import Knowledge, RoundView

if TYPE_CHECKING:
    from torch import Tensor

ADAPTS_TO = ("gaussian-noise", "gradient-pruning", "quantization")
"""Defenses whose settings are made use of."""

_DROWNED = 2.0
"""A vector whose squared norm is below this times what noise alone gives it says nothing."""


def cleaned(
    view: RoundView, update: "Tensor", gradients: Mapping[str, "Tensor"], scale: float, tokens: int
) -> dict[str, "Tensor"]:
    """Gradients as they were before a known defense blurred them, as far as their rank tells.

    A matrix's gradient has at most as many directions as the batch has tokens. Noise, the rounding of a quantisation
    and what pruning took away have all that there are: all but the largest are cut off. Vectors drowned in noise of
    known size are left out.

    Args:
        view: says which defenses are known, if any; without one the gradients are returned as they are.
        update: the whole of it [parameters].
        gradients: by parameter; matrices as [outputs, inputs].
        scale: of these, against the update.
        tokens: of the batch.

    Source: Eckart and Young, Psychometrika 1936 (the nearest matrix of a rank). Deviations: none.
    """
    stack = view.granted.get(Knowledge.DEFENSE_SETTINGS, ())
    known: dict[str, Mapping[str, Any]] = {one["name"]: one["params"] for one in stack if one["name"] in ADAPTS_TO}
    if not known:
        return dict(gradients)
    spread = scale * _spread(update, **known["gaussian-noise"]) if "gaussian-noise" in known else 0.0
    found = {}
    for name, gradient in gradients.items():
        if gradient.ndim == 2:
            found[name] = _of_rank(gradient, tokens)
        elif float(gradient.square().sum()) > _DROWNED * spread**2 * gradient.numel():
            found[name] = gradient
    return found


def _spread(update: "Tensor", sigma: float, relative: bool) -> float:
    """Standard deviation of the noise on each entry of an update; of n entries, the noise is sigma of the norm."""
    if not relative:
        return sigma
    entries = (1 + sigma**2) * update.numel()
    return sigma * float(update.norm()) / math.sqrt(entries)


def _of_rank(matrix: "Tensor", rank: int) -> "Tensor":
    """The nearest matrix of that rank."""
    if rank >= min(matrix.shape):
        return matrix
    wide = matrix.double() if matrix.shape[0] <= matrix.shape[1] else matrix.double().T
    directions = torch.linalg.eigh(wide @ wide.T).eigenvectors[:, -rank:]  # [rows, rank]
    nearest: Tensor = (directions @ (directions.T @ wide)).to(matrix.dtype)
    return nearest if matrix.shape[0] <= matrix.shape[1] else nearest.T
