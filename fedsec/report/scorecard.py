"""The scorecard: the table of cells, and its summary with paired differences to the controls."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedsec.api import BetterFor, MetricValue
from fedsec.metrics.stats.intervals import Interval, over_seeds, paired_difference

SCHEMA = 1
NONE = "none"
ACCURACY, DROP = "utility/accuracy", "robustness/utility-drop"
TAIL = "utility/tail-accuracy"
PRECISION, RECALL = "robustness/detection-precision", "robustness/detection-recall"
PERPLEXITY, TOKEN_ACCURACY, EXTRACTED = "utility/perplexity", "utility/next-token-accuracy", "extraction/recall"
EXACT, ROUGE = "leakage/exact-match", "leakage/rouge-l"
_RESULT = ("ok", "blocked")
"""Statuses that are averaged, the one that says more first."""
_SETTLED = (*_RESULT, "n/a")
"""Statuses that leave nothing open."""

Content = Mapping[str, Any]
"""A cell file."""


def build(scenario: str, key: str, contents: Sequence[Content]) -> dict[str, Any]:
    """The scorecard of a run.

    Args:
        scenario: its name.
        key: the run's key.
        contents: the cells' files in the plan's order.
    """
    summary = _summary(contents)
    return {
        "schema": SCHEMA,
        "scenario": scenario,
        "key": key,
        "cells": [_with_drop(content, contents) for content in contents],
        "summary": summary,
        "worst_case": _worst_case(summary, contents),
    }


def without_timings(scorecard: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a scorecard that the same scenario, seed and versions reproduce bit for bit."""

    def strip(row: Mapping[str, Any]) -> dict[str, Any]:
        kept = {name: value for name, value in row["metrics"].items() if not name.endswith(("seconds", "-per-round"))}
        return {**row, "metrics": kept}

    return {
        **scorecard,
        "cells": [strip(cell) for cell in scorecard["cells"]],
        "summary": [strip(row) for row in scorecard["summary"]],
    }


def settings_label(settings: Mapping[str, Any]) -> str:
    """Varied settings in words: `attack_round=1, batch_size=4`."""
    return ", ".join(f"{path.rsplit('.', 1)[-1]}={value}" for path, value in settings.items())


def _with_drop(content: Content, contents: Sequence[Content]) -> dict[str, Any]:
    cell = dict(content["cell"])
    control = _control(content, contents)
    if control is not None:
        value = _drop([(control, content)])
        cell["metrics"] = dict(sorted({**cell["metrics"], DROP: value.as_json()}.items()))
    return cell


def _control(content: Content, contents: Sequence[Content]) -> Content | None:
    """For an attack on the training, the cell without an attack and with the same defense, seed and settings."""
    cell = content["cell"]
    # An attack that only looks trains nothing otherwise: a drop of 0 would say nothing.
    if not content.get("acts") or not _rows(content):
        return None
    same = ("defense", "seed", "settings")
    for other in contents:
        candidate = other["cell"]
        pairs = _rows(other) == _rows(content)  # not so for a file that somebody cut
        if candidate["attack"] == NONE and pairs and all(candidate[k] == cell[k] for k in same):
            return other
    return None


def _rows(content: Content) -> int:
    return len(content.get("correct") or content.get("right") or ())


def _bits(content: Content) -> np.ndarray:
    """How right the model was on each test row: 0 or 1, or the share of a text's tokens."""
    if content.get("correct"):
        return np.array([character == "1" for character in content["correct"]], dtype=float)
    return np.array(content["right"], dtype=float)


def _drop(pairs: Sequence[tuple[Content, Content]]) -> MetricValue:
    mean, interval = paired_difference([_bits(control) - _bits(attacked) for control, attacked in pairs])
    return MetricValue(
        value=mean,
        unit="fraction",
        better_for=BetterFor.ATTACKER,
        n=sum(_rows(control) for control, _ in pairs),
        ci_low=interval.low,
        ci_high=interval.high,
        method=interval.method,
    )


