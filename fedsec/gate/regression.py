"""Whether cells are worse than a baseline's: differences, tested together."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from fedsec.api import BetterFor
from fedsec.config.schema import GateRule
from fedsec.gate.readings import Group
from fedsec.metrics.stats.differences import Difference, difference, holm

LEVEL = 0.05
"""Of all gated cells together: where nothing changed, a gate fails by chance in at most so large a share of runs."""


class Change(Enum):
    """What a comparison with a baseline shows."""

    SAME = auto()
    """It is not worse by more than the tolerance."""
    BETTER = auto()
    """It is better by more than the tolerance."""
    UNDECIDED = auto()
    """The sample is too small to say."""
    WORSE = auto()
    """It is worse by more than the tolerance, and the effect is larger than the least that counts."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One group of cells beside the baseline's."""

    change: Change
    difference: Difference
    """New less old, in the metric's own direction."""
    p_value: float | None
    """Of the difference if it were the tolerance, adjusted for all cells that were compared; None without a test."""
    reason: str


def compare(pairs: Sequence[tuple[GateRule, Group, Group]]) -> list[Compared]:
    """Compare groups of a run with those of a baseline, all of them together.

    It is worse where the 95 % interval of the difference lies wholly beyond the tolerance, so far that Holm's
    correction over all groups leaves it there, and the difference is larger than `minimum_effect`. One seed each, and
    not the same one, decides nothing: how far seeds lie apart is not known.

    Args:
        pairs: rule with a tolerance, the run's group, the baseline's group; both have values.
    """
    found = [difference(new.seeds, old.seeds) for _, new, old in pairs]
    values = [
        None if _single(new, old) else _p_value(one, rule, new.better_for)
        for one, (rule, new, old) in zip(found, pairs, strict=True)
    ]
    tested = [place for place, value in enumerate(values) if value is not None]
    adjusted = dict(zip(tested, holm([values[place] or 0.0 for place in tested]), strict=True))
    return [
        _compared(rule, new, old, found[place], adjusted.get(place)) for place, (rule, new, old) in enumerate(pairs)
    ]


def _p_value(one: Difference, rule: GateRule, better_for: BetterFor) -> float | None:
    """Two-sided: of so bad a difference where the true one is the tolerance."""
    margin = rule.tolerance or 0.0
    above, below = one.p_above(margin), one.p_below(-margin)
    if above is None or below is None:
        return None
    worse = {BetterFor.ATTACKER: above, BetterFor.DEFENDER: below}.get(better_for, min(above, below))
    return min(1.0, 2 * worse)


def _compared(rule: GateRule, new: Group, old: Group, one: Difference, p_value: float | None) -> Compared:
    tolerance, worse = rule.tolerance or 0.0, _worse(one.value, new.better_for)
    if new.seeds.keys() == old.seeds.keys() and all(
        new.seeds[seed].value == old.seeds[seed].value for seed in old.seeds
    ):
        return Compared(Change.SAME, one, p_value, "as in the baseline")
    if _single(new, old):
        why = "one seed each, and not the same one, does not tell how far seeds lie apart; take more seeds"
        return Compared(Change.UNDECIDED, one, p_value, f"not told whether it is worse than the baseline: {why}")
    interval = one.interval()
    if interval is None:  # nothing is drawn at random, so that what differs differs
        beyond, within, better = worse > tolerance, worse <= tolerance, worse < -tolerance
        sure = beyond
    else:
        ends = sorted(_worse(end, new.better_for) for end in interval)
        if new.better_for == BetterFor.NEITHER and interval[0] < 0 < interval[1]:
            ends[0] = 0.0
        beyond, within, better = ends[0] > tolerance, ends[1] <= tolerance, ends[1] < -tolerance
        sure = beyond and p_value is not None and p_value <= LEVEL
    if within:
        change = Change.BETTER if better and new.better_for != BetterFor.NEITHER else Change.SAME
        said = "better than the baseline by more than the tolerance" if change == Change.BETTER else "within tolerance"
        return Compared(change, one, p_value, said)
    if beyond and worse <= rule.minimum_effect:
        return Compared(Change.SAME, one, p_value, "worse than the baseline by no more than minimum_effect")
    if sure:
        return Compared(Change.WORSE, one, p_value, "worse than the baseline by more than the tolerance")
    why = "one of several cells may differ so by chance" if beyond else "the interval reaches beyond the tolerance"
    return Compared(Change.UNDECIDED, one, p_value, f"not told whether it is worse than the baseline: {why}")


def _single(new: Group, old: Group) -> bool:
    """Whether both have one seed, and not the same."""
    return len(new.seeds) == len(old.seeds) == 1 and new.seeds.keys() != old.seeds.keys()


def _worse(value: float, better_for: BetterFor) -> float:
    """A difference so that more is worse; where nobody gains, any change is."""
    if better_for == BetterFor.NEITHER:
        return abs(value)
    return value if better_for == BetterFor.ATTACKER else -value
