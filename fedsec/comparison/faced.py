"""What the attacks of one goal got against one defense, at worst, and whether that can be ranked."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedsec.api import Tells
from fedsec.comparison.groups import RAN, Group, Place, Row, scenario_of, span_of, span_of_worst, where_of, worst_of
from fedsec.comparison.ranks import Span, below
from fedsec.comparison.rows import BUDGET, name_telling

_BLOCKED_ALONE = "no attack on what stays visible was run"
_NO_MODEL = "the model did not learn without an attack either"
_NO_CONTROL = "the undefended model did not learn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Faced:
    """What one goal's attacks got against a defense."""

    status: str
    """`ok`, `budget`, `undefined`, `blocked`, `error`, `n/a` or `missing`."""
    reason: str | None
    worst: Group | None
    """Where the harm is largest; None where none is known."""
    ran: tuple[Group, ...]
    """The groups with a harm of an attack that ran."""
    unknown: tuple[str, ...]
    """Attacks without a whole result, with the place of those that have one in another."""
    span: Span | None
    """Where the worst harm lies; None without an interval."""
    unranked: str | None
    """Why it has no rank; None where it may have one."""

    def as_json(self) -> dict[str, Any]:
        """Return the entry of a goal, without what holds it against others."""
        row = None if self.worst is None else self.worst.row
        names = list(dict.fromkeys(str(one.row["attack"]) for one in self.ran))
        return {
            "status": self.status,
            "reason": self.reason,
            "scenario": None if row is None else scenario_of(row) or None,
            "settings": None if row is None else row["settings"],
            "attack": None if row is None else row["attack"],
            "position": None if self.worst is None else self.worst.position,
            "harm": harm_json(row),
            "metric": metric_json(row),
            "alike": [name for name in names if row is not None and name != row["attack"] and self._near(name)],
            "at_most": {name: self._most(name) for name in names},
            "compared": len(names),
            "adaptive": any(one.row["adaptive"] for one in self.ran),
            "unknown": list(self.unknown),
        }

    def _most(self, attack: str) -> float | None:
        """The upper end of an attack's harm; None where that is unknown."""
        spans = [span_of(one.harm) for one in self.ran if one.row["attack"] == attack]
        known = [span.high for span in spans if span is not None]
        return max(known) if len(known) == len(spans) else None

    def _near(self, attack: str) -> bool:
        """Whether the intervals do not tell an attack from the worst."""
        own = span_of(self.worst.harm) if self.worst else None
        spans = [span_of(one.harm) for one in self.ran if one.row["attack"] == attack]
        return own is None or any(span is None or not below(span, own) for span in spans)


def faced(own: Sequence[Group], rivals: Collection[Group], learned: Mapping[tuple[Place, str], Any]) -> Faced:
    """What the attacks of a goal got against one defense.

    Args:
        own: the groups of this goal and defense.
        rivals: all groups of this goal, whatever the defense.
        learned: whether the control of a stack learned, by place and stack; None where that is unknown.
    """
    at = {one.slot: one for one in own}
    answered = [one for one in rivals if one.row["status"] in RAN and one.harm is not None]
    asked = dict.fromkeys(one.slot for one in answered)
    ran = tuple(one for one in own if one.row["status"] in RAN and one.harm is not None)
    blocked = [one for one in own if one.row["status"] == "blocked"]
    lost = [slot for slot in dict.fromkeys([*at, *asked]) if slot not in at or _is_open(at[slot])]
    status = _status(own, ran, blocked)
    worst = worst_of(ran) or (worst_of(blocked) if status == "blocked" else None)
    if status == "ok" and worst is not None:
        status = str(worst.row["status"])
    span = span_of_worst(span_of(one.harm) for one in ran)
    holes = [slot for slot in asked if slot in lost]
    apart = [slot for slot in asked if slot in at and at[slot].row["status"] == "n/a"]
    unranked = _unranked(status, own, [name for _, name in holes], [name for _, name in apart])
    if unranked is None and worst is not None:
        controls = [learned.get((worst.place, stack)) for stack in (worst.stack, "")]
        unranked = next(
            (why for why, one in zip((_NO_MODEL, _NO_CONTROL), controls, strict=True) if one is False), None
        )
    if unranked is None and span is None:
        unranked = "its harm has no interval"
    elsewhere = {str(one.row["attack"]) for one in ran if one.slot not in lost}
    rows = {one.slot: one.row for one in (*rivals, *own)}
    named = (f"{slot[1]} ({where_of(rows[slot])})" if slot[1] in elsewhere else slot[1] for slot in lost)
    unknown = tuple(dict.fromkeys(named))
    reason = worst.row["reason"] if status in ("ok", BUDGET, "blocked") and worst else _reason(status, own)
    return Faced(status=status, reason=reason, worst=worst, ran=ran, unknown=unknown, span=span, unranked=unranked)


