"""Every cell in full: attack and defense, each metric with its samples, hooks' measurements, the rule's weights."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from fedsec.api import Form
from fedsec.comparison.rows import NONE, form_of
from fedsec.metrics.words import shown_words
from fedsec.report import plots
from fedsec.report.findings import brief
from fedsec.report.numbers import amount, between, percent, reach, span, written
from fedsec.report.scorecard import settings_label

MOST_TEXTS, MOST_WORDS, MOST_EVENTS, MOST_MEASUREMENTS = 40, 600, 40, 60

Row = Mapping[str, Any]


def detail(content: Row, row: Row) -> dict[str, Any]:
    """Everything about one cell.

    Args:
        content: its file.
        row: its row of the scorecard, which has what compares it with its controls as well.
    """
    attack = "no attack, " if row["attack"] == NONE else f"{row['attack']} against "
    defense = "no defense" if row["defense"] == NONE else row["defense"]
    texts, events = content.get("texts") or [], []
    for entry in content.get("rounds") or ():
        events += [f"round {entry['round']}, client {r['client']} dropped: {r['reason']}" for r in entry["rejected"]]
        events += [f"round {entry['round']} left the model as it was: {entry['skipped']}"] if entry["skipped"] else []
    metrics = [_metric(name, value) for name, value in row["metrics"].items()]
    measured = _measured(content.get("rounds") or ())
    return {
        "row": row,
        "title": f"{attack}{defense}, seed {row['seed']}",
        "settings": settings_label(row["settings"]),
        "params": [(part["name"], part["params"]) for part in row["defense_stack"]],
        "harm": _harm(row),
        "metrics": metrics,
        "notes": any(metric["detail"] for metric in metrics),
        "measured": measured[:MOST_MEASUREMENTS],
        "more_measured": len(measured[MOST_MEASUREMENTS:]),
        "malicious": content.get("malicious") or [],
        "events": events[:MOST_EVENTS],
        "more_events": len(events[MOST_EVENTS:]),
        "trust": plots.trust(content),
        "texts": [{**text, **_compared(text)} for text in texts[:MOST_TEXTS]],
        "more_texts": len(texts[MOST_TEXTS:]),
    }


def _harm(row: Row) -> str:
    """The row's harm in words; empty where there is none."""
    harm = row.get("harm")
    if harm is None:
        return ""
    if harm["value"] is None:
        return f"undefined: {brief(harm['reason'])}"
    return f"{percent(harm['value'])} by {harm['metric']} (95\u00a0% interval {span(harm)})"


def _metric(name: str, value: Row) -> dict[str, Any]:
    """A line of the metrics' table, in the form of the goal that tells it, if one does."""
    number, unit = form_of(name) == Form.NUMBER, value["unit"]
    fraction = unit == "fraction"

    def shown(value: float | None) -> str:
        return written(value, Form.NUMBER) if number else amount(value, unit)

    scale = (("chance", "chance"), ("best", "best"), ("best_low", "best at least"))
    parts = [f"{words} {shown(value[key])}" for key, words in scale if value.get(key) is not None]
    parts += [f"{key} {one:.4g}" for key, one in (value.get("detail") or {}).items()]
    return {
        "name": name,
        "value": shown(value["value"]),
        "interval": reach(value, Form.NUMBER) if number else span(value) if fraction else between(value),
        "guess": shown(value["baseline"]) if value.get("baseline") is not None else "",
        "random": shown(value["random_guess"]) if value.get("random_guess") is not None else "",
        "n": value["n"],
        "left_out": value.get("left_out", 0),
        "method": value["method"],
        "better_for": value["better_for"],
        "detail": ", ".join(parts),
    }


def _measured(rounds: Sequence[Row]) -> list[dict[str, Any]]:
    """What hooks measured: of each, its mean over the rounds that have it, the first and the last."""
    found: dict[str, list[float]] = {}
    for entry in rounds:
        for name, value in (entry.get("measurements") or {}).items():
            found.setdefault(name, []).append(float(value))
    return [
        {
            "name": name,
            "rounds": len(values),
            "mean": f"{sum(values) / len(values):.4g}",
            "first": f"{values[0]:.4g}",
            "last": f"{values[-1]:.4g}",
        }
        for name, values in sorted(found.items())
    ]


def _compared(text: Row) -> dict[str, list[tuple[bool, str]]]:
    """Both texts in pieces, each with whether it differs; joined they are the texts again, or their beginnings."""
    ours, theirs = (shown_words(str(text[key] or "")) for key in ("original", "recovered"))
    if max(len(ours), len(theirs)) > MOST_WORDS:  # comparing takes quadratic time
        ours, theirs = ([*words[:MOST_WORDS], "…"] if len(words) > MOST_WORDS else words for words in (ours, theirs))
    one, other = ([word.rstrip() for word in words] for words in (ours, theirs))
    pieces: dict[str, list[tuple[bool, str]]] = {"original_pieces": [], "recovered_pieces": []}
    for tag, i, j, k, m in difflib.SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        for name, piece in (("original_pieces", "".join(ours[i:j])), ("recovered_pieces", "".join(theirs[k:m]))):
            word = piece.rstrip()  # what is marked ends with its last letter
            pieces[name] += [(tag != "equal", word), (False, piece[len(word) :])]
    return pieces
