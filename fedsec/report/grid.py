"""The matrix: defenses as rows, attacks as columns, the worst attack last; squares are shaded by their harm."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedsec.api import Asks, Form, GoalCard, Shown, Tells
from fedsec.comparison.harm import drawn
from fedsec.comparison.rows import (
    BUDGET,
    NONE,
    RESULT,
    damage,
    damage_in,
    goal_of,
    is_damage,
    name_telling,
    refuted,
    shown_beside,
    telling,
    words_for,
)
from fedsec.report.findings import brief, controls_first, filled, partly, undefined
from fedsec.report.numbers import NO_VALUE, between, evidence, percent, reach, written
from fedsec.report.scorecard import by_setting
from fedsec.report.trouble import short
from fedsec.report.worst import shade, worst_square

Row = Mapping[str, Any]


def grids(rows: Sequence[Row], worst_case: Sequence[Row] = ()) -> list[dict[str, Any]]:
    """The tables, one per varied setting, controls first.

    Args:
        rows: the scorecard's summary.
        worst_case: the scorecard's.
    """
    tables = []
    damages = by_setting(worst_case)
    for label, own in by_setting(rows).items():
        at = {(row["attack"], row["defense"]): row for row in own}
        defenses = controls_first(row["defense"] for row in own)
        attacks = controls_first(row["attack"] for row in own)
        entries = damages.get(label, [])
        lines = [
            {
                "defense": defense,
                "squares": [_square(at.get((attack, defense))) for attack in attacks],
                "worst": worst_square([at[a, defense] for a in attacks if (a, defense) in at], attacks, entries),
            }
            for defense in defenses
        ]
        heads = [_head(attack, [row for row in own if row["attack"] == attack]) for attack in attacks]
        tables.append({"label": label, "attacks": heads, "defenses": defenses, "lines": lines})
    return tables


def _head(attack: str, rows: Sequence[Row]) -> dict[str, str]:
    """The head of a column: the attack, and what its adversary wants."""
    card = None if attack == NONE else goal_of(rows[0])
    return {"attack": attack, "wants": "" if card is None else card.wants}


def unadapted(row: Row) -> bool:
    """Whether an attack met this defense without knowing it."""
    return NONE not in (row["attack"], row["defense"]) and row["status"] in RESULT and not row["adaptive"]


def _square(row: Row | None) -> dict[str, Any]:
    """A square of the table: its look, its main number, lines below that and which of these head others."""
    square: dict[str, Any] = {"main": "", "lines": [], "heads": (), "undefined": None, "unadapted": False, "idle": ""}
    square |= {"sort": _place(row), "worst": False}
    if row is None:
        return {**square, "look": "missing", "main": "no result"}
    if row["status"] not in RESULT:
        look = "error" if row["status"] == "error" else "na"
        share = [f"in {part} seeds"] if (part := partly(row)) else []
        return {**square, "look": look, "main": row["status"], "lines": [*share, brief(row["reason"])]}
    square["unadapted"] = unadapted(row)
    if row.get("learned") is False and (row["attack"] == NONE or row.get("acts")):
        whose = "no better than a guess:" if row["attack"] == NONE else "its control"
        square["idle"] = f"{whose} did not learn"
    card = None if row["attack"] == NONE else goal_of(row)
    main, pairs = _contents(row, card)
    if row["status"] == "blocked":
        left = []
        if card is not None and card.asks != Asks.NEVER and main != NO_VALUE:
            what, *about = pairs[0]
            left = [f"what is left is a guess: {', '.join([f'{main} {what}', *about]).partition(';')[0]}"]
        return {**square, "look": "blocked", "main": "blocked", "lines": [brief(row["reason"]), *left]}
    lines = [line for pair in pairs for line in pair]
    places = [sum(map(len, pairs[:place])) for place in range(1, len(pairs))]
    if reason := undefined(row):
        square["undefined"] = brief(reason)
    if row["status"] == BUDGET:
        lines.append(f"time over, it may get more: {brief(row['reason'])}")
    look = ("undefined" if row.get("untrained") else "control") if row["attack"] == NONE else shade(row.get("harm"))
    if refuted(row):
        look, lines = "refuted", ["the guarantee is refuted", *lines]
        places = [place + 1 for place in places]
    lines = [*lines, *_detected(row["metrics"]), *short(row)]
    return {**square, "look": look, "main": main, "lines": lines, "heads": places}


def _place(row: Row | None) -> float | None:
    """By what a column is sorted: its harm, or what is right in a control; None without either."""
    if row is None or row["status"] not in RESULT:
        return None
    if row["attack"] == NONE:
        value = telling(row["metrics"], Tells.CORRECT)
        return None if value is None else round(float(value["value"]), 4)
    harm = row.get("harm")
    return None if harm is None or harm["value"] is None else round(drawn(harm), 4)


def _contents(row: Row, card: GoalCard | None) -> tuple[str, list[tuple[str, ...]]]:
    """The main number, and what stands below it: each figure in words, with its interval."""
    metrics = row["metrics"]
    if card is None or is_damage(card):
        main, pairs = _quality(metrics)
        return main, [*pairs, *_lost(metrics)]
    main, pairs = _pursued(card, metrics)
    if row.get("acts"):
        worth, about = _quality(metrics)
        pairs += [(f"{worth} {what.partition(', n =')[0]} left", *interval) for what, *interval in about]
        pairs += _lost(metrics)
    return main, pairs


def _pursued(card: GoalCard, metrics: Row) -> tuple[str, list[tuple[str, ...]]]:
    """How far a goal got: the first headline as the main number, then what is told beside it."""
    known = [(one, metrics[one.metric]) for one in (*card.headline, *shown_beside(card)) if one.metric in metrics]
    lacks = not known or known[0][1]["value"] is None
    if lacks and all(value["value"] is None for _, value in known):
        return NO_VALUE, [(card.headline[0].axis,)]
    pairs: list[tuple[str, ...]] = [(card.headline[0].axis,)] if lacks else []
    for shown, value in known[1 if lacks else 0 :]:
        text = written(value["value"], shown.form)
        what = filled(shown.square, text, value)
        if pairs and "{value}" not in shown.square:
            what = f"{text} {what}"
        pairs.append((f"{shown.axis}: {NO_VALUE}",) if value["value"] is None else (what, _interval(shown, value)))
    return written(known[0][1]["value"], known[0][0].form), pairs


def _interval(shown: Shown, value: Row) -> str:
    guess = shown.guess.removeprefix("a blind ")  # a square has little room, and the legend says it
    about = evidence(value, shown.form, guess)
    return about.removeprefix("none; ") if about.startswith("none; ") else f"interval {about}"


def _quality(metrics: Row) -> tuple[str, list[tuple[str, ...]]]:
    """What the model is worth: the quality in its task's own unit, or the share of what is right."""
    name = name_telling(metrics, Tells.QUALITY) or name_telling(metrics, Tells.CORRECT)
    if name is None:
        return NO_VALUE, []
    value = metrics[name]
    plain = value["unit"] == "fraction"
    interval = f"interval {evidence(value, Form.PERCENT, 'guess') if plain else between(value)}"
    main = percent(value["value"]) if plain else f"{value['value']:.4g}"
    return main, [(f"{words_for(name)}, n = {value['n']}", interval)]


def _lost(metrics: Row) -> list[tuple[str, ...]]:
    """What acting cost."""
    told, value = damage(), damage_in(metrics)
    if told is None or value is None:
        return []
    name = name_telling(metrics, Tells.CORRECT)
    of_what = f" of {words_for(name)}" if name and name_telling(metrics, Tells.QUALITY) else ""
    if value["value"] is None:
        return [(f"lost: {NO_VALUE}",)]
    return [(f"lost: {percent(value['value'], '')} points{of_what}", f"interval {reach(value, told[1].form)}")]


def _detected(metrics: Row) -> list[str]:
    """How many malicious messages the rule's weights flagged, and how many flags were right."""
    lines = []
    for kind in (Tells.CAUGHT, Tells.FLAGS_RIGHT):
        name, value = name_telling(metrics, kind), telling(metrics, kind)
        if name is not None:
            chance = f" (chance: {percent(value['baseline'])})" if "baseline" in value else ""
            lines.append(f"{words_for(name)}: {percent(value['value'])}{chance}")
    return lines
