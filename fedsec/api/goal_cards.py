"""Cards of goals: what is asked of an attack, and which metrics measure the harm."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fedsec.api.cards import Card


class Asks(StrEnum):
    """When a goal asks its attack."""

    NEVER = "never"
    """Never: the attack acts, and the effect is scored."""
    BEFORE = "before"
    """Once before training, a fresh instance with a generator of its own."""
    AFTER = "after"
    """After training, with the evidence of its position."""


class Form(StrEnum):
    """The format of a value."""

    PERCENT = "percent"
    POINTS = "points"
    """A difference of two shares, in percentage points."""
    NUMBER = "number"
    """The number in three digits, such as an AUC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """How a metric is presented to people; `{value}` and `{n}` are filled in."""

    metric: str
    sentence: str
    """Continues `Undefended, NAME`: `recovers {value} of {n} texts exactly`."""
    square: str
    """Stands below the value in a square of the table: `of {n} texts read exactly`."""
    axis: str
    """The heading of a column and the label of an axis: `texts read exactly`."""
    guess: str = "a blind guess"
    """What the baseline is."""
    form: Form = Form.PERCENT
    column: bool = True
    """Whether the metric has its own column in the terminal's table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoalCard(Card):
    """The card of a goal: what is asked of an attack, and which metrics measure the harm.

    The harm is (value - chance) / (best - chance) of the headline, of which higher is worse. Where there was nothing to
    gain the harm is undefined, never 0. A goal whose headline metrics all lack `chance` and `best` is an error.
    """

    wants: str
    """What the adversary wants, in words: `to read clients' texts`."""
    asks: Asks = Asks.NEVER
    method: str = ""
    """The method of the attack that is asked; empty if nothing is asked."""
    by_round: bool = False
    """Whether the method is asked once for each attacked round, with its view. An attack of this goal then has no
    `observe`."""
    headline: tuple[Shown, ...]
    """Metrics whose harm is the goal's; the largest counts. Each has `chance` and `best` in every cell with a result,
    or no value and so no harm."""
    beside: tuple[Shown, ...] = ()
    """Further metrics for tables and figures."""
    compare: str = ""
    """`module:function` that computes metrics from cells and their controls when a scorecard is built. It takes a tuple
    of `Compared`, returns metrics by name, and imports no torch. Empty if `score` computes all metrics."""
    whoever_acts: bool = False
    """Whether every attack that changes the training is scored by this goal as well."""
    plants: bool = False
    """Whether `stage` adds texts or canaries to the clients' data; cells of this goal then have a training of their
    own."""
    refutes: str = ""
    """A metric above 0 where what was measured refutes a guarantee: the row is then red, and any gate fails. Empty for
    a goal that measures no guarantee."""
    requires: tuple[str, ...] = ()
    """Paths of settings that a scenario has to give: `("data.candidates",)`."""
    tasks: tuple[str, ...] = ()
    """Tasks of the models that can be attacked (`model.task`); any task if empty."""
    texts: bool = False
    """Whether `score` returns original and recovered texts, which a report shows if the scenario keeps them."""
    unit: str = ""
    """What a sample of the headline is: `records held by any client, against records held by nobody`."""

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
