"""Cards of goals: what is asked for one, and by which metrics its harm is told."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fedsec.api.cards import Card


class Asks(StrEnum):
    """When an attack is asked what its goal wants to know."""

    NEVER = "never"
    """It acts, and what comes of that is scored."""
    BEFORE = "before"
    """Once before training, a fresh instance with a generator of its own."""
    AFTER = "after"
    """After training, with the evidence that its position has."""


class Form(StrEnum):
    """How a value is written."""

    PERCENT = "percent"
    POINTS = "points"
    """A difference of two shares."""
    NUMBER = "number"
    """As it is, in three digits: an AUC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """How people are told a metric; `{value}` and `{n}` are filled in."""

    metric: str
    sentence: str
    """Goes on from `Undefended, NAME`: `recovers {value} of {n} texts exactly`."""
    square: str
    """Below the value in a square of the table: `of {n} texts read exactly`."""
    axis: str
    """Heads a column, and names a figure's axis: `texts read exactly`."""
    guess: str = "a blind guess"
    """What its baseline is."""
    form: Form = Form.PERCENT
    column: bool = True
    """Whether it has a column of its own in the terminal's table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoalCard(Card):
    """A goal: what is asked for it, and by which metrics its harm is told."""

    wants: str
    """What the adversary wants, in words: `to read clients' texts`."""
    asks: Asks = Asks.NEVER
    method: str = ""
    """The attack's method that is asked; empty if it is asked nothing."""
    by_round: bool = False
    """Whether the method is asked once for each attacked round, with the view of it: an attack of this goal has
    nothing to observe."""
    headline: tuple[Shown, ...]
    """The metrics whose harm is the goal's: (value - chance) / (best - chance), the largest of them. Each has `chance`
    and `best` in every cell that has a result, or no value and so no harm."""
    beside: tuple[Shown, ...] = ()
    """Other metrics that tables and figures show."""
    compare: str = ""
    """`module:function` that computes metrics from a cell and its controls when a scorecard is built; it takes a tuple
    of `Compared` and returns metrics by name. Light: no torch at import. Empty if `score` computes them all."""
    whoever_acts: bool = False
    """Scored as well for every attack that changes the training, whatever its own goal is."""
    plants: bool = False
    """Whether `stage` puts texts among the clients': cells of this goal then train for themselves."""
    requires: tuple[str, ...] = ()
    """Settings of a scenario that have to be given, as paths: `data.candidates`."""
    tasks: tuple[str, ...] = ()
    """What victims may learn (`model.task`); any task if empty."""
    texts: bool = False
    """Whether `score` gives original and recovered texts, which a report shows if the scenario keeps them."""
    unit: str = ""
    """What a sample of the headline is, and whose: `records held by any client, against records held by nobody`."""

    def describe(self) -> dict[str, Any]:
        """The card as JSON."""
        return {
            **Card.describe(self),
            "wants": self.wants,
            "asks": self.asks.value,
            "method": self.method,
            "headline": [one.metric for one in self.headline],
            "requires": list(self.requires),
            "tasks": list(self.tasks),
            "unit": self.unit,
        }
