"""A run as one HTML file that needs no network and no scripts.

Here is data for the templates beside this file, which hold markup and no decisions. Every text that reaches the page
goes through `visible` and then through jinja2's autoescape: names, reasons and recovered texts are hostile.
"""

import difflib
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from fedsec import registry
from fedsec.report import plots
from fedsec.report.expected import compared
from fedsec.report.findings import (
    between,
    brief,
    controls_first,
    evidence,
    findings,
    partly,
    percent,
    span,
    worst_findings,
)
from fedsec.report.phase import phases
from fedsec.report.scorecard import (
    ACCURACY,
    DROP,
    EXACT,
    EXTRACTED,
    NONE,
    PERPLEXITY,
    PRECISION,
    RECALL,
    ROUGE,
    settings_label,
)
from fedsec.report.visible import visible
from fedsec.report.worst import shade, worst_tables

MOST_TEXTS, MOST_WORDS, MOST_EVENTS = 40, 600, 40

Row = Mapping[str, Any]


def render(record: Row, scorecard: Row, contents: Sequence[Row]) -> str:
    """The report of a run.

    Args:
        record: record.json: the question, versions, hardware.
        scorecard: scorecard.json.
        contents: the cell files in the plan's order.
    """
    rows: Sequence[Row] = scorecard["summary"]
    defenses = controls_first(row["defense"] for row in rows)
    statuses = Counter(content["cell"]["status"] for content in contents)
    measured = {name for row in rows for name in row["metrics"]}
    page = {
        "record": defaultdict(str, {"packages": {}, **record}),
        "scenario": scorecard["scenario"],
        "key": scorecard["key"],
        "findings": [*worst_findings(scorecard["worst_case"]), *findings(rows)],
        "counts": ", ".join(f"{number} {status}" for status, number in statuses.items()),
        "missing": max(0, len(record.get("cells", ())) - len(contents)),
        "worst": worst_tables(rows, scorecard["worst_case"]),
        "grids": grids(rows),
        "legend": [{"number": i + 1, "name": name, **plots.style(i)} for i, name in enumerate(defenses)],
        "curves": plots.curves(contents, defenses),
        "scatter": plots.scatter(rows, defenses),
        "phases": phases(rows, contents),
        "expected": compared(record.get("expected"), rows),
        "verified": bool((record.get("expected") or {}).get("verified")),
        "attacks": _attacks(contents),
        "defenses": _defenses(contents, rows),
        "glossary": [(card.name, card.summary) for card in registry.metrics() if card.name in measured],
        "cells": [_cell(content, row) for content, row in zip(contents, scorecard["cells"], strict=True)],
        "flags": RECALL in measured,
        "reads": any(content["cell"]["position"] == "server" for content in contents),
        "kept": any(content.get("texts") is not None for content in contents),
        "blocked": "blocked" in statuses,
        "unadapted": any(_unadapted(row) for row in rows),
        "texts": min((r["metrics"][EXACT]["n"] for r in rows if EXACT in r["metrics"]), default=None),
        "seeds": max((row["seeds"] for row in rows), default=0),
    }
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) else visible("" if value is None else str(value)),
    )
    environment.filters.update(percent=percent, span=span, amount=amount)
    environment.filters["drawn"] = Markup  # for figures alone: fedsec drew them, and no name is in them
    return environment.get_template("report.html.j2").render(page) + "\n"


def amount(value: Row) -> str:
    """A metric's value with its unit."""
    number, unit = value["value"], value["unit"]
    if unit == "fraction":
        return percent(number)
    if unit != "bytes":
        return f"{number:.3g} {unit}"
    power = min(3, int(math.log(max(number, 1), 1000)))
    return f"{number / 1000**power:.4g} {('bytes', 'kB', 'MB', 'GB')[power]}"


