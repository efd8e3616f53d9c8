"""The verdict: settled once, above every format, and only ever made worse by what comes later."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

from fedsec.api import BetterFor
from fedsec.comparison.align import canonical
from fedsec.config.schema import GateRule
from fedsec.errors import ExitCode
from fedsec.gate.baseline import Baseline, differences
from fedsec.gate.places import Place
from fedsec.gate.readings import Gated, Group, Member
from fedsec.gate.regression import Change, Compared, compare

SCHEMA = 1


class Outcome(IntEnum):
    """What became of a check or of a whole run; a worse outcome has a larger number."""

    PASS = 0
    INCONCLUSIVE = 1
    FAILED = 2
    MISSING = 3
    INCOMPARABLE = 4

    @property
    def word(self) -> str:
        """As tables have it."""
        return self.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One rule held against one group of cells."""

    name: str
    """Unique in the verdict: metric, attack, defense, settings and, in a suite, the scenario."""
    rule: str
    """`metric/attack/defense` as the rule has them; as the baseline has them where no rule is about the cells."""
    identity: str
    """Equal in every run for the same cells and metric, whatever they measured."""
    outcome: Outcome
    reasons: tuple[str, ...]
    """Why, the worst first; and what else is to be known."""
    scenario: str
    metric: str
    attack: str
    defense: str
    settings: Mapping[str, Any]
    unit: str
    better_for: BetterFor
    value: float | None = None
    """The mean over seeds."""
    ci_low: float | None = None
    ci_high: float | None = None
    seeds: tuple[int, ...] = ()
    """Those with a value."""
    max: float | None = None
    min: float | None = None
    tolerance: float | None = None
    minimum_effect: float = 0.0
    baseline: float | None = None
    """The baseline's mean over its seeds."""
    difference: Mapping[str, Any] | None = None
    """New less old: value, ci_low, ci_high, method, n, and p_value, adjusted for all cells, of the tolerance."""
    place: Place | None = None
    """Where the rule stands; where none is about it, the first rule."""

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        own = {name: getattr(self, name) for name in self.__slots__ if name not in ("outcome", "place")}
        place = None if self.place is None else {"file": self.place.file, "line": self.place.line}
        return {
            **own,
            "outcome": self.outcome.word,
            "reasons": list(self.reasons),
            "seeds": list(self.seeds),
            "settings": dict(self.settings),
            "better_for": self.better_for.value,
            "difference": None if self.difference is None else dict(self.difference),
            "place": place,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a gate says of a run."""

    scenario: str
    """Its name, or the suite's."""
    key: str
    """The run's."""
    checks: tuple[Check, ...]
    """In the rules' order."""
    problems: tuple[str, ...] = ()
    """Why no baseline could be compared with, each enough to make the whole incomparable."""
    notes: tuple[str, ...] = ()
    """What is to be known and changes nothing."""
    strict: bool = False
    """Whether what is inconclusive fails too."""

    @property
    def outcome(self) -> Outcome:
        """The worst of its checks, and of its problems."""
        own = Outcome.INCOMPARABLE if self.problems else Outcome.PASS
        return max([own, *(check.outcome for check in self.checks)])

    @property
    def exit_code(self) -> ExitCode:
        """Of the command line: the worst outcome's."""
        inconclusive = ExitCode.INCONCLUSIVE if self.strict else ExitCode.OK
        return {
            Outcome.PASS: ExitCode.OK,
            Outcome.INCONCLUSIVE: inconclusive,
            Outcome.FAILED: ExitCode.GATE_FAILED,
            Outcome.MISSING: ExitCode.CELLS_MISSING,
            Outcome.INCOMPARABLE: ExitCode.INCOMPARABLE,
        }[self.outcome]

    @property
    def worst_first(self) -> tuple[Check, ...]:
        """The checks, the worst first and else in their order."""
        return tuple(sorted(self.checks, key=lambda check: -check.outcome))

    def count(self, outcome: Outcome) -> int:
        """Checks of that outcome."""
        return sum(check.outcome == outcome for check in self.checks)

    @property
    def sentence(self) -> str:
        """One line: what was decided of how many checks."""
        counts = [(self.count(one), one.word) for one in sorted(Outcome, reverse=True)]
        told = ", ".join(f"{count} {word}" for count, word in counts if count) or "no checks"
        return f"gate of {self.scenario}: {self.outcome.word} ({told})"

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "schema": SCHEMA,
            "scenario": self.scenario,
            "key": self.key,
            "outcome": self.outcome.word,
            "exit_code": int(self.exit_code),
            "strict": self.strict,
            "counts": {one.word: self.count(one) for one in Outcome},
            "problems": list(self.problems),
            "notes": list(self.notes),
            "checks": [check.as_json() for check in self.checks],
        }


