"""Names -> cards -> plug-ins. Cards are found through entry points and are light; a target is imported when used.

Built-in families stand in this project's own pyproject.toml, third-party ones in theirs: both go the same way.
"""

import difflib
import importlib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from fedsec.api.cards import AttackCard, Card, DatasetCard, DefenseCard, MetricCard, ModelCard
from fedsec.errors import DuplicateNameError, FedsecError, UnknownNameError

CardT = TypeVar("CardT", bound=Card)


class Registry(Generic[CardT]):
    """Cards of one kind by name.

    Args:
        kind: the plural that the command line uses, e.g. `attacks`.
        card_type: what every card must be.
    """

    def __init__(self, kind: str, card_type: type[CardT]) -> None:
        self.kind = kind
        self._card_type = card_type
        self._cards: dict[str, CardT] = {}
        self.broken: dict[str, str] = {}
        """Entry points that could not be read, and why."""

    def register(self, card: CardT) -> None:
        """Add a card; TypeError for a card of another kind, DuplicateNameError for a taken name."""
        if not isinstance(card, self._card_type):
            raise TypeError(f"{card!r} is no {self._card_type.__name__}")
        known = self._cards.get(card.name)
        if known is not None:
            raise DuplicateNameError(
                f"two {self.kind} are called '{card.name}': {known.target} and {card.target}. Rename one."
            )
        self._cards[card.name] = card

    def discover(self, points: Iterable[EntryPoint]) -> None:
        """Register the cards that the entry points name; one that fails is noted in `broken`, not raised."""
        for point in points:
            try:
                for card in point.load():
                    self.register(card)
            except Exception as error:  # a third party's module may raise anything; `list` must survive it
                self.broken[point.name] = f"{point.value}: {error}"

    def get(self, name: str) -> CardT:
        """The card of that name; UnknownNameError with the nearest names if there is none."""
        if name in self._cards:
            return self._cards[name]
        raise UnknownNameError(f"unknown {self.kind.removesuffix('s')} '{name}'. {self.suggestion(name)}")

    def suggestion(self, name: str) -> str:
        """The nearest names, or all of them."""
        near = difflib.get_close_matches(name, self._cards, n=3)
        hint = f"Did you mean {', '.join(near)}?" if near else f"Known: {', '.join(sorted(self._cards))}."
        return f"{hint} Run: fedsec list {self.kind}"

    def __contains__(self, name: object) -> bool:
        return name in self._cards

    def __iter__(self) -> Iterator[CardT]:
        return iter(sorted(self._cards.values(), key=lambda card: card.name))


def load_target(card: Card) -> Any:
    """The object that a card's target names; FedsecError if it cannot be imported."""
    module, _, attribute = card.target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # a third party's module may raise anything
        raise FedsecError(f"'{card.name}' cannot be loaded from {card.target}: {error}") from error


def _discovered(kind: str, card_type: type[CardT]) -> Registry[CardT]:
    registry = Registry(kind, card_type)
    registry.discover(entry_points(group=f"fedsec.{kind}"))
    return registry


@cache
def attacks() -> Registry[AttackCard]:
    """All attacks."""
    return _discovered("attacks", AttackCard)


@cache
def defenses() -> Registry[DefenseCard]:
    """All defenses."""
    return _discovered("defenses", DefenseCard)


@cache
def models() -> Registry[ModelCard]:
    """All named base models."""
    return _discovered("models", ModelCard)


@cache
def datasets() -> Registry[DatasetCard]:
    """All named data sets."""
    return _discovered("datasets", DatasetCard)


@cache
def metrics() -> Registry[MetricCard]:
    """All metrics."""
    return _discovered("metrics", MetricCard)
