"""A run as one HTML file that needs no network and no scripts.

Here is data for the templates beside this file, which hold markup and no decisions. Every text that reaches the page
goes through `visible` and then through jinja2's autoescape: names, reasons and recovered texts are hostile.
"""

import shlex
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from fedsec import registry
from fedsec.api import GoalCard, Tells
from fedsec.comparison.rows import BUDGET, NONE, RESULT, name_telling
from fedsec.report import plots
from fedsec.report.again import again
from fedsec.report.classes import about_classes
from fedsec.report.details import detail
from fedsec.report.expected import compared
from fedsec.report.findings import controls_first, findings
from fedsec.report.grid import grids, unadapted
from fedsec.report.guarantees import promises
from fedsec.report.numbers import NO_VALUE, percent
from fedsec.report.phase import phases
from fedsec.report.trouble import training_findings
from fedsec.report.visible import visible
from fedsec.report.worst import worst_tables
from fedsec.report.worst_findings import worst_findings

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
    known = dict.fromkeys(row["goal"] for row in rows if row.get("goal") in registry.goals())
    goals = [registry.goals().get(name) for name in known]
    page = {
        "record": defaultdict(str, {"packages": {}, **record}),
        "scenario": scorecard["scenario"],
        "key": scorecard["key"],
        "again": shlex.join(again(record)),
        "trouble": training_findings(rows),
        "findings": [*worst_findings(scorecard["worst_case"]), *findings(rows), *promises(rows)],
        "classes": about_classes(contents),
        "counts": ", ".join(f"{number} {status}" for status, number in statuses.items()),
        "missing": max(0, len(record.get("cells", ())) - len(contents)),
        "worst": worst_tables(rows, scorecard["worst_case"]),
        "grids": grids(rows),
        "legend": [{"number": i + 1, "name": name, **plots.style(i)} for i, name in enumerate(defenses)],
        "curves": plots.curves(contents, defenses),
        "reached": plots.reached(contents),
        "scatter": plots.scatter(rows, defenses),
        "phases": phases(rows, contents),
        "expected": compared(record.get("expected"), rows),
        "verified": bool((record.get("expected") or {}).get("verified")),
        "attacks": _attacks(contents),
        "defenses": _defenses(contents, rows),
        "glossary": [(card.name, card.summary) for card in registry.metrics() if card.name in measured],
        "cells": [detail(content, row) for content, row in zip(contents, scorecard["cells"], strict=True)],
        "flags": any(name_telling(row["metrics"], Tells.CAUGHT) for row in rows),
        "watched": any(row["attack"] != NONE and row["status"] in RESULT and not row.get("acts") for row in rows),
        "reads": any(card.texts for card in goals),
        "kept": any(content.get("texts") is not None for content in contents),
        "goals": goals,
        "few": _few(rows, goals),
        "blocked": "blocked" in statuses,
        "budget": BUDGET in statuses,
        "unadapted": any(unadapted(row) for row in rows),
        "seeds": max((row["seeds"] for row in rows), default=0),
    }
    return _template().render(page) + "\n"


@cache
def _template() -> Template:
    """The page's template, which takes longer to compile than to fill."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) else visible("" if value is None else str(value)),
    )
    environment.globals["no_value"] = NO_VALUE
    environment.filters["percent"] = percent
    environment.filters["drawn"] = Markup  # for figures alone: fedsec drew them, and no name is in them
    return environment.get_template("report.html.j2")


_ENOUGH = 100
"""Samples from which a caveat need not tell how few they are."""


def _few(rows: Sequence[Row], goals: Sequence[GoalCard]) -> list[dict[str, Any]]:
    """The goals whose headline rests on few samples, with the fewest of them."""
    found = []
    for card in goals:
        own = [row["metrics"] for row in rows if row.get("goal") == card.name]
        counts = [one[shown.metric]["n"] for one in own for shown in card.headline if shown.metric in one]
        if counts and min(counts) < _ENOUGH:
            found.append({"wants": card.wants, "n": min(counts), "unit": card.unit or "samples"})
    return found


def _attacks(contents: Sequence[Row]) -> list[dict[str, Any]]:
    """Every attack's card, with what this scenario gave it."""
    found: dict[str, dict[str, Any]] = {}
    for cell in (content["cell"] for content in contents):
        name = cell["attack"].partition("(")[0]
        if name != NONE:
            card = _card(registry.attacks(), name)
            goal = _card(registry.goals(), card["threat"]["goal"]) if card else None
            entry = found.setdefault(name, {"card": card, "goal": goal, "params": {}, "knowledge": {}})
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