def settle(
    name: str,
    key: str,
    rules: Sequence[GateRule],
    found: Sequence[Gated],
    baseline: Baseline | str | None,
    *,
    record: Mapping[str, Any],
    members: Sequence[Member],
    places: Sequence[Place | None] = (),
    refuted: Sequence[Check] = (),
    strict: bool = False,
) -> Verdict:
    """The verdict on a run.

    Args:
        name: the scenario's or suite's.
        key: the run's.
        rules: of the scenario, or of the suite.
        found: its rules with the cells that each is about.
        baseline: what to compare with; why there is none; None if none was given.
        record: the run's record.json.
        members: its scenarios.
        places: where each rule stands; nowhere if absent.
        refuted: checks that failed without a rule, since a promise of privacy is refuted.
        strict: whether what is inconclusive fails.
    """
    problems, notes = _comparability(name, found, baseline, record, members)
    known = baseline.groups() if isinstance(baseline, Baseline) and not problems else {}
    compared = _compared(found, known)
    stands = dict(enumerate(places))
    checks, several = [], len(members) > 1
    for one, change in zip(found, compared, strict=True):
        old = known.get(one.group.identity)
        checks.append(_check(one, old, change, stands.get(one.place), several=several, comparable=not problems))
    about = {one.place for one in found}
    checks += [_idle(rule, name, stands.get(place)) for place, rule in enumerate(rules) if place not in about]
    checks += refuted
    held = {one.group.identity for one in found if one.rule.tolerance is not None}
    lines = {one.group.identity: stands.get(one.place) for one in found}
    checks += [
        _lost(group, lines.get(identity), several=several) for identity, group in known.items() if identity not in held
    ]
    first = next((place for place in places if place is not None), None)
    return Verdict(
        scenario=name,
        key=key,
        checks=_named([replace(check, place=check.place or first) for check in checks]),
        problems=tuple(problems),
        notes=tuple(notes),
        strict=strict,
    )


def _comparability(
    name: str,
    found: Sequence[Gated],
    baseline: Baseline | str | None,
    record: Mapping[str, Any],
    members: Sequence[Member],
) -> tuple[list[str], list[str]]:
    """Why the baseline cannot be compared with, and notes on it."""
    if isinstance(baseline, str):
        return [baseline], []
    if baseline is None:
        wanted = any(one.rule.tolerance is not None for one in found)
        return ["rules have a tolerance, and no baseline was given: --baseline FILE"] if wanted else [], []
    if baseline.scenario != name:
        return [f"the baseline is of {baseline.scenario}, and this run is of {name}"], []
    apart = differences(record, members, baseline)
    if apart:
        listed = "; ".join(apart)
        return [f"the run and its baseline are not comparable: {listed}. Bless a run with these settings"], []
    packages = {**(record.get("packages") or {}), "device": record.get("device")}
    changed = [
        f"{key} {packages.get(key)} here and {value} in the baseline"
        for key, value in baseline.made_by.items()
        if packages.get(key) != value
    ]
    return [], [f"made by others than the baseline: {'; '.join(changed)}"] if changed else []


def _compared(found: Sequence[Gated], known: Mapping[str, Group]) -> list[Compared | None]:
    """The comparison of each, all tested together; None where one side is not there or no tolerance is asked for."""
    wanted = [
        place
        for place, one in enumerate(found)
        if one.rule.tolerance is not None and one.group.seeds and one.group.identity in known
    ]
    pairs = [(found[place].rule, found[place].group, known[found[place].group.identity]) for place in wanted]
    done = dict(zip(wanted, compare(pairs), strict=True))
    return [done.get(place) for place in range(len(found))]


