"""What an attacker who knows the update defenses makes of a gradient before it matches it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from fedsec.api import RoundView

from ..shared.known_defenses import known_defenses, noise_variance

if TYPE_CHECKING:
    from torch import Tensor

_DROWNED = 2.0
"""A vector whose squared norm is below this times what noise alone gives it is noise for the larger part."""


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
    known = known_defenses(view)
    if not known:
        return dict(gradients)
    variance = noise_variance(update, **known["gaussian-noise"]) if "gaussian-noise" in known else 0.0
    found = {}
    for name, gradient in gradients.items():
        if gradient.ndim == 2:
            found[name] = _of_rank(gradient, tokens)
        elif float(gradient.square().sum()) > _DROWNED * scale**2 * variance * gradient.numel():
            found[name] = gradient
    return found


def _of_rank(matrix: "Tensor", rank: int) -> "Tensor":
    """The nearest matrix of that rank."""
    if rank >= min(matrix.shape):
        return matrix
    wide = matrix.double() if matrix.shape[0] <= matrix.shape[1] else matrix.double().T
    directions = torch.linalg.eigh(wide @ wide.T).eigenvectors[:, -rank:]  # [rows, rank]
    nearest: Tensor = (directions @ (directions.T @ wide)).to(matrix.dtype)
    return nearest if matrix.shape[0] <= matrix.shape[1] else nearest.T
