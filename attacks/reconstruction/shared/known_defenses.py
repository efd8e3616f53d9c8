"""What an attacker is told of the defenses that blur updates, and how large that makes an update's noise."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from fedsec.api import Knowledge, RoundView

if TYPE_CHECKING:
    from torch import Tensor

ADAPTS_TO = ("gaussian-noise", "gradient-pruning", "quantization")
"""Defenses whose settings the attacks make use of."""


def known_defenses(view: RoundView) -> dict[str, Mapping[str, Any]]:
    """The parameters of those of `ADAPTS_TO` that the view names; empty where nothing is granted."""
    stack = view.granted.get(Knowledge.DEFENSE_SETTINGS, ())
    return {one["name"]: one["params"] for one in stack if one["name"] in ADAPTS_TO}


def noise_variance(row: "Tensor", sigma: float, relative: bool) -> float:
    """Variance of gaussian-noise on an entry of an update [parameters]; the norm that is seen includes the noise's."""
    if not relative:
        return float(sigma) ** 2
    return float(sigma**2 / (1.0 + sigma**2) * row.square().mean(dtype=torch.float64))
