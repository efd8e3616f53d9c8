"""What a defense costs: accuracy paired with the undefended training, bytes and seconds beside its own."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fedsec.api import Tells
from fedsec.comparison.groups import Content, Group, Place, scenario_of
from fedsec.comparison.rows import name_telling, telling
from fedsec.metrics.stats.differences import Measured, difference

COSTS = {"upload_bytes": Tells.SENT, "download_bytes": Tells.RECEIVED, "seconds_per_round": Tells.DURATION}

Pairs = Mapping[Place, tuple[Group, Group]]
"""A defense's control beside the undefended one, by place."""


def utility_cost(pairs: Pairs) -> dict[str, Any]:
    """By how much a defense makes the model worse where nobody attacks, at most over the places.

    The share of what is right in the undefended control less that in the defense's own, paired by seed and test row.
    `value` is None and `reason` says why where no place has both, or no undefended model learned.
    """
    found: list[dict[str, Any]] = []
    idle = False
    for mine, plain in pairs.values():
        name = name_telling(plain.row["metrics"], Tells.CORRECT)
        ours, theirs = (_measured(group, name) for group in (mine, plain))
        if name is None or not ours or not theirs:
            continue
        if plain.row["learned"] is False:
            idle = True
            continue
        lost = difference(theirs, ours)
        low, high = lost.interval() or (None, None)
        value = {"value": lost.value, "ci_low": low, "ci_high": high, "method": lost.method, "n": lost.n}
        found.append(
            {**value, "metric": name, "scenario": scenario_of(mine.row) or None, "settings": mine.row["settings"]}
        )
    if not found:
        return {"value": None, "reason": "the undefended model did not learn" if idle else "a control has no result"}
    return max(found, key=lambda one: float(one["value"]))


def amount(pairs: Pairs, kind: Tells) -> dict[str, Any] | None:
    """What a cost is with a defense and without, where it grows most; None where no place tells it."""
    found = []
    for mine, plain in pairs.values():
        ours, theirs = (telling(group.row["metrics"], kind) for group in (mine, plain))
        if ours is None or theirs is None:
            continue
        value, none = float(ours["value"]), float(theirs["value"])
        ratio = value / none if none else None
        found.append({"value": value, "none": none, "ratio": ratio, "scenario": scenario_of(mine.row) or None})
    return max(found, key=lambda one: one["ratio"] or 0.0, default=None)


def _measured(group: Group, name: str | None) -> dict[int, Measured]:
    """A metric of a group's cells by seed, with how right each test row was."""
    found = {}
    for cell, content in zip(group.cells, group.contents, strict=True):
        metric = cell["metrics"].get(name)
        one = None if metric is None else Measured.read(metric, rights(content))
        if one is not None:
            found[int(cell["seed"])] = one
    return found


def rights(content: Content) -> np.ndarray | None:
    """How right a cell's model was on each test row: 0 or 1, or the share of a text's tokens; None if not recorded."""
    if content.get("correct"):
        return np.array([character == "1" for character in content["correct"]], dtype=float)
    return np.array(content["right"], dtype=float) if content.get("right") else None
