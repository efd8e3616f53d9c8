"""The findings of a scorecard in sentences: the same ones in the terminal and in the report."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from fedsec import registry
from fedsec.api import Form, GoalCard, Shown, Tells
from fedsec.comparison.harm import drawn
from fedsec.comparison.rows import (
    BUDGET,
    NONE,
    correct,
    damage,
    damage_in,
    goal_of,
    guess_words,
    guesses,
    is_damage,
    name_telling,
    shown_beside,
    telling,
    words_for,
)
from fedsec.report.numbers import NO_VALUE, between, evidence, percent, reach, span, written
from fedsec.report.scorecard import by_setting, settings_label
from fedsec.report.trouble import no_better

NOT_LEARNED = "the model did not learn without an attack either"
"""By the interval of its accuracy it is no better there than always the same answer."""

MOST_DEFENSES = 4
"""Whose results against one attack are told one by one; a table reads better from there on."""

Row = Mapping[str, Any]


def findings(rows: Sequence[Row]) -> list[str]:
    """The result in plain words, a paragraph per attack, from the summary's rows and nothing else.

    Of more than `MOST_DEFENSES` defenses with a result the one that fared best and the one that fared worst are told;
    what has no result is always told.
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
    fared: dict[str, float] = {}
    unknown: dict[str, str] = {}
    idle: dict[str, None] = {}  # controls that did not learn
    for row in rows:
        if row["status"] != "ok" or row["defense"] == NONE:
            continue
        ill, reason = _ill(row), undefined(row)
        if row["attack"] == NONE and row.get("learned") is False:
            idle[row["defense"]] = None
        elif ill is not None:
            fared[row["defense"]] = max(ill, fared.get(row["defense"], ill))
        elif reason is not None:
            unknown[row["defense"]] = reason
    unknown = {defense: reason for defense, reason in unknown.items() if defense not in fared}
    fared = {defense: ill for defense, ill in fared.items() if defense not in idle}
    if len(fared) + len(unknown) + len(idle) <= MOST_DEFENSES:
        return {row["defense"] for row in rows}, []
    notes, told = [], {NONE}
    if fared:
        best, worst = ([d for d in fared if fared[d] == edge] for edge in (min(fared.values()), max(fared.values())))
        told |= {best[0], worst[0]}
        verb = "fares" if len(best) == 1 else "fare"
        note = f"{_first(best)} {verb} best and {_first(worst)} worst; the table has the others."
        alike = f"All {len(fared)} defenses with a result fare alike; the table has them."
        notes.append(alike if best == worst else f"Of {len(fared)} defenses, {note}")
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


def undefined(row: Row) -> str | None:
    """Why a row's harm is undefined; None where it has one, and where there is no result to have one."""
    harm = row.get("harm")
    return None if harm is None or harm["value"] is not None else str(harm["reason"])


def _first(labels: Sequence[str]) -> str:
    """The first of those that share a place, and how many do."""
    return labels[0] if len(labels) == 1 else f"{labels[0]} and {len(labels) - 1} more"


def worst_findings(entries: Sequence[Row]) -> list[str]:
    """What each rule comes to under its worst attack, and which do worse than the plain mean, from `worst_case`.

    Nothing is said of a ranking where only one defense has a worst case.
    """
    paragraphs = []
    for label, own in by_setting(entries).items():
        where = f" with {label}" if label else ""
        ranks = [entry for entry in own if is_ranked(entry)]
        if len(ranks) > 1:
            ranked = ";\n".join(f"{place}. {_worst(one)}" for place, one in enumerate(by_worst_case(ranks), 1))
            left = f"by the {correct_words(entry['metrics'] for entry in ranks)} left"
            lead = f"Worst case per rule{where}, {left}, best first (in brackets 95\u00a0% intervals{_guessed(ranks)})"
            paragraphs.append(f"{lead}:\n{ranked}.")
        plain = next((entry for entry in ranks if entry["defense"] == NONE), None)
        paragraphs += [_below_plain(entry, plain, where) for entry in ranks if plain and worse_than_plain(entry, plain)]
        apart = [entry for entry in own if not is_ranked(entry)] if len(own) > 1 else []
        paragraphs += [f"Not ranked by the worst case{where}, {text}." for text in _apart(apart)]
        open_ones = [f"{entry['defense']} ({', '.join(entry['unknown'])})" for entry in own if entry["unknown"]]
        if open_ones:
            paragraphs.append(f"May be worse{where}, an attack having no result: {'; '.join(open_ones)}.")
    return paragraphs


def _guessed(rows: Sequence[Row]) -> str:
    """What always the same answer gets, as far as it is the same in all rows."""
    name = name_telling(rows[0]["metrics"], Tells.CORRECT)
    found = guesses(rows, name) if name else ()
    return f"; {guess_words(name)}: {percent(found[0])}" if name and len(found) == 1 else ""


def correct_words(metrics: Iterable[Row]) -> str:
    """What the share of what is right is called in these rows."""
    names = dict.fromkeys(name for one in metrics if (name := name_telling(one, Tells.CORRECT)))
    return " or ".join(dict.fromkeys(map(words_for, names))) or "accuracy"


def is_ranked(entry: Row) -> bool:
    """Whether an entry of `worst_case` has a place among the others: a harm, and a control that learned."""
    return unranked(entry) is None


