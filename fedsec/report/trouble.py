"""What went wrong in honest training, in plain words: said before every result, in the terminal and in the report."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedsec.comparison.rows import NONE, RESULT
from fedsec.report.scorecard import settings_label
from fedsec.report.untrained import complaint

MOST_ATTACKED = 4
"""Attacked rows that are told one by one."""

Row = Mapping[str, Any]


def training_findings(rows: Sequence[Row]) -> list[str]:
    """A paragraph for what each control lost of updates or rounds, and one for the attacked models that did.

    Attacked models are not told where the undefended control did not train either.

    Args:
        rows: the scorecard's summary.
    """
    told = [row for row in rows if row["status"] in RESULT and short(row)]
    controls: dict[str, list[Row]] = {}
    for row in told:
        if row["attack"] == NONE:
            controls.setdefault(_whole(row), []).append(row)
    paragraphs = [_control(text, own) for text, own in controls.items()]
    broken = [row["settings"] for row in rows if row["attack"] == row["defense"] == NONE and row.get("untrained")]
    # Who only looks shares the control's training, of which all has been said.
    acting = [row for row in told if row.get("acts") and row["settings"] not in broken]
    attacked = [f"{row['attack']} against {_defense(row)} ({_whole(row)})" for row in acting]
    if attacked:
        more = f"; and {len(attacked) - MOST_ATTACKED} more" if len(attacked) > MOST_ATTACKED else ""
        paragraphs.append(f"Under attack, honest work was lost: {'; '.join(attacked[:MOST_ATTACKED])}{more}.")
    return paragraphs


def note(row: Row) -> list[str]:
    """What one line has room for."""
    return ["did not train"] if row.get("untrained") else short(row)


def short(row: Row) -> list[str]:
    """What a square of a table has room for of a row's lost updates and rounds; empty if nothing was lost."""
    training = row.get("training") or {}
    lines = []
    if training.get("dropped"):
        lines.append(f"{training['dropped']} of {training['updates']} honest updates dropped")
    if training.get("skipped"):
        lines.append(f"{training['skipped']} of {training['rounds']} rounds skipped")
    return lines or (["did not train"] if row.get("untrained") else [])


def steps_too_long(row: Row) -> bool:
    """Whether a control lost updates, or its model diverged, as happens where the learning rate is too high."""
    training = row.get("training") or {}
    return str(training.get("dropped_because")).startswith("holds") or bool(
        row.get("untrained") and not training.get("skipped")
    )


def no_better(row: Row) -> str:
    """That a trained model is no better than it was at the start; empty where it is, or was not evaluated."""
    training = row.get("training") or {}
    start, end = training.get("start"), training.get("end")
    return "" if start is None or end is None or end > start else "no better than before training"


def _control(lost: str, rows: Sequence[Row]) -> str:
    """What controls have lost alike."""
    text = f"Without an attack ({', '.join(map(_defense, rows))}), {lost}."
    if any(row.get("untrained") and row["defense"] == NONE for row in rows):
        text += " Nothing is compared with the undefended model."
    if any(map(steps_too_long, rows)):
        text += " The learning rate may be too high: lower federation.learning_rate."
    return text


def _whole(row: Row) -> str:
    return str(row.get("untrained") or complaint(row["training"]))


def _defense(row: Row) -> str:
    label = settings_label(row["settings"])
    name = "no defense" if row["defense"] == NONE else str(row["defense"])
    return f"{name} with {label}" if label else name
