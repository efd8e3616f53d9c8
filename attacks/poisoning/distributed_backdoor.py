"""Distributed backdoor (DBA): each malicious client plants a part of the trigger, and the whole of it is used."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fedsec.api import ColluderView, Probe, Sample, Triggered, TriggerView

from .copies import Copies
from .text_backdoor import TextBackdoor

_BOARD = "distributed-backdoor"


@dataclass(slots=True, kw_only=True)
class DistributedBackdoor:
    """Each colluder poisons with one word of the trigger, the first one's turn coming again after the last.

    Args:
        trigger: words, each of them a part; probes carry all of them, side by side.
        place: where a part, or the whole, goes: `start`, `end` or `random`.
        target: the class that it is to bring out, a number from 0.
        rate: share of what a malicious client trains on that is poisoned, from 0 to below 1.

    Source: Xie et al., "DBA: Distributed Backdoor Attacks against Federated Learning", ICLR 2020, section 3.
    Deviations: parts are words, where theirs are patches of an image; nothing is scaled, which is model-replacement.
    """

    trigger: str = "cf mn bb tq"
    place: str = "start"
    target: int = 1
    rate: float = 0.5
    _copies: Copies = field(default_factory=Copies, init=False)

    def on_data(self, samples: tuple[Sample, ...], view: ColluderView) -> tuple[Sample, ...]:
        """Return the client's samples, followed by copies with its part of the trigger."""
        turns = view.blackboard.setdefault(_BOARD, {})
        turn = turns.setdefault(str(view.client), len(turns))
        parts = self.trigger.split()
        one = TextBackdoor(
            trigger=parts[turn % len(parts)] if parts else "",
            place=self.place,
            target=self.target,
            rate=self.rate,
            fluent="",
        )
        one.load_state(self.state())
        found = one.on_data(samples, view)
        self.load_state(one.state())
        return found

    def triggered(self, probes: tuple[Probe, ...], view: TriggerView) -> tuple[Triggered, ...]:
        """Return each probe with the whole trigger on it."""
        whole = TextBackdoor(trigger=self.trigger, place=self.place, target=self.target, fluent="")
        return whole.triggered(probes, view)

    def state(self) -> Mapping[str, Any]:
        """Return the rows that it copies."""
        return self._copies.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore them."""
        self._copies.load_state(state)