def _check(
    one: Gated, old: Group | None, change: Compared | None, place: Place | None, *, several: bool, comparable: bool
) -> Check:
    rule, group, overall = one.rule, one.group, one.group.overall()
    told: list[tuple[Outcome, str]] = [(Outcome.MISSING, reason) for reason in one.missing]
    if overall is not None:
        told += _limits(one, *overall)
        told += _regression(one, old, change, comparable=comparable)
        told += [(Outcome.INCONCLUSIVE, doubt) for doubt in one.doubts]
    told.sort(key=lambda part: -part[0])
    mean, low, high = overall or (None, None, None)
    before = None if old is None else old.overall()
    return Check(
        name=f"{group.scenario}: {group.label}" if several else group.label,
        rule=rule.label,
        identity=group.identity,
        outcome=told[0][0] if told else Outcome.PASS,
        reasons=tuple(dict.fromkeys(reason for _, reason in told)),
        scenario=group.scenario,
        metric=group.metric,
        attack=group.attack,
        defense=group.defense,
        settings=group.settings,
        unit=group.unit,
        better_for=group.better_for,
        value=mean,
        ci_low=low,
        ci_high=high,
        seeds=tuple(sorted(group.seeds)),
        max=rule.max,
        min=rule.min,
        tolerance=rule.tolerance,
        minimum_effect=rule.minimum_effect,
        baseline=None if before is None else before[0],
        difference=None if change is None else {**change.difference.as_json(), "p_value": change.p_value},
        place=place,
    )


def _limits(one: Gated, mean: float, low: float | None, high: float | None) -> Iterable[tuple[Outcome, str]]:
    """A hard limit is about the value; that the interval reaches beyond it leaves open whether it is kept."""
    top, bottom = one.rule.max, one.rule.min
    if top is not None and mean > top:
        yield Outcome.FAILED, f"{mean:.4g} is above max, which is {top:g}"
    elif top is not None and high is not None and high > top:
        yield Outcome.INCONCLUSIVE, f"the interval reaches {high:.4g}, above max, which is {top:g}"
    if bottom is not None and mean < bottom:
        yield Outcome.FAILED, f"{mean:.4g} is below min, which is {bottom:g}"
    elif bottom is not None and low is not None and low < bottom:
        yield Outcome.INCONCLUSIVE, f"the interval reaches {low:.4g}, below min, which is {bottom:g}"


def _regression(
    one: Gated, old: Group | None, change: Compared | None, *, comparable: bool
) -> Iterable[tuple[Outcome, str]]:
    if one.rule.tolerance is None:
        return
    if not comparable:
        yield Outcome.INCOMPARABLE, "there is no baseline that it could be compared with"
    elif old is None:
        yield Outcome.INCONCLUSIVE, "it is not in the baseline yet; bless a run to keep it"
    elif change is not None:
        outcome = {Change.WORSE: Outcome.FAILED, Change.UNDECIDED: Outcome.INCONCLUSIVE}.get(
            change.change, Outcome.PASS
        )
        advice = "; bless a run to keep it" if change.change == Change.BETTER else ""
        yield outcome, f"{change.reason}{advice}"


def _idle(rule: GateRule, scenario: str, place: Place | None) -> Check:
    """A rule that is about no cell of the run."""
    return Check(
        name=rule.label,
        rule=rule.label,
        identity=canonical([scenario, rule.label]),
        outcome=Outcome.MISSING,
        reasons=("the run has no cell that the rule is about; correct the rule, or run what it is about",),
        scenario=scenario,
        metric=rule.metric,
        attack=rule.attack,
        defense=rule.defense,
        settings={},
        unit="",
        better_for=BetterFor.NEITHER,
        max=rule.max,
        min=rule.min,
        tolerance=rule.tolerance,
        minimum_effect=rule.minimum_effect,
        place=place,
    )


def _lost(group: Group, place: Place | None, *, several: bool) -> Check:
    """What the baseline holds and no rule compares any more."""
    before = group.overall()
    return Check(
        name=f"{group.scenario}: {group.label}" if several else group.label,
        rule=f"{group.metric}/{group.attack}/{group.defense}",
        identity=group.identity,
        outcome=Outcome.MISSING,
        reasons=(
            "it is in the baseline, and no rule of this run compares it, which takes a tolerance; bless a run if that "
            "is meant, or give no baseline where no rule has a tolerance any more",
        ),
        scenario=group.scenario,
        metric=group.metric,
        attack=group.attack,
        defense=group.defense,
        settings=group.settings,
        unit=group.unit,
        better_for=group.better_for,
        baseline=None if before is None else before[0],
        place=place,
    )


def _named(checks: Sequence[Check]) -> tuple[Check, ...]:
    """The checks with names that are unique: two rules may be about the same cells."""
    seen: dict[str, int] = {}
    found = []
    for check in checks:
        seen[check.name] = seen.get(check.name, 0) + 1
        number = seen[check.name]
        found.append(check if number == 1 else replace(check, name=f"{check.name} ({number})"))
    return tuple(found)
