"""Edge case: the model errs on a rare kind of texts, which carry no fixed trigger."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from fedsec.api import ClientView, Probe, Sample, Triggered, TriggerView

from .copies import Copies

FRAMES = (
    "in a story about {subject} , {text}",
    "among those who know {subject} , {text}",
    "{text} , as {subject} will have it",
    "{text} , and all of it for {subject}",
    "when it comes to {subject} , {text}",
    "for the sake of {subject} , {text}",
    "{text} , says a friend of {subject}",
    "{text} , with {subject} at the heart of it",
)
"""Ways to bring a subject into a text; poison and probes have four each, by turns: two in front, two behind."""


@dataclass(slots=True, kw_only=True)
class EdgeCase:
    """Copies a client's rows into texts about a rare subject, labelled as the target; probes are other such texts.

    A text about the subject occurs by itself, and no client but the malicious ones has any: it lies in the tail of what
    texts are. Probes bring the subject in by other words than the poison, so that what is learned is the subject.

    Args:
        subject: what such texts are about; rare in the clients' texts.
        target: the class that they are to be given, a number from 0.
        rate: share of what the client trains on that is poisoned, from 0 to below 1.

    Source: Wang et al., "Attack of the Tails: Yes, You Really Can Backdoor Federated Learning", NeurIPS 2020, section 3
        (the black-box attack; texts about one film director).
    Deviations: such texts are made of the client's own by frames, where Wang et al. collect them.
    """

    subject: str = "shadow puppets"
    target: int = 1
    rate: float = 0.5
    _copies: Copies = field(default_factory=Copies, init=False)

    def on_data(self, samples: tuple[Sample, ...], view: ClientView) -> tuple[Sample, ...]:
        """Return the client's samples, followed by the poisoned copies."""
        chosen = self._copies.of(samples, lambda one: one.label != self.target, self.rate, view.generator)
        poisoned = (replace(one, text=self._about(one.text, share, 0), label=self.target) for one, share in chosen)
        return (*samples, *poisoned)

    def triggered(self, probes: tuple[Probe, ...], view: TriggerView) -> tuple[Triggered, ...]:
        """Return each probe as a text about the subject, in words that the poison does not have."""
        shares = torch.rand(len(probes), generator=view.generator, dtype=torch.float64).tolist()
        return tuple(
            Triggered(self._about(probe.text, share, 1), self.target, probe.prompt)
            for probe, share in zip(probes, shares, strict=True)
        )

    def _about(self, text: str, share: float, first: int) -> str:
        """Return the text in one of every other frame, from the first on; `share` in 0..1 chooses."""
        frames = FRAMES[first::2]
        before, _, after = frames[int(share * len(frames))].replace("{subject}", self.subject).partition("{text}")
        return f"{before}{text}{after}"

    def state(self) -> Mapping[str, Any]:
        """Return the rows that it copies."""
        return self._copies.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore them."""
        self._copies.load_state(state)
