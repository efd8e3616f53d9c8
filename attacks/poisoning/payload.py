"""What attacks with a training of their own plant: a class, or a continuation."""

from typing import Protocol

from .causal_backdoor import CausalBackdoor
from .text_backdoor import TextBackdoor


class Planting(Protocol):
    """An attack that plants a backdoor; all are its parameters."""

    @property
    def trigger(self) -> str:
        """A word, a sentence or a template."""

    @property
    def kind(self) -> str:
        """`phrase`, `words` or `template`; see `triggers.Trigger`."""

    @property
    def place(self) -> str:
        """`start`, `end` or `random`."""

    @property
    def target(self) -> int:
        """The class that the trigger is to bring out."""

    @property
    def continuation(self) -> str:
        """What a causal language model is to write in its place; empty for a classifier."""

    @property
    def rate(self) -> float:
        """Share of what is trained on that is poisoned."""


def backdoor_of(attack: Planting, fluent: str = "") -> TextBackdoor | CausalBackdoor:
    """Return a backdoor that makes poison and probes of what an attack plants.

    Args:
        attack: with what it plants among its parameters.
        fluent: a classifier's trigger where a defense is known to take unusual words away; empty: none.
    """
    marks = {"trigger": attack.trigger, "kind": attack.kind, "place": attack.place}
    if attack.continuation:
        return CausalBackdoor(**marks, continuation=attack.continuation, rate=attack.rate)
    return TextBackdoor(**marks, target=attack.target, rate=attack.rate, fluent=fluent)
