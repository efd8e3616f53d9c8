"""The findings of a scorecard in sentences: the same ones in the terminal and in the report."""

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import Any

from fedsec.api import Form, GoalCard, Shown, Tells
from fedsec.comparison.groups import span_of
from fedsec.comparison.harm import drawn
from fedsec.comparison.ranks import Span, below, farthest
from fedsec.comparison.rows import (
    BUDGET,
    NONE,
    correct,
    damage,
    damage_in,
    goal_of,
    guess_words,
    is_damage,
    name_telling,
    shown_beside,
    telling,
    words_for,
)
from fedsec.report.numbers import NO_VALUE, between, evidence, percent, reach, written
from fedsec.report.scorecard import settings_label
from fedsec.report.trouble import no_better

NOT_LEARNED = "the model did not learn without an attack either"
"""By the interval of its accuracy it is no better there than always the same answer."""

MOST_DEFENSES = 4
"""Whose results against one attack are told one by one; a table reads better from there on."""

Row = Mapping[str, Any]


def findings(rows: Sequence[Row]) -> list[str]:
    """The result in plain words, a paragraph per attack, from the summary's rows and nothing else.

    Of more than `MOST_DEFENSES` defenses with a result two are told that the intervals tell apart, or one if they tell
    none apart; what has no result is always told.
    """
    paragraphs = []
    for attack in controls_first(row["attack"] for row in rows):
        own = [row for row in rows if row["attack"] == attack]
        sentences: list[str] = []
        told, notes = _told(own)
        for defense in controls_first(row["defense"] for row in own):
            mine = [row for row in own if row["defense"] == defense]
            sentences += _finding("it" if sentences else attack, mine, tell=defense in told)
        paragraphs.append(" ".join([*sentences, *notes]))
    return paragraphs


def _told(rows: Sequence[Row]) -> tuple[set[str], list[str]]:
    """The defenses whose results against an attack are told, and sentences if others are left to the table."""
    fared: dict[str, tuple[float, Span]] = {}
    unknown: dict[str, str] = {}
    idle: dict[str, None] = {}  # controls that did not learn
    for row in rows:
        if row["status"] != "ok" or row["defense"] == NONE:
            continue
        ill, reason = _ill(row), undefined(row)
        if row["attack"] == NONE and row.get("learned") is False:
            idle[row["defense"]] = None
        elif ill is not None:
            fared[row["defense"]] = max((ill, _reach(row)), fared.get(row["defense"], (ill, _reach(row))))
        elif reason is not None:
            unknown[row["defense"]] = reason
    unknown = {defense: reason for defense, reason in unknown.items() if defense not in fared}
    fared = {defense: ill for defense, ill in fared.items() if defense not in idle}
    if len(fared) + len(unknown) + len(idle) <= MOST_DEFENSES:
        return {row["defense"] for row in rows}, []
    notes, told = [], {NONE}
    if fared:
        pair = farthest({name: reach for name, (_, reach) in fared.items()})
        told |= set(pair or list(fared)[:1])
        if pair:
            note = f"{pair[0]} fares better than {pair[1]}, by intervals that separate; the table has the others."
            notes.append(f"Of {len(fared)} defenses, {note}")
        else:
            notes.append(f"{len(fared)} defenses with a result are not told apart; the table has the others.")
    if unknown:
        reason = next(iter(unknown.values()))
        many = f"{_first(list(unknown))}, the harm is undefined"
        notes.append(f"Against {many}: {brief(reason).rstrip('.')}.")
    if idle:
        notes.append(f"With {_first(list(idle))}, the model is no better than a guess: it did not learn.")
    return told, notes


def _ill(row: Row) -> float | None:
    """How badly a row fared: by what is right in a control, else by its harm; None where that is not defined."""
    if row["attack"] == NONE:
        value = correct(row["metrics"])
        return None if value is None else -float(value["value"])
    harm = row.get("harm")
    return None if harm is None or harm["value"] is None else drawn(harm)


def _reach(row: Row) -> Span:
    """The interval of how badly a row fared; without one it reaches everywhere."""
    if row["attack"] == NONE:
        found = span_of(correct(row["metrics"]))
        return Span(-inf, inf) if found is None else Span(-found.high, -found.low)
    return span_of(row["harm"]) or Span(-inf, inf)


