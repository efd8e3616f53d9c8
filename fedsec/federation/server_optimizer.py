"""Step 7 of a round: the server's step from one global model to the next."""

from collections.abc import Mapping
from typing import Any

import torch

KINDS = ("average", "momentum", "adagrad", "adam", "yogi")
MOMENTUM, BETA_1, BETA_2, TAU = 0.9, 0.9, 0.99, 1e-3


class ServerOptimizer:
    """Moves the global model along the rounds' aggregates.

    `average` adds the aggregate; `momentum` is FedAvgM with beta 0.9; the adaptive ones are FedAdagrad, FedAdam and
    FedYogi with beta_1 0.9, beta_2 0.99 and tau 1e-3.

    Args:
        kind: one of `KINDS`.
        learning_rate: factor of the step, above 0.
        descends: whether aggregates are gradients, which are stepped against, and not differences.

    Source: Hsu et al., 2019, section 4.2 (FedAvgM); Reddi et al., "Adaptive Federated Optimization", ICLR 2021,
        algorithm 2. Deviations: none; v starts at tau squared.
    """

    def __init__(self, kind: str, learning_rate: float, *, descends: bool) -> None:
        self._kind = kind
        self._rate = -learning_rate if descends else learning_rate
        self._first: torch.Tensor | None = None  # [parameters]
        self._second: torch.Tensor | None = None  # [parameters]

    def step(self, current: torch.Tensor, aggregate: torch.Tensor) -> None:
        """Change `current` [parameters] in place; `aggregate` [parameters] stays unchanged."""
        if self._kind == "average":
            current.add_(aggregate, alpha=self._rate)
        elif self._kind == "momentum":
            first = torch.zeros_like(aggregate) if self._first is None else self._first
            self._first = first.mul_(MOMENTUM).add_(aggregate)
            current.add_(self._first, alpha=self._rate)
        else:
            self._adaptive(current, aggregate)

    def _adaptive(self, current: torch.Tensor, aggregate: torch.Tensor) -> None:
        first = torch.zeros_like(aggregate) if self._first is None else self._first
        second = torch.full_like(aggregate, TAU**2) if self._second is None else self._second
        square = aggregate.square()
        first.mul_(BETA_1).add_(aggregate, alpha=1 - BETA_1)
        if self._kind == "adagrad":
            second.add_(square)
        elif self._kind == "adam":
            second.mul_(BETA_2).add_(square, alpha=1 - BETA_2)
        else:
            second.sub_(square * (second - square).sign(), alpha=1 - BETA_2)
        current.addcdiv_(first, second.sqrt().add_(TAU), value=self._rate)
        self._first, self._second = first, second

    def state(self) -> dict[str, Any]:
        """Return the moments."""
        return {"first": self._first, "second": self._second}

    def load_state(self, state: Mapping[str, Any], current: torch.Tensor) -> None:
        """Continue from copies of these moments; ValueError if they do not fit a model like `current`."""
        moments = (state["first"], state["second"])
        for one in moments:
            fits = one is None or (one.dtype == current.dtype and one.shape == current.shape)
            if not fits or not (one is None or bool(one.isfinite().all())):
                raise ValueError("no moments of this model")
        self._first, self._second = (None if one is None else one.clone() for one in moments)
