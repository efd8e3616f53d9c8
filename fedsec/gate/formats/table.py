"""The verdict as CSV, a line per check, for spreadsheets."""

import csv
import io
from typing import Any

from fedsec.gate.verdict import Check, Verdict
from fedsec.report.visible import visible

COLUMNS = (
    "outcome", "scenario", "metric", "attack", "defense", "settings", "unit", "value", "ci_low", "ci_high", "seeds",
    "max", "min", "tolerance", "minimum_effect", "baseline", "difference", "difference_low", "difference_high",
    "p_value", "reasons",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a spreadsheet takes for the beginning of a formula."""


def render(verdict: Verdict) -> str:
    """A header and the checks in the rules' order; texts that look like formulas get an apostrophe in front."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_safe(value) for value in _row(check)] for check in verdict.checks)
    return stream.getvalue()


def _row(check: Check) -> list[Any]:
    settings = " ".join(f"{path}={value}" for path, value in sorted(check.settings.items()))
    between = check.difference or {}
    return [
        check.outcome.word, check.scenario, check.metric, check.attack, check.defense, settings, check.unit,
        check.value, check.ci_low, check.ci_high, " ".join(map(str, check.seeds)),
        check.max, check.min, check.tolerance, check.minimum_effect,
        check.baseline, between.get("value"), between.get("ci_low"), between.get("ci_high"), between.get("p_value"),
        "; ".join(check.reasons),
    ]  # fmt: skip


def _safe(value: Any) -> Any:
    """A text that no spreadsheet computes; numbers stay what they are."""
    if not isinstance(value, str):
        return value
    shown = visible(value)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown
