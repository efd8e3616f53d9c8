"""Reads rows of the scorecard through the cards of goals and metrics; it knows no metric by name."""

from collections.abc import Iterable, Mapping
from typing import Any

from fedsec import registry
from fedsec.api import Form, GoalCard, Shown, Tells

NONE = "none"
RANKED = ("ok", "blocked")
"""Statuses of whole results, the one that says more first."""
BUDGET = "budget"
"""Of a result that `threat.attack_seconds` cut short: with more time the attack may get more, so that it is shown and
averaged, and ranks no defense."""
RESULT = (BUDGET, *RANKED)
"""Statuses with values; of several seeds' the first says what their mean is worth."""
Row = Mapping[str, Any]


def goal_of(row: Row) -> GoalCard | None:
    """The goal of the row's attack; None in a control, and where it is not registered here."""
    name = row.get("goal")
    return registry.goals().get(str(name)) if name in registry.goals() else None


def goals_of(row: Row) -> tuple[GoalCard, ...]:
    """The goals that a row is scored by: its attack's own, and those that everybody who acts is held against."""
    own = goal_of(row)
    if own is None and row.get("goal") is None:
        return ()
    others = (card for card in registry.goals() if card.whoever_acts and row.get("acts") and card != own)
    return (*([] if own is None else [own]), *others)


def refuted(row: Row) -> bool:
    """Whether what was measured refutes what the ledger promises; other seeds in error do not hide it."""
    card = goal_of(row)
    value = None if card is None else row["metrics"].get(card.refutes)
    return value is not None and value["value"] is not None and value["value"] > 0


def damage() -> tuple[GoalCard, Shown] | None:
    """The goal that everybody who acts is held against, and its headline; None if none is registered."""
    card = next((card for card in registry.goals() if card.whoever_acts), None)
    return None if card is None else (card, card.headline[0])


def damage_in(metrics: Row) -> Any:
    """What acting cost, as `damage` tells it; None without a value."""
    found = damage()
    return None if found is None else metrics.get(found[1].metric)


def is_damage(card: GoalCard) -> bool:
    """Whether a goal is the one that everybody who acts is held against, which is told in what the model is worth."""
    told = damage()
    return told is not None and told[0].name == card.name


def shown_beside(card: GoalCard) -> tuple[Shown, ...]:
    """What tables and sentences tell beside a goal's headline."""
    return tuple(one for one in card.beside if one.column)


def form_of(name: str) -> Form | None:
    """In what form a goal's card has a metric told; None if no card tells it."""
    told = (one for card in registry.goals() for one in (*card.headline, *card.beside) if one.metric == name)
    found = next(told, None)
    return None if found is None else found.form


def telling(metrics: Row, kind: Tells) -> Any:
    """The first metric that tells this; None without one."""
    name = name_telling(metrics, kind)
    return None if name is None else metrics[name]


def name_telling(metrics: Row, kind: Tells) -> str | None:
    """Its name."""
    return next((name for name in _names(kind) if name in metrics and metrics[name]["value"] is not None), None)


def words_for(name: str) -> str:
    """What tables call a metric."""
    card = registry.metrics().get(name) if name in registry.metrics() else None
    return (card.words if card else "") or name


def correct(metrics: Row) -> Any:
    """The share of what a model does that is right; None without a value."""
    return telling(metrics, Tells.CORRECT)


def learned(metrics: Row) -> bool | None:
    """Whether a model is right more often than always the same answer is, by its interval; None where one is unknown.

    A control that is not has learnt nothing that shows: nothing is ranked against it or compared with it unmarked.
    """
    value = correct(metrics)
    if value is None or value.get("baseline") is None or value["ci_low"] is None:
        return None
    return bool(value["ci_low"] > value["baseline"])


def guess_words(name: str) -> str:
    """What a metric's baseline is of."""
    card = registry.metrics().get(name) if name in registry.metrics() else None
    return (card.guess if card else "") or "a guess"


def guesses(rows: Iterable[Row], name: str) -> tuple[float, ...]:
    """The different baselines of a metric in the metrics of these rows, in order of size."""
    found = (one[name].get("baseline") for one in (row["metrics"] for row in rows) if name in one)
    return tuple(sorted({float(value) for value in found if value is not None}))


def _names(kind: Tells) -> tuple[str, ...]:
    return tuple(card.name for card in registry.metrics() if card.tells == kind)