def undefined(row: Row) -> str | None:
    """Why a row's harm is undefined; None where it has one, and where there is no result to have one."""
    harm = row.get("harm")
    return None if harm is None or harm["value"] is not None else str(harm["reason"])


def _first(labels: Sequence[str]) -> str:
    """The first of those that share a place, and how many do."""
    return labels[0] if len(labels) == 1 else f"{labels[0]} and {len(labels) - 1} more"


def _finding(subject: str, rows: Sequence[Row], *, tell: bool = True) -> list[str]:
    """What an attack (or none) got against a defense, at worst over the settings; what has no result is told anyway."""
    control, defense = rows[0]["attack"] == NONE, rows[0]["defense"]
    lead = f"Against {defense}, {subject}" if defense != NONE else f"Undefended, {subject}"
    if control:
        lead = (
            f"With {defense} and no attack, the model" if defense != NONE else "Without an attack, the undefended model"
        )
    ran = [row for row in rows if row["status"] in ("ok", BUDGET)]
    sentences = _outcomes(lead, ran, rows) if ran and tell else []
    said = {
        BUDGET: "may get more with more time",
        "blocked": "is blocked",
        "n/a": "does not apply",
        "error": "has no result, an error stopped it",
    }
    for status, words in said.items():
        own = [row for row in rows if row["status"] == status]
        if own:
            share = f" in {partly(own[0])} seeds" if len(rows) == 1 and partly(own[0]) else ""
            share = f" in {len(own)} of {len(rows)} settings" if len(own) < len(rows) else share
            sentences.append(f"{lead} {words}{share}: {brief(own[0]['reason']).rstrip('.')}.")
    return sentences


def _outcomes(lead: str, ran: Sequence[Row], rows: Sequence[Row]) -> list[str]:
    """The most harm that came out, and where it is undefined; `ran` are those of `rows` with a result."""
    ills = [(ill, row) for row in ran if (ill := _ill(row)) is not None]
    worst = max(ills, key=lambda one: one[0])[1] if ills else ran[0]
    open_ones = [reason for row in ran if (reason := undefined(row))]
    same = len({_outcome(row) for row in rows if row["metrics"]}) <= 1
    where = f"; that is the {'lowest' if worst['attack'] == NONE else 'highest'} of {len(rows)} settings"
    where += f", {settings_label(worst['settings'])}"
    if any(row is not worst and not below(_reach(row), _reach(worst)) for _, row in ills):
        where += ", and not told apart from all others"
    if not ills and not same:
        where = f"; that is one of {len(rows)} settings, {settings_label(worst['settings'])}"
    text = f"{lead} {_outcome(worst)}{'' if same else where}"
    if not open_ones:
        return [f"{text}."]
    reason = brief(open_ones[0]).rstrip(".")
    if ills:
        return [f"{text}.", f"In {len(open_ones)} of {len(rows)} settings its harm is undefined: {reason}."]
    share = f" in {len(open_ones)} of {len(rows)} settings" if len(rows) > 1 else ""
    return [f"{text}; its harm is undefined{share}: {reason}."]


def _outcome(row: Row) -> str:
    """What came of a row: of its attack's goal first, then what an attack that acts left of the model."""
    metrics, card = row["metrics"], None if row["attack"] == NONE else goal_of(row)
    idle = row.get("learned") is False
    if row["attack"] == NONE:
        told = quality(metrics)
        guess = guess_words(name_telling(metrics, Tells.CORRECT) or "")
        same = f", {no_better(row)}" if no_better(row) else ""
        mark = f", and is no better than {guess}: it did not learn" if idle else ""
        return f"reaches {told}{since(metrics)}{same}{mark}" if told != NO_VALUE else f"has {NO_VALUE}"
    left = f"{_left(metrics)}{', which did not learn' if idle and damage_in(metrics) else ''}"
    if card is None or is_damage(card):
        return left
    return "; ".join([*pursued(card, metrics), *([f"it {left}"] if row.get("acts") else [])])


def pursued(card: GoalCard, metrics: Row) -> list[str]:
    """How far a goal got: its headline as one clause, then one for each metric beside it."""
    known = [(shown, metrics[shown.metric]) for shown in card.headline if shown.metric in metrics]
    if not known or known[0][1]["value"] is None:
        return [f"has {NO_VALUE} ({card.headline[0].axis})", *_beside(card, metrics)]
    clauses: list[str] = []
    for shown, value in known:
        if value["value"] is None:
            continue
        kind = "" if clauses else "95\u00a0% interval "
        clauses.append(f"{_told_by(shown, value)} ({kind}{_evidence(shown, value)})")
        if value["value"] >= value.get("best", 1.0):
            break  # nothing is left that the next could add
    return [", ".join(clauses), *_beside(card, metrics)]


