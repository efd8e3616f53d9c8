"""Metric values: a measured number with its unit, direction, sample size and interval."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from math import isfinite
from typing import Any

_OPTIONAL = ("baseline", "random_guess", "chance", "best", "best_low", "gain_low", "gain_high")


class BetterFor(StrEnum):
    """The side that gains when the number grows."""

    DEFENDER = "defender"
    ATTACKER = "attacker"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricValue:
    """One metric of one cell."""

    value: float | None
    """None where no sample could be counted: n is 0."""
    unit: str
    """`fraction` (0..1), `bytes`, `seconds`, ..."""
    better_for: BetterFor
    n: int
    """Number of samples behind the value."""
    ci_low: float | None = None
    """Lower end of the 95 % confidence interval; None where an interval makes no sense (bytes)."""
    ci_high: float | None = None
    method: str = "none"
    """The method of the interval: `wilson`, `bootstrap-batches`, `none`, ..."""
    baseline: float | None = None
    """The same metric of a guess from the prior with the same side knowledge, if there is one."""
    random_guess: float | None = None
    """The same metric of a guess from word frequencies alone, where the baseline is that of a language model."""
    chance: float | None = None
    """For a headline of a goal: the value without harm; the harm is (value - chance) / (best - chance)."""
    best: float | None = None
    """For a headline of a goal: the value of an adversary that reaches its goal completely."""
    best_low: float | None = None
    """Lower end of the 95 % interval of `best`, where `best` was measured; if it is below chance, the harm is
    undefined."""
    gain_low: float | None = None
    """Lower end of the 95 % interval of `value - chance`, where `chance` was measured too: that of `value` alone says
    less about the harm than is unknown."""
    gain_high: float | None = None
    detail: Mapping[str, float] | None = None
    """Other finite numbers that are needed to read the value, by kebab-case name: a threshold, counts."""
    left_out: int = 0
    """Samples that could not be counted: planted data lost to truncation, references too short for ROUGE-n."""

    def __post_init__(self) -> None:
        """Refuse numbers that JSON cannot hold; ValueError names the field."""
        for name in ("value", "ci_low", "ci_high", *_OPTIONAL):
            number = getattr(self, name)
            if number is not None and not isfinite(number):
                raise ValueError(f"MetricValue.{name} is {number}; only finite numbers can be written")
        for name, number in (self.detail or {}).items():
            if not isfinite(number):
                raise ValueError(f"MetricValue.detail.{name} is {number}; only finite numbers can be written")
        if (self.value is None) != (self.n == 0):
            raise ValueError(f"a metric has a value if anything counted: value {self.value}, n {self.n}")

    def as_json(self) -> dict[str, Any]:
        """Return the value as in `scorecard.json`, without optional fields that are empty."""
        fields = {**asdict(self), "detail": None if self.detail is None else dict(self.detail)}
        for name in (*_OPTIONAL, "detail"):
            if fields[name] is None:
                del fields[name]
        if not self.left_out:
            del fields["left_out"]
        return fields
