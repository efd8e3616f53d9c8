"""A run as one HTML file that needs no network, and no scripts to be complete.

Here is data for the templates beside this file, which hold markup and no decisions. Every text that reaches the page
goes through `visible` and then through jinja2's autoescape: names, reasons and recovered texts are hostile. The page's
own script sorts and filters; a browser runs no other, since the page allows that one alone, by its hash.
"""

import base64
import hashlib
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
from fedsec.report.again import again
from fedsec.report.chart import style
from fedsec.report.classes import about_classes
from fedsec.report.curves import curves, reached
from fedsec.report.decide import side_by_side
from fedsec.report.defended import defended
from fedsec.report.details import details
from fedsec.report.expected import compared
from fedsec.report.findings import controls_first, findings
from fedsec.report.front import fronts_drawn
from fedsec.report.grid import grids, unadapted
from fedsec.report.guarantees import promises, refutations
from fedsec.report.members import member_findings
from fedsec.report.numbers import NO_VALUE, percent
from fedsec.report.parts import Part, parts_of
from fedsec.report.phase import phases
from fedsec.report.roc import rocs
from fedsec.report.texts import texts
from fedsec.report.trouble import training_findings
from fedsec.report.visible import visible
from fedsec.report.weights import heat_maps
from fedsec.report.worst_findings import worst_findings

Row = Mapping[str, Any]

_HERE = Path(__file__).parent


def render(record: Row, scorecard: Row, contents: Sequence[Row]) -> str:
    """The report of a run, of a scenario or of a suite.

    Args:
        record: record.json: the question, versions, hardware; of a suite its members as well.
        scorecard: scorecard.json.
        contents: the cell files in the order of its cells.
    """
    rows: Sequence[Row] = scorecard["summary"]
    parts = parts_of(record, scorecard, contents)
    statuses = Counter(content["cell"]["status"] for content in contents)
    known = dict.fromkeys(row["goal"] for row in rows if row.get("goal") in registry.goals())
    goals = [registry.goals().get(name) for name in known]
    entries: Sequence[Row] = scorecard["head_to_head"]
    told = defended(entries)  # a sentence for each defense, then how they rank
    page = {
        "record": defaultdict(str, {"packages": {}, **record}),
        "scenario": scorecard["scenario"],
        "key": scorecard["key"],
        "again": shlex.join(again(record)),
        "defended": told[: len(entries)],
        "ranked": told[len(entries) :],
        "side_by_side": side_by_side(entries),
        "counts": ", ".join(f"{number} {status}" for status, number in statuses.items()),
        "missing": sum(part.missing for part in parts),
        "members": member_findings(scorecard),
        "parts": [_part(record, part, place, len(parts)) for place, part in enumerate(parts, 1)],
        "attacks": _attacks(contents),
        "defenses": _defenses(contents, rows),
        "glossary": _glossary(rows),
        "flags": any(name_telling(row["metrics"], Tells.CAUGHT) for row in rows),
        "reads": any(card.texts for card in goals),
        "kept": any(content.get("texts") is not None for content in contents),
        "goals": goals,
        "few": _few(rows, goals),
        "blocked": "blocked" in statuses,
        "budget": BUDGET in statuses,
        "unadapted": any(unadapted(row) for row in rows),
        "seeds": max((row["seeds"] for row in rows), default=0),
        "script": _script(),
        "script_hash": _script_hash(),
    }
    return _template().render(page) + "\n"


def _part(record: Row, part: Part, place: int, of: int) -> dict[str, Any]:
    """What the templates show of one scenario."""
    defenses = controls_first(row["defense"] for row in part.rows)
    suite = of > 1 or bool(record.get("members"))
    return {
        "name": part.name,
        "summary": part.summary,
        "id": f"-{place}" if suite else "",
        "place": f"part {place}, " if suite else "",
        "suite": suite,
        "level": "h3" if suite else "h2",
        "below": "h4" if suite else "h3",
        "missing": part.missing,
        "settled": [f"{cell['status']}: {cell['reason']}" for cell in part.cells if cell["status"] not in RESULT],
        "results": any(cell["status"] in RESULT for cell in part.cells),
        "seeds": max((row["seeds"] for row in part.rows), default=0),
        "watched": any(row["attack"] != NONE and row["status"] in RESULT and not row.get("acts") for row in part.rows),
        "refuted": refutations(part.rows),
        "trouble": training_findings(part.rows),
        "findings": [*worst_findings(part.worst_case), *findings(part.rows), *promises(part.rows)],
        "classes": about_classes(part.contents),
        "grids": grids(part.rows, part.worst_case),
        "legend": [{"number": i + 1, "name": name, **style(i)} for i, name in enumerate(defenses)],
        "curves": curves(part.contents, defenses),
        "reached": reached(part.contents),
        "fronts": fronts_drawn(part.fronts, defenses),
        "rocs": rocs(part.rows, part.contents),
        "weights": heat_maps(part.contents),
        "phases": phases(part.rows, part.contents),
        "expected": [] if suite else compared(record.get("expected"), part.rows),
        "verified": bool((record.get("expected") or {}).get("verified")),
        "cells": details(record, part.cells, part.contents),
        "texts": texts(part.contents),
    }


@cache
def _template() -> Template:
    """The page's template, which takes longer to compile than to fill."""
    environment = Environment(
        loader=FileSystemLoader(_HERE),
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


@cache
def _script() -> Markup:
    """The page's script as it stands between its tags."""
    return Markup((_HERE / "script.js").read_text(encoding="utf-8"))  # noqa: S704  (a file of fedsec's own)


@cache
def _script_hash() -> str:
    """What the page's policy calls it by."""
    return f"sha256-{base64.b64encode(hashlib.sha256(_script().encode()).digest()).decode()}"


def _glossary(rows: Sequence[Row]) -> list[dict[str, str]]:
    """What each measured figure means, for whom more is better, and what its intervals are by."""
    found: dict[str, dict[str, None]] = {}
    better: dict[str, str] = {}
    for row in rows:
        for name, value in row["metrics"].items():
            found.setdefault(name, {}).setdefault(str(value["method"]))
            better.setdefault(name, str(value["better_for"]))
    known = {card.name: card.summary for card in registry.metrics()}
    return [
        {"name": name, "meaning": known.get(name, ""), "better": better[name], "methods": ", ".join(methods)}
        for name, methods in sorted(found.items())
    ]


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
