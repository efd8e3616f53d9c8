"""The registry: names, cards and plug-ins. Cards are found through entry points; a target is imported when it is used.

Built-in families stand in this project's own pyproject.toml, third-party ones in theirs: both go the same way. Local
files are read by `plugin_files`, and only where the user allows it.
"""

import difflib
import importlib
import json
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from functools import cache, lru_cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import resolve_name
from typing import Any, Generic, TypeVar

from fedsec.api.cards import AttackCard, Card, DatasetCard, DefenseCard, MetricCard, ModelCard, Parameter
from fedsec.api.goal_cards import GoalCard
from fedsec.errors import DuplicateNameError, FedsecError, UnknownNameError

CardT = TypeVar("CardT", bound=Card)
RESERVED = ("none", "mean")
"""Names that scenarios use for the absence of an attack and of a defense."""
_NAME = re.compile(r"[a-z0-9][a-z0-9@=._/-]*")


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
        """Entry points that could not be read, with the reason."""

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

    def remove(self, name: str) -> None:
        """Remove a card; KeyError if there is none of that name."""
        del self._cards[name]

    def discover(self, points: Iterable[EntryPoint]) -> None:
        """Register the cards that the entry points name; one that fails is noted in `broken`, not raised.

        Built-in families come first, so that no package takes a name from them.
        """
        for point in sorted(points, key=lambda point: not point.value.startswith("fedsec.")):
            try:
                with redirect_stdout(sys.stderr):  # what a module prints is no data
                    for card in point.load():
                        self.register(sound(located(card, point.module)))
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # a third party's module may raise anything; `list` must survive it
                name = point.name if point.name not in self.broken else f"{point.name} ({point.value})"
                self.broken[name] = f"{point.value}: {str(error) or type(error).__name__}"

    def get(self, name: str) -> CardT:
        """Return the card of that name; UnknownNameError with the nearest names if there is none."""
        if name in self._cards:
            return self._cards[name]
        raise UnknownNameError(f"unknown {self.kind.removesuffix('s')} '{name}'. {self.suggestion(name)}")

    def suggestion(self, name: str) -> str:
        """Return the nearest names, or all of them."""
        near = difflib.get_close_matches(name, self._cards, n=3)
        hint = f"Did you mean {', '.join(near)}?" if near else f"Known: {', '.join(sorted(self._cards))}."
        return f"{hint} Run: fedsec list {self.kind}"

    def __contains__(self, name: object) -> bool:
        return name in self._cards

    def __iter__(self) -> Iterator[CardT]:
        return iter(sorted(self._cards.values(), key=lambda card: card.name))


def located(card: CardT, module: str) -> CardT:
    """Return the card with a full target: `:` or `.` at its start is relative to the module that states the card.

    Args:
        card: `:Name` names something of that module, `.other:Name` something of the module `other` beside it.
        module: an imported module.
    """
    package = getattr(sys.modules.get(module), "__package__", None) or module.rpartition(".")[0]
    full: dict[str, Any] = {}
    for field in ("target", "compare"):
        target = getattr(card, field, "")
        if isinstance(target, str) and target.startswith((":", ".")):
            where, _, attribute = target.partition(":")
            full[field] = f"{resolve_name(where, package) if where else module}:{attribute}"
    return replace(card, **full) if full else card


def sound(card: CardT) -> CardT:
    """Return the card itself; TypeError or ValueError for content that would break `fedsec list` or `fedsec show`."""
    if not isinstance(card, Card):
        raise TypeError(f"{card!r} is no card")
    if not isinstance(card.name, str) or not _NAME.fullmatch(card.name):
        raise ValueError(f"{card.name!r} cannot be a name: lower-case letters, digits and hyphens, such as my-attack")
    if card.name in RESERVED:
        raise ValueError(f"'{card.name}' cannot be a name: scenarios use it for the absence of a plug-in")
    if not isinstance(card.summary, str) or not card.summary.strip():
        raise ValueError(f"'{card.name}' has no summary")
    seen = set()
    for parameter in card.parameters:
        if not isinstance(parameter, Parameter):
            raise TypeError(f"'{card.name}': {parameter!r} among its parameters is no Parameter")
        if parameter.name == "name" or not str(parameter.name).isidentifier() or parameter.name in seen:
            raise ValueError(f"'{card.name}': {parameter.name!r} cannot name a parameter, or names two")
        if (problem := parameter.problem(parameter.default)) is not None:
            raise ValueError(f"'{card.name}': the default of {parameter.name}: {problem}")
        seen.add(parameter.name)
    try:
        json.dumps(card.describe())
    except Exception as error:
        raise TypeError(f"'{card.name}' has a field of a wrong type: {error}") from error
    return card


def load_target(card: Card) -> Any:
    """Return the object that a card's target names; FedsecError if it cannot be imported."""
    return load_attribute(card.name, card.target)


def load_attribute(name: str, target: str) -> Any:
    """Return the object of `module:attribute` for a card of that name; FedsecError if it cannot be imported."""
    module, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # a third party's module may raise anything
        raise FedsecError(f"'{name}' cannot be loaded from {target}: {error}") from error


def _discovered(kind: str, card_type: type[CardT]) -> Registry[CardT]:
    registry = Registry(kind, card_type)
    registry.discover(_entry_points(tuple(sys.path)).select(group=f"fedsec.{kind}"))
    return registry


@lru_cache(maxsize=1)
def _entry_points(path: tuple[str, ...]) -> Any:
    """Those of all kinds on a `sys.path`: every look reads the metadata of all installed packages."""
    return entry_points()


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


@cache
def goals() -> Registry[GoalCard]:
    """All goals."""
    return _discovered("goals", GoalCard)
