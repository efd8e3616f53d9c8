"""Fronts of utility against harm: one for each place, goal, position of the adversary, and unit of epsilon."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fedsec.comparison.faced import harm_json, right_json
from fedsec.comparison.fronts import Point, hypervolume, on_front
from fedsec.comparison.groups import Group, Place, Row, scenario_of, span_of, worst_of
from fedsec.comparison.harm import drawn
from fedsec.comparison.ranks import below
from fedsec.comparison.rows import NONE, correct

_WHOLE = ("ok", "blocked")


def panels(groups: Sequence[Group], controls: Mapping[tuple[Place, str], Group]) -> list[dict[str, Any]]:
    """The fronts of a run, each with two defenses or more.

    A guarantee counts where it holds against the adversary's position; stacks whose guarantees are of different units
    (records, clients) never share a front, and stacks without one stand in each. What is undefined, cut short by a
    limit of time, or beside a control that did not learn has no point; nor has a stack that did not face an attack
    which another one of the front did.

    Args:
        groups: all of the run.
        controls: those without an attack, by place and stack.
    """
    found: list[dict[str, Any]] = []
    at: dict[tuple[Place, str, str], dict[str, list[Group]]] = {}
    for group in groups:
        if group.row.get("goal") and group.position and group.row["attack"] != NONE:
            stacks = at.setdefault((group.place, str(group.row["goal"]), group.position), {})
            stacks.setdefault(group.stack, []).append(group)
    for (place, goal, position), stacks in at.items():
        plain = controls.get((place, ""))
        units = {stack: _unit(own, position) for stack, own in stacks.items()}
        for unit in dict.fromkeys(one for one in units.values() if one) or [None]:
            members = [own for stack, own in stacks.items() if units[stack] in (None, unit)]
            ran = (group for own in members for group in own if group.row["status"] == "ok" and group.harm is not None)
            asked = frozenset(group.slot for group in ran)
            points = [one for own in members if (one := _point(own, asked, controls, position))]
            if len(points) > 1:
                about = {"goal": goal, "against": position, "unit": unit}
                found.append(_panel(about, points, members[0][0].row, plain))
    return found


def on_any_front(fronts: Iterable[Row], defense: str) -> bool | None:
    """Whether a defense is on a front; None where it has no point that may be on one."""
    marks = [
        point["front"]
        for front in fronts
        for point in front["points"]
        if point["defense"] == defense and point["status"] == "ok"
    ]
    return any(marks) if marks else None


def _unit(groups: Iterable[Group], position: str) -> str | None:
    """The unit of a stack's epsilon, as far as it holds against that position."""
    for guarantee in (group.row.get("guarantee") for group in groups):
        if (promised := _against(guarantee, position)) is not None:
            return str(promised.get("unit"))
    return None


def _against(guarantee: object, position: str) -> Row | None:
    """A guarantee, if it has an epsilon that holds against that position."""
    if not isinstance(guarantee, Mapping) or not isinstance(guarantee.get("epsilon"), (int, float)):
        return None
    against = guarantee.get("against")
    return guarantee if isinstance(against, Sequence) and position in against else None


def _point(
    own: Sequence[Group],
    asked: frozenset[tuple[Place, str]],
    controls: Mapping[tuple[Place, str], Group],
    position: str,
) -> dict[str, Any] | None:
    """What a defense keeps and what its worst attack gets; None where one of both is not known.

    It is not where the defense did not face an attack that another one of the front did.
    """
    if any(group.row["status"] not in (*_WHOLE, "n/a") for group in own):
        return None
    if not asked <= {group.slot for group in own if group.row["status"] in _WHOLE}:
        return None
    ran = [group for group in own if group.row["status"] == "ok"]
    worst = worst_of(ran) if ran else worst_of(group for group in own if group.row["status"] == "blocked")
    control = controls.get((own[0].place, own[0].stack))
    utility = None if control is None else right_json(control.row["metrics"])
    undefined = any(group.harm is None for group in ran)
    if worst is None or undefined or control is None or control.row["learned"] is False or utility is None:
        return None
    promised = _against(worst.row.get("guarantee"), position)
    return {
        "defense": worst.row["defense"],
        "status": worst.row["status"],
        "attack": worst.row["attack"],
        "adaptive": any(group.row["adaptive"] for group in ran),
        "epsilon": None if promised is None else promised["epsilon"],
        "utility": utility,
        "harm": harm_json(worst.row),
    }


def _panel(about: Row, points: list[dict[str, Any]], row: Row, plain: Group | None) -> dict[str, Any]:
    """One front: its points in their order, which are on it, and the share of the area that it encloses."""
    whole = [point for point in points if point["status"] == "ok"]  # blocked cells alone rank nothing
    at = [Point(float(one["utility"]["value"]), drawn(one["harm"])) for one in whole]
    marks = on_front(at)
    for point in points:
        point["front"], point["dominated"] = None, None
    for place, point in enumerate(whole):
        point["front"] = marks[place]
        rivals = (other for other, there in zip(whole, at, strict=True) if _no_worse(there, at[place]))
        point["dominated"] = any(_clearly_better(other, point) for other in rivals)
    guess = None if plain is None else (correct(plain.row["metrics"]) or {}).get("baseline")
    reference = Point(0.0 if guess is None else float(guess), 1.0)
    room = 1.0 - reference.utility
    return {
        "scenario": scenario_of(row) or None,
        "settings": row["settings"],
        **about,
        "points": points,
        "reference": reference._asdict(),
        "hypervolume": hypervolume(at, reference) / room if room > 0 and whole else None,
    }


def _no_worse(one: Point, other: Point) -> bool:
    return one.utility >= other.utility and one.harm <= other.harm


def _clearly_better(one: Row, other: Row) -> bool:
    """Whether intervals separate in one of both, to the first one's advantage."""
    spans = {kind: [span_of(point[kind]) for point in (one, other)] for kind in ("utility", "harm")}
    (up, down), (least, most) = spans["utility"], spans["harm"]
    more = up is not None and down is not None and below(down, up)
    return more or (least is not None and most is not None and below(least, most))
