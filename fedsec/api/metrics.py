"""A measured number that carries its unit, direction, sample size and interval."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from math import isfinite
from typing import Any

_OPTIONAL = ("baseline", "random_guess", "chance", "best", "best_low")


class BetterFor(StrEnum):
    """Who gains when the number grows."""

    DEFENDER = "defender"
    ATTACKER = "attacker"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricValue:
    """One metric of one cell."""

    value: float | None
    """None where no sample could count: n is 0."""
    unit: str
    """`fraction` (0..1), `bytes`, `seconds`, ..."""
    better_for: BetterFor
    n: int
    """Samples that the value rests on."""
    ci_low: float | None = None
    """Lower end of the 95 % interval; None where an interval makes no sense (bytes)."""
    ci_high: float | None = None
    method: str = "none"
    """How the interval was made: `wilson`, `bootstrap-batches`, `none`, ..."""
    baseline: float | None = None
    """The same metric for a guess from the prior alone with the same side knowledge, if there is one."""
    random_guess: float | None = None
    """The same metric for a guess from word frequencies alone, where the baseline is a language model's."""
    chance: float | None = None
    """Of a goal's headline: what does no harm, for the harm (value - chance) / (best - chance)."""
    best: float | None = None
    """Of a goal's headline: what an adversary that gets all that it wants would have."""
    best_low: float | None = None
    """Lower end of the 95 % interval of `best`, where `best` was measured: below chance, the harm is undefined."""
    detail: Mapping[str, float] | None = None
    """Other finite numbers that the value cannot be read without, by kebab-case name: a threshold, counts."""
    left_out: int = 0
    """Samples that could not count: planted data that truncation took away, references too short for ROUGE-n."""

    def __post_init__(self) -> None:
        """Refuse what JSON cannot hold here, where it arises; ValueError names the field."""
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
        """The value as it stands in `scorecard.json`; what is optional only where there is something."""
        fields = {**asdict(self), "detail": None if self.detail is None else dict(self.detail)}
        for name in (*_OPTIONAL, "detail"):
            if fields[name] is None:
                del fields[name]
        if not self.left_out:
            del fields["left_out"]
        return fields
