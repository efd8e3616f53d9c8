"""Harm: how far an attack got between no harm and its whole goal, by the goal's card."""

from typing import Any

from fedsec.api import GoalCard
from fedsec.comparison.rows import RESULT, Row, goal_of, goals_of
from fedsec.errors import FedsecError

LEAST_ROOM = 0.05
"""Between chance and best below which there is nothing to gain, and so no harm to tell."""


def harm_of(row: Row) -> dict[str, Any] | None:
    """A row's harm: `value` (0: nothing gained, 1: everything), its interval, and the metric that tells it.

    `value` is None where it is undefined, and `reason` then says why. Not clipped: a defense may leave an attack worse
    off than chance. None for a control, and for a row without a result.

    Args:
        row: a cell or a row of the summary, with the metrics that compare it with its controls.

    Raises:
        FedsecError: the goal has no headline metric here: no harm is never assumed.
    """
    if row["status"] not in RESULT or row.get("goal") is None:
        return None
    own = goal_of(row)
    missing = f"its goal '{row['goal']}' is not registered here; install the package that brings it"
    found: list[dict[str, Any]] = [{"value": None, "reason": missing}] if own is None else []
    found += [harm_by(card, row["metrics"], own=card == own) for card in goals_of(row)]
    known = [one for one in found if one["value"] is not None]
    worst = max(known, key=lambda one: float(one["value"]), default=None)
    # What the attack wants is unknown: that it does no other damage makes it no harmless one.
    unknown = found[0]["value"] is None and (worst is None or float(worst["value"]) < 1.0)
    return found[0] if worst is None or unknown else worst


def drawn(harm: Row) -> float:
    """A defined harm between 0 and 1, as it is shaded."""
    return min(1.0, max(0.0, float(harm["value"])))


def within(harm: Row) -> dict[str, Any]:
    """A defined harm with its interval as it is told: nobody does more than all of it, or less than none."""
    ends = {end: harm[end] for end in ("value", "ci_low", "ci_high")}
    return {**harm, **{end: None if one is None else drawn({"value": one}) for end, one in ends.items()}}


def harm_by(card: GoalCard, metrics: Row, *, own: bool) -> dict[str, Any]:
    """The larger harm of a goal's headline metrics.

    Args:
        card: the goal.
        metrics: of a row.
        own: whether the row's attack is after this goal, so that a headline has to be there.

    Raises:
        FedsecError: it is after it, and none is.
    """
    names = [one.metric for one in card.headline if one.metric in metrics]
    if not names and own and not card.compare:
        listed = ", ".join(one.metric for one in card.headline)
        raise FedsecError(f"a row with the goal {card.name} has none of {listed}: its harm cannot be told")
    if not names:
        return {"value": None, "reason": "its control has no result"}
    found = [_of(name, metrics[name]) for name in names]
    known = [one for one in found if one["value"] is not None]
    return max(known, key=lambda one: float(one["value"])) if known else found[0]


def _of(name: str, value: Row) -> dict[str, Any]:
    if value["value"] is None:
        return {"value": None, "reason": f"nothing could count for {name}"}
    if value.get("chance") is None or value.get("best") is None:
        return {"value": None, "reason": "the undefended control has no result"}
    chance, best = value["chance"], value["best"]
    room, least = best - chance, value.get("best_low", best) - chance
    if room < LEAST_ROOM or least <= 0:
        return {"value": None, "reason": f"there was nothing to gain: {best:.3g} at best, {chance:.3g} by chance"}

    ends: dict[str, float | None] = {}
    for end, gain in (("ci_low", "gain_low"), ("ci_high", "gain_high")):
        apart = value[gain] if gain in value else None if value[end] is None else value[end] - chance
        ends[end] = None if apart is None else apart / room
    return {"value": (value["value"] - chance) / room, **ends, "metric": name}