def _summary(contents: Sequence[Content]) -> list[dict[str, Any]]:
    groups: dict[str, list[Content]] = {}
    for content in contents:
        groups.setdefault(_key(content["cell"]), []).append(content)
    rows = [_row(group, contents) for group in groups.values()]
    for row in rows:
        row["pareto"] = _pareto(row, rows)
    return rows


def _key(row: Mapping[str, Any]) -> str:
    """What the seeds of a row have in common."""
    return repr((row["settings"], row["attack"], row["defense"]))


def _worst_case(rows: Sequence[Mapping[str, Any]], contents: Sequence[Content]) -> list[dict[str, Any]]:
    """For each defense and setting the attack on the training that costs it most, defenses in their order.

    Picked for being the largest of `compared` drops, so that chance alone makes it a little too large; the interval is
    that of the one attack. `unknown` names the attacks that have a drop against another defense and none against this
    one because their cells failed or are missing. `below_plain` is by how much the model is worse than the plain mean's
    under the mean's own worst attack, paired by seed and test row; only where the mean has a worst case.
    """
    found = []
    for setting, settings in {repr(row["settings"]): row["settings"] for row in rows}.items():
        own = [row for row in rows if repr(row["settings"]) == setting]
        known = [row for row in own if row["status"] == "ok" and DROP in row["metrics"]]
        attacks = list(dict.fromkeys(row["attack"] for row in own if DROP in row["metrics"]))
        plain = _worst([row for row in known if row["defense"] == NONE])
        defenses = dict.fromkeys(row["defense"] for row in own)
        for defense in sorted(defenses, key=lambda label: label != NONE):
            faced = [row for row in known if row["defense"] == defense]
            worst = _worst(faced)
            if worst is None:
                continue
            settled = {row["attack"] for row in own if row["defense"] == defense and row["status"] in _SETTLED}
            names = (DROP, ACCURACY, TOKEN_ACCURACY, PERPLEXITY, TAIL)
            entry = {
                "defense": defense,
                "settings": settings,
                "attack": worst["attack"],
                "compared": len(faced),
                "unknown": [attack for attack in attacks if attack not in settled],
                "seeds": worst["seeds"],
                "metrics": {name: worst["metrics"][name] for name in names if name in worst["metrics"]},
            }
            if plain is not None and defense != NONE and (below := _below(plain, worst, contents)):
                entry["below_plain"] = below.as_json()
            found.append(entry)
    return found