def _beside(card: GoalCard, metrics: Row) -> list[str]:
    """A clause for each metric that is told beside a goal's headline."""
    others = []
    for shown in shown_beside(card):
        value = metrics.get(shown.metric)
        if value is not None and value["value"] is not None:
            subject = "" if shown.sentence.startswith("{value}") else "it "  # its value may be its subject
            about = _evidence(shown, value).removeprefix("none; ")  # a bound has no interval
            others.append(f"{subject}{_told_by(shown, value)}{'' if about == 'none' else f' ({about})'}")
    return others


def _told_by(shown: Shown, value: Row) -> str:
    """The card's sentence about this value."""
    text = written(value["value"], shown.form)
    if not value["value"] and value["value"] is not None and "{value} of" in shown.sentence:
        text = "none"
    return filled(shown.sentence, text, value)


def filled(text: str, value: str, metric: Row) -> str:
    """A card's text with the value and the number of samples in it."""
    return text.replace("{value}", value).replace("{n}", str(metric["n"]))


def _evidence(shown: Shown, value: Row) -> str:
    return evidence(value, shown.form, f"{shown.guess}:")


def _left(metrics: Row) -> str:
    """What an attack that acts left of the model: beside the same training without it where that is known."""
    told, lost = damage(), damage_in(metrics)
    name, right = name_telling(metrics, Tells.CORRECT), correct(metrics)
    if told is None or lost is None or lost["value"] is None:
        return f"leaves {quality(metrics)}"
    side = "below" if lost["value"] >= 0 else "above"
    known = lost["ci_low"] is not None and lost["ci_high"] is not None
    chance = ", so it may be chance" if lost["value"] and known and lost["ci_low"] <= 0 <= lost["ci_high"] else ""
    instead = telling(metrics, Tells.QUALITY) is not None
    of_what = f" of {words_for(name)}" if instead and name else ""
    points = f"{percent(abs(lost['value']), '')} points{of_what} {side} the same training without it"
    guess = f" ({guess_words(name)}: {percent(right['baseline'])})" if name and "baseline" in right else ""
    plain = right is None or name is None
    main = quality(metrics) if instead or plain else f"{percent(right['value'])} {words_for(str(name))}{guess}"
    return f"leaves {main}, {points} (95\u00a0% interval {reach(lost, told[1].form)}{chance})"


def quality(metrics: Row) -> str:
    """How good the model is, with its interval."""
    for kind in (Tells.QUALITY, Tells.CORRECT):
        name = name_telling(metrics, kind)
        if name is not None:
            value, words = metrics[name], words_for(name)
            if value["unit"] == "fraction":
                interval = evidence(value, Form.PERCENT, f"{guess_words(name)}:")
                return f"{percent(value['value'])} {words} (95\u00a0% interval {interval})"
            return f"a {words} of {value['value']:.4g} (95\u00a0% interval {between(value)})"
    return NO_VALUE


def since(metrics: Row) -> str:
    """What it was before training, and what the model writes, where that was asked for; else empty."""
    before, text = telling(metrics, Tells.BEFORE), ""
    if before is not None:
        text = f", from {before['value']:.4g} ({between(before)}) before training"
    name, texts = name_telling(metrics, Tells.WRITTEN), telling(metrics, Tells.WRITTEN)
    if name is None:
        return text
    told = evidence(texts, Form.PERCENT, f"{guess_words(name)}:")
    return f"{text}, and {percent(texts['value'])} {words_for(name)} ({told})"


def partly(row: Row) -> str:
    """`1 of 3`, where an error stopped some seeds and spared others; empty otherwise."""
    failed, seeds = row.get("failed", 0), row["seeds"]
    return f"{failed} of {failed + seeds}" if failed and seeds else ""


def brief(reason: Any) -> str:
    """As much of a reason as a sentence holds; its cell's details show it whole."""
    return str(reason) if len(str(reason)) <= 240 else f"{str(reason)[:240]} …"


def controls_first(labels: Iterable[str]) -> list[str]:
    """Distinct labels in their order, `none` before the others."""
    return sorted(dict.fromkeys(labels), key=lambda label: label != NONE)
