"""A measured number that carries its unit, direction, sample size and interval."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from math import isfinite
from typing import Any


class BetterFor(StrEnum):
    """Who gains when the number grows."""

    DEFENDER = "defender"
    ATTACKER = "attacker"
    NEITHER = "neither"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricValue:
    """One metric of one cell."""

    value: float
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

    left_out: int = 0
    """Samples that could not count: planted data that truncation took away, references too short for ROUGE-n."""

    def __post_init__(self) -> None:
        """Refuse what JSON cannot hold here, where it arises; ValueError names the field."""
        for name in ("value", "ci_low", "ci_high", "baseline", "random_guess"):
            number = getattr(self, name)
            if number is not None and not isfinite(number):
                raise ValueError(f"MetricValue.{name} is {number}; only finite numbers can be written")

    def as_json(self) -> dict[str, Any]:
        """The value as it stands in `scorecard.json`; baselines and `left_out` only where there is something."""
        fields = asdict(self)
        for name in ("baseline", "random_guess"):
            if fields[name] is None:
                del fields[name]
        if not self.left_out:
            del fields["left_out"]
        return fields