def _worst(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    return max(rows, key=lambda row: float(row["metrics"][DROP]["value"]), default=None)


def _below(plain: Mapping[str, Any], row: Mapping[str, Any], contents: Sequence[Content]) -> MetricValue | None:
    """By how much a row is worse than that of the plain mean, over the seeds that both have; None without any."""
    theirs = {c["cell"]["seed"]: c for c in contents if _key(c["cell"]) == _key(plain) and _rows(c)}
    own = [c for c in contents if _key(c["cell"]) == _key(row) and _rows(c)]
    pairs = [(theirs[c["cell"]["seed"]], c) for c in own if c["cell"]["seed"] in theirs]
    pairs = [(mean, rule) for mean, rule in pairs if _rows(mean) == _rows(rule)]
    return _drop(pairs) if pairs else None


def _row(group: Sequence[Content], contents: Sequence[Content]) -> dict[str, Any]:
    """Means over the seeds that have a result; `failed` counts those in error, where there are any."""
    ran = [content for content in group if content["cell"]["status"] in _RESULT]
    cells, counted = ([content["cell"] for content in some] for some in (group, ran))
    names = sorted({name for cell in counted for name in cell["metrics"]})
    metrics = {name: _mean([c["metrics"][name] for c in counted if name in c["metrics"]]) for name in names}
    pairs = [(control, content) for content in ran if (control := _control(content, contents)) is not None]
    if pairs:
        metrics[DROP] = _drop(pairs).as_json()
    statuses = [cell["status"] for cell in cells]
    status = next((s for s in ("error", *_RESULT) if s in statuses), statuses[0])
    failed = statuses.count("error")
    return {
        "attack": cells[0]["attack"],
        "defense": cells[0]["defense"],
        "settings": cells[0]["settings"],
        "seeds": len(counted),
        **({"failed": failed} if failed else {}),
        "status": status,
        "reason": next((cell["reason"] for cell in cells if cell["status"] == status and cell["reason"]), None),
        "adaptive": any(cell["adaptive"] for cell in cells),
        "metrics": metrics,
    }


def _mean(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean over seeds; one seed keeps its own interval, several get that of `over_seeds`."""
    mean = dict(values[0])
    if len(values) == 1:
        return mean
    mean["value"] = float(np.mean([v["value"] for v in values]))
    mean["n"] = sum(v["n"] for v in values)
    mean |= _interval(values)
    for name in ("baseline", "random_guess", "left_out"):
        mean.pop(name, None)  # one seed's does not stand beside all seeds' mean
    for name in ("baseline", "random_guess"):
        if all(name in v for v in values):
            mean[name] = float(np.mean([v[name] for v in values]))
    if left_out := sum(v.get("left_out", 0) for v in values):
        mean["left_out"] = left_out
    return mean


def _interval(values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Over seeds; none where a seed has none, as costs have not."""
    ends = [(v["ci_low"], v["ci_high"]) for v in values]
    if any(low is None or high is None for low, high in ends):
        return {"ci_low": None, "ci_high": None, "method": "none"}
    within = [Interval(low, high, "") for low, high in ends]
    limits = (0.0, 1.0) if values[0]["unit"] == "fraction" else (-np.inf, np.inf)
    found = over_seeds([v["value"] for v in values], within, *limits)
    return {"ci_low": found.low, "ci_high": found.high, "method": found.method}


def _pareto(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> bool:
    """No other defense against the same attack is at least as good in both utility and harm, and better in one."""
    own = _standing(row, rows)
    if own is None:
        return False
    for other in rows:
        if other["attack"] != row["attack"] or other["settings"] != row["settings"]:
            continue
        theirs = _standing(other, rows)
        if theirs and theirs != own and theirs[0] >= own[0] and theirs[1] <= own[1]:
            return False
    return True


def _standing(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> tuple[float, float] | None:
    """(accuracy without an attack, what the attack gets) of a defense."""
    control = next(
        (
            accuracy_of(other["metrics"])["value"]
            for other in rows
            if other["attack"] == NONE
            and other["defense"] == row["defense"]
            and other["settings"] == row["settings"]
            and accuracy_of(other["metrics"])
        ),
        None,
    )
    if row["attack"] == NONE or control is None or row["status"] not in _RESULT:
        return None
    return float(control), harm(row["metrics"])


def accuracy_of(metrics: Content) -> Any:
    """What a model does right: test rows, or a causal language model's next tokens; None without a value."""
    return metrics.get(ACCURACY) or metrics.get(TOKEN_ACCURACY)


def harm(metrics: Content) -> float:
    """0 (nothing gained) to 1 (everything), as the table is coloured.

    For an attack that reads: how far it gets from a blind guess to every text, by whole texts or by words, whichever
    is worse, so that a text with one wrong word does not look safe. For one that ruins: the share of accuracy lost.
    """
    if EXACT in metrics:
        pairs = [(v["value"], v.get("baseline", 0.0)) for v in (metrics.get(EXACT), metrics.get(ROUGE)) if v]
        return float(max(0.0, *((value - guess) / max(1 - guess, 1e-9) for value, guess in pairs)))
    if EXTRACTED in metrics:
        return float(metrics[EXTRACTED]["value"])
    lost, accuracy = metrics[DROP]["value"] if DROP in metrics else 0.0, accuracy_of(metrics)
    before = accuracy["value"] + lost if accuracy else 0.0
    return float(min(1.0, max(0.0, lost / before))) if before > 0 else 0.0