def _idle(own: bool | None, undefended: bool | None) -> str | None:
    """Why controls that did not learn leave nothing to rank; None where both did, or may have."""
    return _NO_MODEL if own is False else _NO_CONTROL if undefended is False else None


def _is_open(group: Group) -> bool:
    """Whether an attack has no whole result: an error, a limit of time, or a harm that is undefined."""
    status = group.row["status"]
    return status in ("error", BUDGET) or (status in RAN and group.harm is None)


def _status(own: Sequence[Group], ran: Sequence[Group], blocked: Sequence[Group]) -> str:
    """What is known of a goal, from the most to the least; of blocked attacks and undefined harms the latter."""
    statuses = {str(one.row["status"]) for one in own}
    if ran:
        return "ok"
    if statuses & set(RAN):
        return "undefined"
    if blocked:
        return "blocked"
    return next((one for one in ("error", "n/a") if one in statuses), "missing")


def _reason(status: str, own: Iterable[Group]) -> str | None:
    """The first reason that belongs to a status."""
    if status == "undefined":
        return next(
            (str(one.row["harm"]["reason"]) for one in own if one.row["status"] in RAN and one.row["harm"]), None
        )
    return next((one.row["reason"] for one in own if one.row["status"] == status and one.row["reason"]), None)


def _unranked(status: str, own: Sequence[Group], holes: Sequence[str], apart: Sequence[str]) -> str | None:
    """Why a status has no rank, or what is missing where it has: every attack that another defense faced counts."""
    why = _reason(status, own)
    if status == "blocked":
        return _BLOCKED_ALONE
    if status == "missing":
        return "it has no result"
    if status != "ok":
        words = {BUDGET: "time was over", "undefined": "its harm is undefined", "error": "it has no result"}
        return f"{words.get(status, 'it does not apply')}: {why}"
    if holes:
        return f"{_listed(holes)} {_has(holes)} no whole result"
    return f"{_listed(apart)} {_does(apart)} not apply to it" if apart else None


def _listed(names: Sequence[str]) -> str:
    return " and ".join(dict.fromkeys(names))


def _has(names: Sequence[str]) -> str:
    return "has" if len(set(names)) == 1 else "have"


def _does(names: Sequence[str]) -> str:
    return "does" if len(set(names)) == 1 else "do"


def harm_json(row: Row | None) -> dict[str, Any] | None:
    """A row's harm with its interval and samples; None without a value."""
    harm = None if row is None else row.get("harm")
    if row is None or harm is None or harm["value"] is None:
        return None
    n = row["metrics"][harm["metric"]]["n"]
    return {"value": harm["value"], "ci_low": harm["ci_low"], "ci_high": harm["ci_high"], "n": n}


def metric_json(row: Row | None) -> dict[str, Any] | None:
    """The metric that tells a row's harm; None without a value."""
    harm = None if row is None else row.get("harm")
    if row is None or harm is None or harm["value"] is None:
        return None
    name = str(harm["metric"])
    return {"name": name, **value_json(row["metrics"][name])}


def value_json(value: Row) -> dict[str, Any]:
    """What head-to-head tables tell of a metric."""
    return {key: value.get(key) for key in ("value", "ci_low", "ci_high", "n", "baseline")}


def right_json(metrics: Row) -> dict[str, Any] | None:
    """The share of what is right, with its name; None without a value."""
    name = name_telling(metrics, Tells.CORRECT)
    return None if name is None else {"metric": name, **value_json(metrics[name])}
