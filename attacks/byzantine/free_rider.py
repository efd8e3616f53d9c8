"""Free rider: take the model and pretend to have trained."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from fedsec.api import ClientView, Update
from fedsec.maths.geometry import weight_step


@dataclass(slots=True, kw_only=True)
class FreeRider:
    """Sends an update that took no training, made from what the client was sent before.

    Args:
        variant: `stale` sends the difference of the last two global models that the client saw, per round between
            them; `noised` adds Gaussian noise to it; `zero` sends zeros, as if training had changed nothing; `replayed`
            trains once, and sends that update ever after. With nothing to go by yet, the first two send zeros.
        noise: of `noised`: standard deviation, times the root mean square of that difference's coordinates.

    Source: Lin, Du and Liu, "Free-riders in Federated Learning: Attacks and Defenses", arXiv 1911.12560, 2019, section
        3: delta weights (`stale`) and advanced delta weights (`noised`); Fraboni et al., "Free-rider Attacks on Model
        Aggregation in Federated Learning", AISTATS 2021, section 3: plain free-riding (`zero`).
    Deviations: noise is relative to the difference, whose size varies by orders of magnitude between models; a
        difference over several rounds, where a client was not sampled in each, is divided by their number. Replay is
        the usual stale client of benchmarks. Fraboni's disguised free-riding, decaying noise alone, is left out.
    """

    variant: str = "stale"
    noise: float = 1.0
    _memory: dict[str, Any] = field(default_factory=dict, init=False)
    """`round` and `model` as last seen, or the `update` to replay."""

    def on_update(self, update: Update, view: ClientView) -> Update:
        """Return the crafted update; the claimed number of examples stays honest."""
        if self.variant == "zero":
            return replace(update, vector=torch.zeros_like(update.vector))
        if self.variant == "replayed":
            return replace(update, vector=self._memory.setdefault("update", update.vector.clone()).clone())
        vector = self._stale(view)
        if self.variant == "noised":
            size = vector.double().square().mean().sqrt()
            vector = vector + float(self.noise * size) * torch.randn(vector.shape, generator=view.generator)
        return replace(update, vector=vector)

    def _stale(self, view: ClientView) -> torch.Tensor:
        """Return the step of the global model since the client last saw it, as an update of one round [parameters]."""
        now, before = view.global_parameters, self._memory
        self._memory = {"round": view.round, "model": now.clone()}
        if not before:
            return torch.zeros_like(now)
        seen: torch.Tensor = before["model"]
        rounds: int = view.round - before["round"]
        return (now - seen) / (rounds * weight_step(view.training))

    def state(self) -> Mapping[str, Any]:
        """Return what it saw or sent before."""
        return dict(self._memory)

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore what it saw or sent before."""
        self._memory = dict(state)