def grids(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The attack-by-defense tables, one per varied setting, controls first."""
    tables = []
    for label in dict.fromkeys(settings_label(row["settings"]) for row in rows):
        own = [row for row in rows if settings_label(row["settings"]) == label]
        at = {(row["attack"], row["defense"]): row for row in own}
        defenses = controls_first(row["defense"] for row in own)
        attacks = controls_first(row["attack"] for row in own)
        lines = [(attack, [_square(at.get((attack, defense))) for defense in defenses]) for attack in attacks]
        tables.append({"label": label, "defenses": defenses, "lines": lines})
    return tables


def _square(row: Row | None) -> dict[str, Any]:
    """A square of the table: its look, its main number, and lines below that."""
    if row is None:
        return {"look": "missing", "main": "no result", "lines": [], "unadapted": False}
    if row["status"] in ("n/a", "error"):
        look = "error" if row["status"] == "error" else "na"
        share = [f"in {part} seeds"] if (part := partly(row)) else []
        return {"look": look, "main": row["status"], "lines": [*share, brief(row["reason"])], "unadapted": False}
    metrics, main = row["metrics"], ""
    exact, overlap, accuracy, drop = (metrics.get(name) for name in (EXACT, ROUGE, ACCURACY, DROP))
    lines: list[str] = []
    if exact:
        main = percent(exact["value"])
        lines = [f"of {exact['n']} texts read exactly", f"interval {evidence(exact, 'guess')}"]
        if overlap:
            lines += [f"word overlap {percent(overlap['value'])}", f"interval {evidence(overlap, 'guess')}"]
    elif accuracy:
        main = percent(accuracy["value"])
        lines = [f"accuracy, n = {accuracy['n']}", f"interval {span(accuracy)}"]
        lines += [f"lost: {percent(drop['value'], '')} points", f"interval {span(drop, '')}"] if drop else []
    elif PERPLEXITY in metrics:
        value = metrics[PERPLEXITY]
        main = f"{value['value']:.4g}"
        lines = [f"perplexity, n = {value['n']} texts", f"interval {between(value)}"]
        lines += [f"lost: {percent(drop['value'], '')} points of tokens", f"interval {span(drop, '')}"] if drop else []
    if EXTRACTED in metrics:
        value = metrics[EXTRACTED]
        main, lines = percent(value["value"]), [f"of {value['n']} training texts extracted", f"interval {span(value)}"]
    lines += _detected(metrics)
    look = "control" if row["attack"] == NONE else shade(metrics)
    if row["status"] == "blocked":
        left = [f"what is left is a guess: {main} {lines[0]}, {lines[1].partition(';')[0]}"] if exact else []
        look, main, lines = "blocked", "blocked", [brief(row["reason"]), *left]
    return {"look": look, "main": main, "lines": lines, "unadapted": _unadapted(row)}


def _detected(metrics: Row) -> list[str]:
    """How many malicious messages the rule's weights flagged, and how many flags were right."""
    lines = []
    for name, what in ((RECALL, "malicious flagged"), (PRECISION, "flags right")):
        if value := metrics.get(name):
            chance = f" (chance: {percent(value['baseline'])})" if "baseline" in value else ""
            lines.append(f"{what}: {percent(value['value'])}{chance}")
    return lines


def _unadapted(row: Row) -> bool:
    """A defense that this attack met without knowing it."""
    return NONE not in (row["attack"], row["defense"]) and row["status"] in ("ok", "blocked") and not row["adaptive"]


def _attacks(contents: Sequence[Row]) -> list[dict[str, Any]]:
    """Every attack's card, with what this scenario gave it."""
    found: dict[str, dict[str, Any]] = {}
    for cell in (content["cell"] for content in contents):
        name = cell["attack"].partition("(")[0]
        if name != NONE:
            entry = found.setdefault(name, {"card": _card(registry.attacks(), name), "params": {}, "knowledge": {}})
            entry["params"][cell["attack"]] = cell["attack_params"]
            entry["knowledge"][", ".join(cell["knowledge"]) or "nothing"] = None
    return [{"name": name, **entry} for name, entry in found.items()]


def _defenses(contents: Sequence[Row], rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Every defense's card: what is proven, and apart from it what was measured with it in the stack."""
    found: dict[str, dict[str, Any]] = {}
    for cell in (content["cell"] for content in contents):
        for part in cell["defense_stack"]:
            entry = found.setdefault(part["name"], {"card": _card(registry.defenses(), part["name"]), "params": {}})
            entry["params"][cell["defense"]] = part["params"]
    return [
        {"name": name, **entry, "measured": findings([row for row in rows if row["defense"] in entry["params"]])}
        for name, entry in found.items()
    ]


def _card(cards: registry.Registry[Any], name: str) -> dict[str, Any] | None:
    """None for a plug-in that is not installed where the report is made."""
    return cards.get(name).describe() if name in cards else None


def _cell(content: Row, row: Row) -> dict[str, Any]:
    """Everything about one cell; `row` is its scorecard row, which has the drop as well."""
    attack = "no attack, " if row["attack"] == NONE else f"{row['attack']} against "
    defense = "no defense" if row["defense"] == NONE else row["defense"]
    texts, events = content.get("texts") or [], []
    for entry in content.get("rounds") or ():
        events += [f"round {entry['round']}, client {r['client']} dropped: {r['reason']}" for r in entry["rejected"]]
        events += [f"round {entry['round']} left the model as it was: {entry['skipped']}"] if entry["skipped"] else []
    return {
        "row": row,
        "title": f"{attack}{defense}, seed {row['seed']}",
        "settings": settings_label(row["settings"]),
        "params": [(part["name"], part["params"]) for part in row["defense_stack"]],
        "malicious": content.get("malicious") or [],
        "events": events[:MOST_EVENTS],
        "more_events": len(events[MOST_EVENTS:]),
        "trust": plots.trust(content),
        "texts": [{**text, **_compared(text)} for text in texts[:MOST_TEXTS]],
        "more_texts": len(texts[MOST_TEXTS:]),
    }


def _compared(text: Row) -> dict[str, list[tuple[bool, str]]]:
    """Both texts in pieces, each with whether it differs."""
    ours, theirs = (str(text[key] or "").split() for key in ("original", "recovered"))
    if max(len(ours), len(theirs)) > MOST_WORDS:  # comparing takes quadratic time
        ours, theirs = ([*words[:MOST_WORDS], "…"] if len(words) > MOST_WORDS else words for words in (ours, theirs))
    pieces: dict[str, list[tuple[bool, str]]] = {"original_pieces": [], "recovered_pieces": []}
    for tag, i, j, k, m in difflib.SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes():
        pieces["original_pieces"].append((tag != "equal", " ".join(ours[i:j])))
        pieces["recovered_pieces"].append((tag != "equal", " ".join(theirs[k:m])))
    return pieces
