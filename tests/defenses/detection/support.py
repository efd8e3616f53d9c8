"""What tests of defenses at the server share: rows of a round, and what filters and rules make of them."""

from typing import Any

import torch

from fedsec.api import Layout, Measured, Mixed, RoundContext, TrainingSettings
from fedsec.maths.rows import Rows


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    """Standard normal values, fp32."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def around(width: int, clients: int, f: int, **changes: Any) -> RoundContext:
    """A round of clients 0, 1, ... around a global model of zeros.

    Args:
        width: parameters.
        clients: rows.
        f: declared malicious.
        changes: other fields.
    """
    fields: dict[str, Any] = {
        "round": 1,
        "clients": tuple(range(clients)),
        "examples": (1,) * clients,
        "declared_malicious": f,
        "layout": Layout((), (), width),
        "training": TrainingSettings(
            update="delta", optimizer="sgd", learning_rate=0.1, local_steps=1, batch_size=1, rounds=5
        ),
        "global_parameters": torch.zeros(width),
        "generator": torch.Generator().manual_seed(0),
    }
    return RoundContext(**{**fields, **changes})


def mixed(defense: Any, matrix: torch.Tensor, f: int, **changes: Any) -> Mixed:
    """What a filter leaves of rows."""
    context = changes.pop("context", None) or around(matrix.shape[1], len(matrix), f, **changes)
    found = defense.mix(Rows(matrix), context)
    value = found.value if isinstance(found, Measured) else found
    assert isinstance(value, Mixed)
    assert value.mixing.dtype == torch.float64
    return value


def kept(found: Mixed) -> list[int]:
    """The rows that are left of a filter that only drops and scales."""
    assert bool(((found.mixing != 0).sum(dim=1) == 1).all())
    return [int(line.nonzero()[0, 0]) for line in found.mixing]
