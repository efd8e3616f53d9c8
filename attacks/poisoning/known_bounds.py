"""How long an update may be before a defense that the attacker knows shortens it or looks at it."""

from typing import Any

from fedsec.api import ColluderView, Knowledge

_ABSOLUTE = ("norm-bound", "weak-dp")
"""Defenses with a `bound` in the update's own units."""
_MEDIAN = ("clipping", "flame")
"""Defenses that cut updates down to a multiple of the round's median norm."""


def bound_on(view: ColluderView, norm: float) -> float:
    """Return the largest norm to send; 0 for none.

    Where the scenario grants the defense's settings, a known bound counts as well. The median norm of a round is taken
    to be that of the colluders' honest updates.

    Args:
        view: a colluder's.
        norm: what the attack's parameter says; 0 for none.
    """
    found = [norm] if norm > 0 else []
    for defense in view.granted.get(Knowledge.DEFENSE_SETTINGS, ()):
        params: dict[str, Any] = defense["params"]
        if defense["name"] in _ABSOLUTE:
            found.append(float(params["bound"]))
        elif defense["name"] in _MEDIAN:
            median = float(view.own_rows.double().norm(dim=1).quantile(0.5))
            found.append(median * float(params.get("factor", 1.0)))
    return min(found, default=0.0)
