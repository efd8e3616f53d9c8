"""A malicious client with a memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from fedsec.api import ClientView, Update


@dataclass(kw_only=True)
class Backtrack:
    """Sends `scale` times the way back to the global model that it saw before; its own update in the first round.

    Args:
        scale: how many times the last step, at least 0.

    Source: none, an example. Deviations: none.
    """

    scale: float = 20.0
    _before: torch.Tensor | None = field(default=None, init=False)

    def on_update(self, update: Update, view: ClientView) -> Update:
        """Return the crafted update."""
        before, self._before = self._before, view.global_parameters
        if before is None:
            return update
        return replace(update, vector=(before - view.global_parameters) * self.scale)

    def state(self) -> Mapping[str, Any]:
        """The model that it saw last."""
        return {"before": self._before}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self._before = state["before"]
