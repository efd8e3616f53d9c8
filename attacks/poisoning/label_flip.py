"""Label flip: train on texts of one class as if they were of another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fedsec.api import ClientView, Sample

from .rows import by_origin, drawn

EVERY, NEXT = -1, -1


@dataclass(slots=True, kw_only=True)
class LabelFlip:
    """Gives a client's rows a wrong label and trains on them honestly.

    Which rows, is drawn once and kept in every round.

    Args:
        source: the class whose rows are flipped, a number from 0; -1 flips rows of every class.
        target: the class that they get, a number from 0; -1 gives the next class, and the last one the first. Rows that
            are of it already stay as they are.
        rate: share of the rows that could be flipped.

    Source: Biggio, Nelson and Laskov, "Support Vector Machines Under Adversarial Label Noise", ACML 2011 (random
        flips); Tolpegin et al., "Data Poisoning Attacks Against Federated Learning Systems", ESORICS 2020, section 3
        (all of a source class to a target class).
    Deviations: by default every class is flipped to the next, which hurts accuracy most; Tolpegin et al. flip one.
    """

    source: int = EVERY
    target: int = NEXT
    rate: float = 1.0
    _flipped: list[int] | None = field(default=None, init=False)
    """Origins of the flipped rows; None before the first round."""

    def on_data(self, samples: tuple[Sample, ...], view: ClientView) -> tuple[Sample, ...]:
        """Return the client's samples, some of them with another label.

        Raises:
            ValueError: source or target is no class of the data.
        """
        classes = len(view.classes)
        _check("source", self.source, view.classes)
        _check("target", self.target, view.classes)
        if self._flipped is None:
            own = by_origin(samples)
            could = [origin for origin, sample in own.items() if self._flip(sample.label, classes) != sample.label]
            self._flipped = drawn(could, round(self.rate * len(could)), view.generator)
        chosen = frozenset(self._flipped)
        return tuple(
            replace(one, label=self._flip(one.label, classes)) if one.origin in chosen else one for one in samples
        )

    def _flip(self, label: int, classes: int) -> int:
        """Return the flipped label of a row."""
        if self.source not in (EVERY, label):
            return label
        return (label + 1) % classes if self.target == NEXT else self.target

    def state(self) -> Mapping[str, Any]:
        """Return the rows that it flips."""
        return {} if self._flipped is None else {"flipped": list(self._flipped)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore the rows that it flips."""
        flipped = state.get("flipped")
        self._flipped = None if flipped is None else [int(origin) for origin in flipped]


def _check(name: str, label: int, classes: Sequence[str]) -> None:
    if not -1 <= label < len(classes):
        names = ", ".join(f"{number} ({word})" for number, word in enumerate(classes))
        raise ValueError(f"label-flip: {name} {label} is no class; allowed: -1, {names}")