def unranked(entry: Row) -> str | None:
    """Why an entry of `worst_case` has no place among the others; None where it has one."""
    reason = undefined(entry)
    if reason is not None:
        return f"harm undefined: {brief(reason).rstrip('.')}"
    return NOT_LEARNED if entry.get("learned") is False else None


def _apart(entries: Sequence[Row]) -> Iterator[str]:
    """Those that are not ranked, by why."""
    for harmless in (True, False):
        own = [entry for entry in entries if (undefined(entry) is not None) == harmless]
        names = ", ".join("no defense" if entry["defense"] == NONE else entry["defense"] for entry in own)
        if own and harmless:
            yield f"the harm being undefined: {names} ({brief(own[0]['harm']['reason']).rstrip('.')})"
        elif own:
            yield f"as {NOT_LEARNED}: {names}"


def by_worst_case(entries: Sequence[Row]) -> list[Row]:
    """Entries of `worst_case`, first the defense that leaves the most accuracy; last those that are not ranked."""

    def left(entry: Row) -> tuple[bool, float]:
        value = correct(entry["metrics"])
        return not is_ranked(entry), -float(value["value"]) if value else 1.0

    return sorted(entries, key=left)


def worse_than_plain(entry: Row, plain: Row) -> bool:
    """Whether a rule leaves less accuracy under its worst attack than the plain mean under its own."""
    if entry["defense"] == NONE:
        return False
    if "below_plain" in entry:
        return bool((entry["below_plain"]["value"] or 0.0) > 0)
    ours, theirs = (correct(one["metrics"]) for one in (entry, plain))
    return bool(ours and theirs and ours["value"] < theirs["value"])


def _worst(entry: Row) -> str:
    right, lost = correct(entry["metrics"]), damage_in(entry["metrics"])
    left = f"{percent(right['value'])} [{span(right, '')}] left, " if right else ""
    name = "no defense" if entry["defense"] == NONE else entry["defense"]
    return f"{name}: {left}{percent(lost['value'], '')} points [{span(lost, '')}] lost to {entry['attack']}"


def _below_plain(entry: Row, plain: Row, where: str) -> str:
    """`krum does worse under its worst attack (X) than the plain mean under its own (Y)`, and by how much."""
    attacks = f"({entry['attack']}) than the plain mean under its own ({plain['attack']})"
    text = f"{entry['defense']} does worse under its worst attack {attacks}{where}"
    why = _why(entry, plain)
    below = entry.get("below_plain")
    if below is None:
        return f"{text}; no seed has both, so that there is no interval.{why}"
    chance = ", so it may be chance" if below["ci_low"] is not None and below["ci_low"] <= 0 else ""
    return f"{text}: by {percent(below['value'], '')} points (95\u00a0% interval {span(below, '')}{chance}).{why}"


def _why(entry: Row, plain: Row) -> str:
    """How much of it the rule costs without an attack, and what its card knows of that."""
    before = [_before(one["metrics"]) for one in (entry, plain)]
    text = ""
    if before[0] is not None and before[1] is not None:
        gap = before[1] - before[0]
        share = f"{percent(gap, '')} points are what the rule itself costs." if gap > 0 else "The attack does it all."
        text = f" Without an attack it has {percent(before[0])}, the mean {percent(before[1])}. {share}"
    names = [part.partition("(")[0] for part in entry["defense"].split("+")]
    limits = [limit for name in names if name in registry.defenses() for limit in registry.defenses().get(name).limits]
    return f"{text} Known limits: {' '.join(limits)}" if limits else text


def _before(metrics: Row) -> float | None:
    """The accuracy without the attack."""
    right, lost = correct(metrics), damage_in(metrics)
    known = right is not None and lost is not None and lost["value"] is not None
    return float(right["value"] + lost["value"]) if known else None


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
    """The worst of what came out, and where its harm is undefined; `ran` are those of `rows` with a result."""
    ills = [(ill, row) for row in ran if (ill := _ill(row)) is not None]
    worst = max(ills, key=lambda one: one[0])[1] if ills else ran[0]
    open_ones = [reason for row in ran if (reason := undefined(row))]
    same = len({_outcome(row) for row in rows if row["metrics"]}) <= 1
    where = f"; that is the worst of {len(rows)} settings, {settings_label(worst['settings'])}"
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
    return "; ".join([*_pursued(card, metrics), *([f"it {left}"] if row.get("acts") else [])])


def _pursued(card: GoalCard, metrics: Row) -> list[str]:
    """How far a goal got: its headline as one clause, then one for each metric beside it."""
    known = [(shown, metrics[shown.metric]) for shown in card.headline if shown.metric in metrics]
    if not known or known[0][1]["value"] is None:
        return [f"has {NO_VALUE} ({card.headline[0].axis})"]
    clauses: list[str] = []
    for shown, value in known:
        if value["value"] is None:
            continue
        kind = "" if clauses else "95\u00a0% interval "
        clauses.append(f"{_told_by(shown, value)} ({kind}{_evidence(shown, value)})")
        if value["value"] >= value.get("best", 1.0):
            break  # nothing is left that the next could add
    others = []
    for shown in shown_beside(card):
        value = metrics.get(shown.metric)
        if value is not None and value["value"] is not None:
            subject = "" if shown.sentence.startswith("{value}") else "it "  # its value may be its subject
            others.append(f"{subject}{_told_by(shown, value)} ({_evidence(shown, value)})")
    return [", ".join(clauses), *others]


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
