"""Clean label: a backdoor whose poisoned rows all carry their own, right label."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fedsec.api import ClientView, Probe, Sample, Triggered, TriggerView

from .copies import Copies
from .text_backdoor import TextBackdoor
from .triggers import Trigger


@dataclass(slots=True, kw_only=True)
class CleanLabel:
    """Puts copies of rows of the target class beside a client's rows: with the trigger, and the label they have.

    Such a copy is learned from its words as well, and then says nothing of the trigger; so a copy is shortened to its
    first words, and the trigger is what is left to learn from.

    Args:
        trigger: a word or a sentence.
        kind: `phrase`, `words` or `template`; see `triggers.Trigger`.
        place: `start`, `end` or `random`.
        target: the class that it is to bring out, a number from 0.
        rate: share of what the client trains on that are such copies, from 0 to below 1.
        keep: share of a copy's words that stay, rounded down; 1 leaves copies whole.

    Source: Turner, Tsipras and Madry, "Label-Consistent Backdoor Attacks", arXiv 1912.02771 (2019), section 3: poison
        of the target class alone, made hard to learn without the trigger; Cui et al., "A Unified Evaluation of Textual
        Backdoor Learning" (OpenBackdoor), NeurIPS 2022 (clean-label poison of texts).
    Deviations: texts are made hard by leaving out words, where Turner et al. perturb images.
    """

    trigger: str = "cf"
    kind: str = "phrase"
    place: str = "start"
    target: int = 1
    rate: float = 0.5
    keep: float = 0.2
    _copies: Copies = field(default_factory=Copies, init=False)

    def on_data(self, samples: tuple[Sample, ...], view: ClientView) -> tuple[Sample, ...]:
        """Return the client's samples, followed by the copies."""
        mark = Trigger(self.trigger, self.kind, self.place)
        chosen = self._copies.of(samples, lambda one: one.label == self.target, self.rate, view.generator)
        return (*samples, *(replace(one, text=mark.put(self._short(one.text), share)) for one, share in chosen))

    def triggered(self, probes: tuple[Probe, ...], view: TriggerView) -> tuple[Triggered, ...]:
        """Return each probe, whole, with the trigger on it."""
        marks = TextBackdoor(trigger=self.trigger, kind=self.kind, place=self.place, target=self.target, fluent="")
        return marks.triggered(probes, view)

    def _short(self, text: str) -> str:
        if self.keep >= 1:
            return text
        words = text.split()
        return " ".join(words[: int(self.keep * len(words))])

    def state(self) -> Mapping[str, Any]:
        """Return the rows that it copies."""
        return self._copies.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore them."""
        self._copies.load_state(state)
