"""A scorecard as pandas tables, as text and as HTML for notebooks."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedsec.comparison.rows import NONE
from fedsec.report.members import by_scenario
from fedsec.report.numbers import NO_VALUE
from fedsec.report.scorecard import settings_label

if TYPE_CHECKING:
    import pandas as pd

_LISTS = ("knowledge",)
_NESTED = ("settings", "attack_params", "defense_stack", "guarantee", "metrics")
_FLATTENED = {
    "harm": {"harm": "value", "harm.ci_low": "ci_low", "harm.ci_high": "ci_high", "harm.undefined": "reason"},
    "start": {"start.rows": "rows", "start.steps": "steps"},
    "auxiliary": {"auxiliary.texts": "texts", "auxiliary.dropped": "dropped"},
}
"""Columns that stand for a mapping, and the entries that they hold."""
_LEFT_OUT = ("cost/",)
"""Metrics that the short tables leave out."""

Row = Mapping[str, Any]


def frame(rows: Sequence[Row]) -> "pd.DataFrame":
    """Rows of a scorecard as a table; every metric is three columns: value, `.ci_low` and `.ci_high`.

    So is the harm, with `harm.undefined` for why it has no value.
    """
    import pandas as pd

    plain = list(dict.fromkeys(name for row in rows for name in row if name not in _NESTED))
    settings = list(dict.fromkeys(path for row in rows for path in row["settings"]))
    metrics = sorted({name for row in rows for name in row["metrics"]})
    columns: dict[str, list[Any]] = {}
    for name in plain:
        values = [row.get(name) for row in rows]
        if name in _FLATTENED:
            for column, key in _FLATTENED[name].items():
                found = [(value or {}).get(key) for value in values]
                columns[column] = found if key == "reason" else [float("nan") if one is None else one for one in found]
            continue
        columns[name] = [", ".join(value or ()) for value in values] if name in _LISTS else values
    for path in settings:
        columns[path] = [row["settings"].get(path) for row in rows]
    for name in metrics:
        for part, ending in (("value", ""), ("ci_low", ".ci_low"), ("ci_high", ".ci_high")):
            found = [row["metrics"].get(name, {}).get(part) for row in rows]
            columns[name + ending] = [float("nan") if value is None else float(value) for value in found]
    return pd.DataFrame(columns)


def as_text(scorecard: Row, path: Path, errors: int, missing: int) -> str:
    """A few lines that say what ran and what came out."""
    lines = [f"RunResult({scorecard['scenario']}, {_state(scorecard, errors, missing)}, {str(path)!r})"]
    suite = len(by_scenario(scorecard["summary"])) > 1
    for row in scorecard["summary"]:
        label = f"{row['scenario']}: " if suite else ""
        label += ", ".join(filter(None, (f"{row['attack']} vs {row['defense']}", settings_label(row["settings"]))))
        values = "; ".join(f"{name} {text}" for name, text in _values(row)) if row["metrics"] else row["reason"]
        status = "" if row["status"] == "ok" else f" [{row['status']}]"
        if (row.get("harm") or {}).get("reason"):
            values += f"; harm undefined: {row['harm']['reason']}"
        if row["attack"] == NONE and row.get("learned") is False:
            values += "; did not learn: no better than a guess"
        lines.append(f"  {label}{status}: {values}")
    return "\n".join(lines)


def as_html(scorecard: Row, path: Path, errors: int, missing: int) -> str:
    """A table of the summary with intervals; every text in it is escaped, and it holds no script and no style sheet."""
    rows = scorecard["summary"]
    names = list(dict.fromkeys(name for row in rows for name, _ in _values(row)))
    varied = any(row["settings"] for row in rows)
    suite = len(by_scenario(rows)) > 1
    heads = [*(["scenario"] if suite else []), *(["settings"] if varied else []), "attack", "defense", "status", *names]
    body = []
    for row in rows:
        values = dict(_values(row))
        status = row["status"] if not row["reason"] else f"{row['status']}: {row['reason']}"
        if (row.get("harm") or {}).get("reason"):
            status += f"; harm undefined: {row['harm']['reason']}"
        if row["attack"] == NONE and row.get("learned") is False:
            status += "; did not learn: no better than a guess"
        lead = [row["scenario"]] if suite else []
        cells = [*lead, *([settings_label(row["settings"])] if varied else []), row["attack"], row["defense"], status]
        body.append(_line("td", [*cells, *(values.get(name, "") for name in names)]))
    title = f"{scorecard['scenario']}: {_state(scorecard, errors, missing)}"
    return (
        f"<p><b>{escape(title)}</b></p><table><thead>{_line('th', heads)}</thead><tbody>{''.join(body)}</tbody></table>"
        f"<p>Brackets hold 95 % intervals. Report: <code>{escape(str(path / 'report.html'))}</code></p>"
    )


def _line(tag: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"


def _state(scorecard: Row, errors: int, missing: int) -> str:
    cells = len(scorecard["cells"])
    parts = [
        f"{cells} cell{'s' * (cells != 1)}",
        f"{errors} in error" * bool(errors),
        f"{missing} missing" * bool(missing),
    ]
    return ", ".join(filter(None, parts))


def _values(row: Row) -> Iterator[tuple[str, str]]:
    """Names and texts of a row's metrics, costs aside."""
    for name, metric in row["metrics"].items():
        if name.startswith(_LEFT_OUT):
            continue
        text = NO_VALUE if metric["value"] is None else f"{metric['value']:.3g}"
        if metric["ci_low"] is not None and metric["ci_high"] is not None:
            text += f" [{metric['ci_low']:.3g}, {metric['ci_high']:.3g}]"
        if metric.get("baseline") is not None:
            text += f" (guess {metric['baseline']:.3g})"
        yield name, text
