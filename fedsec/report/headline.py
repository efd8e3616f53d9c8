"""What a scorecard says, in sentences."""

from collections.abc import Mapping
from typing import Any

from fedsec.report.scorecard import settings_label

EXACT, ACCURACY, DROP = "leakage/exact-match", "utility/accuracy", "robustness/utility-drop"


def headline(scorecard: Mapping[str, Any]) -> list[str]:
    """One sentence per attack, defense and setting, controls aside."""
    return [_sentence(row) for row in scorecard["summary"] if row["attack"] != "none"]


def _sentence(row: Mapping[str, Any]) -> str:
    where = f" ({settings_label(row['settings'])})" if row["settings"] else ""
    against = "with no defense" if row["defense"] == "none" else f"against {row['defense']}"
    start = f"{row['attack']} {against}{where}"
    if row["status"] == "blocked":
        return f"{start} is blocked: {row['reason']}."
    if row["status"] != "ok":
        return f"{start} has no result ({row['status']}): {row['reason']}."
    metrics = row["metrics"]
    if EXACT in metrics:
        value = metrics[EXACT]
        guess = f"; a guess without the update reads {_percent(value['baseline'])}" if "baseline" in value else ""
        return f"{start} reads {_percent(value['value'])} of {value['n']} texts word for word{guess}."
    return (
        f"{start} leaves {_percent(metrics[ACCURACY]['value'])} accuracy, "
        f"{100 * metrics[DROP]['value']:.1f} points below the same federation without the attack."
        if DROP in metrics
        else f"{start} leaves {_percent(metrics[ACCURACY]['value'])} accuracy."
    )


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.0f} %"
