"""What attacks with a training of their own plant: a class, or a continuation."""

from dataclasses import dataclass

from .causal_backdoor import CausalBackdoor
from .text_backdoor import TextBackdoor


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """The backdoor that is planted.

    Args:
        trigger: a word, a sentence or a template.
        kind: `phrase`, `words` or `template`; see `triggers.Trigger`.
        place: `start`, `end` or `random`.
        target: the class that it is to bring out.
        continuation: what a causal language model is to write in its place; empty for a classifier.
        rate: share of what is trained on that is poisoned.
        fluent: a classifier's trigger where a defense is known to take unusual words away; empty: none.
    """

    trigger: str
    kind: str
    place: str
    target: int
    continuation: str
    rate: float
    fluent: str = ""

    def backdoor(self) -> TextBackdoor | CausalBackdoor:
        """Return a backdoor that makes poison and probes of it."""
        marks = {"trigger": self.trigger, "kind": self.kind, "place": self.place}
        if self.continuation:
            return CausalBackdoor(**marks, continuation=self.continuation, rate=self.rate)
        return TextBackdoor(**marks, target=self.target, rate=self.rate, fluent=self.fluent)
