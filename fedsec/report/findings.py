"""What a scorecard says, in plain words: the same sentences in the terminal and in the report."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fedsec import registry
from fedsec.report.scorecard import (
    ACCURACY,
    DROP,
    EXACT,
    EXTRACTED,
    NONE,
    PERPLEXITY,
    ROUGE,
    accuracy_of,
    harm,
    settings_label,
)

MOST_DEFENSES = 4
"""Whose results against one attack are told one by one; a table reads better from there on."""

Row = Mapping[str, Any]
_ROUNDING = 1e-12


def findings(rows: Sequence[Row]) -> list[str]:
    """The result in plain words, a paragraph per attack, from the summary's rows and nothing else.

    Of more than `MOST_DEFENSES` defenses with a result the one that fared best and the one that fared worst are told;
    what has no result is always told.
    """
    paragraphs = []
    for attack in controls_first(row["attack"] for row in rows):
        own = [row for row in rows if row["attack"] == attack]
        sentences: list[str] = []
        told, note = _told(own)
        for defense in controls_first(row["defense"] for row in own):
            mine = [row for row in own if row["defense"] == defense]
            sentences += _finding("it" if sentences else attack, mine, tell=defense in told)
        paragraphs.append(" ".join([*sentences, *note]))
    return paragraphs


def _told(rows: Sequence[Row]) -> tuple[set[str], list[str]]:
    """The defenses whose results against an attack are told, and a sentence if others are left to the table."""
    fared: dict[str, float] = {}
    for row in rows:
        if row["status"] == "ok" and row["defense"] != NONE and accuracy_of(row["metrics"]):
            trains = row["attack"] == NONE or DROP in row["metrics"]
            ill = -accuracy_of(row["metrics"])["value"] if trains else harm(row["metrics"])
            fared[row["defense"]] = max(ill, fared.get(row["defense"], ill))
    if len(fared) <= MOST_DEFENSES:
        return {row["defense"] for row in rows}, []
    best, worst = ([d for d in fared if fared[d] == edge] for edge in (min(fared.values()), max(fared.values())))
    if best == worst:
        return {NONE, best[0]}, [f"All {len(fared)} defenses with a result fare alike; the table has them."]
    verb = "fares" if len(best) == 1 else "fare"
    note = f"Of {len(fared)} defenses, {_first(best)} {verb} best and {_first(worst)} worst; the table has the others."
    return {NONE, best[0], worst[0]}, [note]


def _first(labels: Sequence[str]) -> str:
    """The first of those that share a place, and how many do."""
    return labels[0] if len(labels) == 1 else f"{labels[0]} and {len(labels) - 1} more"


def worst_findings(entries: Sequence[Row]) -> list[str]:
    """What each rule comes to under its worst attack, and which do worse than the plain mean, from `worst_case`.

    Nothing is said of a ranking where only one defense has a worst case.
    """
    paragraphs = []
    for label in dict.fromkeys(settings_label(entry["settings"]) for entry in entries):
        own = [entry for entry in entries if settings_label(entry["settings"]) == label]
        where = f" with {label}" if label else ""
        if len(own) > 1:
            ranked = ";\n".join(f"{place}. {_worst(one)}" for place, one in enumerate(by_worst_case(own), 1))
            lead = f"Worst case per rule{where}, by the accuracy left, best first (in brackets 95\u00a0% intervals)"
            paragraphs.append(f"{lead}:\n{ranked}.")
        plain = next((entry for entry in own if entry["defense"] == NONE), None)
        paragraphs += [_below_plain(entry, plain, where) for entry in own if plain and worse_than_plain(entry, plain)]
        open_ones = [f"{entry['defense']} ({', '.join(entry['unknown'])})" for entry in own if entry["unknown"]]
        if open_ones:
            paragraphs.append(f"May be worse{where}, an attack having no result: {'; '.join(open_ones)}.")
    return paragraphs


def by_worst_case(entries: Sequence[Row]) -> list[Row]:
    """Entries of `worst_case`, first the defense that leaves the most accuracy under its worst attack."""

    def left(entry: Row) -> float:
        accuracy = accuracy_of(entry["metrics"])
        return -float(accuracy["value"]) if accuracy else 1.0

    return sorted(entries, key=left)


def worse_than_plain(entry: Row, plain: Row) -> bool:
    """Whether a rule leaves less accuracy under its worst attack than the plain mean under its own."""
    if entry["defense"] == NONE:
        return False
    if "below_plain" in entry:
        return bool(entry["below_plain"]["value"] > 0)
    ours, theirs = (accuracy_of(one["metrics"]) for one in (entry, plain))
    return bool(ours and theirs and ours["value"] < theirs["value"])


def _worst(entry: Row) -> str:
    accuracy, drop = accuracy_of(entry["metrics"]), entry["metrics"][DROP]
    left = f"{percent(accuracy['value'])} [{span(accuracy, '')}] left, " if accuracy else ""
    name = "no defense" if entry["defense"] == NONE else entry["defense"]
    return f"{name}: {left}{percent(drop['value'], '')} points [{span(drop, '')}] lost to {entry['attack']}"


def _below_plain(entry: Row, plain: Row, where: str) -> str:
    """`krum does worse under its worst attack (X) than the plain mean under its own (Y)`, and by how much."""
    attacks = f"({entry['attack']}) than the plain mean under its own ({plain['attack']})"
    text = f"{entry['defense']} does worse under its worst attack {attacks}{where}"
    why = _why(entry, plain)
    below = entry.get("below_plain")
    if below is None:
        return f"{text}; no seed has both, so that there is no interval.{why}"
    chance = ", so it may be chance" if below["ci_low"] <= 0 else ""
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
    accuracy = accuracy_of(metrics)
    return None if not accuracy or DROP not in metrics else float(accuracy["value"] + metrics[DROP]["value"])


def _finding(subject: str, rows: Sequence[Row], *, tell: bool = True) -> list[str]:
    """What an attack (or none) got against a defense, at worst over the settings; what has no result is told anyway."""
    control, defense = rows[0]["attack"] == NONE, rows[0]["defense"]
    lead = f"Against {defense}, {subject}" if defense != NONE else f"Undefended, {subject}"
    if control:
        lead = (
            f"With {defense} and no attack, the model" if defense != NONE else "Without an attack, the undefended model"
        )
    ran = [row for row in rows if row["status"] == "ok" and accuracy_of(row["metrics"])]
    sentences = []
    if ran and tell:
        worst = max(ran, key=lambda r: -accuracy_of(r["metrics"])["value"] if control else harm(r["metrics"]))
        where = f"; that is the worst of {len(rows)} settings, {settings_label(worst['settings'])}"
        same = len({_outcome(row["metrics"]) for row in rows if row["metrics"]}) == 1
        sentences.append(f"{lead} {_outcome(worst['metrics'])}{'' if same else where}.")
    said = {"blocked": "is blocked", "n/a": "does not apply", "error": "has no result, an error stopped it"}
    for status, words in said.items():
        own = [row for row in rows if row["status"] == status]
        if own:
            share = f" in {partly(own[0])} seeds" if len(rows) == 1 and partly(own[0]) else ""
            share = f" in {len(own)} of {len(rows)} settings" if len(own) < len(rows) else share
            sentences.append(f"{lead} {words}{share}: {brief(own[0]['reason']).rstrip('.')}.")
    return sentences


def _outcome(metrics: Row) -> str:
    if EXACT in metrics:
        exact, overlap = metrics[EXACT], metrics.get(ROUGE)
        share = percent(exact["value"]) if exact["value"] else "none"
        text = f"recovers {share} of {exact['n']} texts exactly (95\u00a0% interval {evidence(exact)})"
        if overlap and exact["value"] < 1:
            text += f", with a word overlap of {percent(overlap['value'])} ({evidence(overlap)})"
        return text
    if EXTRACTED in metrics:
        found = metrics[EXTRACTED]
        share = percent(found["value"]) if found["value"] else "none"
        what = f"{share} of {found['n']} training texts"
        return f"reads {what} out of the released model (95\u00a0% interval {span(found)})"
    drop, reached = metrics.get(DROP), quality(metrics)
    if not drop:
        return f"reaches {reached}"
    side = "below" if drop["value"] >= 0 else "above"
    known = drop["ci_low"] is not None and drop["ci_high"] is not None
    chance = ", so it may be chance" if drop["value"] and known and drop["ci_low"] <= 0 <= drop["ci_high"] else ""
    lost = f"{percent(abs(drop['value']), '')} points {side} the same training without it"
    of_what = "" if ACCURACY in metrics else " of next-token accuracy"
    lost = lost.replace(" points ", f" points{of_what} ")
    main = f"{percent(metrics[ACCURACY]['value'])} accuracy" if ACCURACY in metrics else reached
    return f"leaves {main}, {lost} (95\u00a0% interval {span(drop, '')}{chance})"


def quality(metrics: Row) -> str:
    """How good the model is, with its interval."""
    if PERPLEXITY in metrics:
        return f"a perplexity of {metrics[PERPLEXITY]['value']:.4g} (95\u00a0% interval {between(metrics[PERPLEXITY])})"
    accuracy = metrics[ACCURACY]
    return f"{percent(accuracy['value'])} accuracy (95\u00a0% interval {span(accuracy)})"


def partly(row: Row) -> str:
    """`1 of 3`, where an error stopped some seeds and spared others; empty otherwise."""
    failed, seeds = row.get("failed", 0), row["seeds"]
    return f"{failed} of {failed + seeds}" if failed and seeds else ""


def brief(reason: Any) -> str:
    """As much of a reason as a sentence holds; its cell's details show it whole."""
    return str(reason) if len(str(reason)) <= 240 else f"{str(reason)[:240]} …"


def evidence(value: Row, guess: str = "a blind guess:") -> str:
    """A rate's interval, and beside it what a guess without the update gets."""
    return span(value) + (f"; {guess} {percent(value['baseline'])}" if "baseline" in value else "")


def percent(fraction: float, unit: str = "\u00a0%") -> str:
    """`77.3 %`, for reading; rounding makes nothing of something as little as everything of almost everything."""
    fraction = 0.0 if abs(fraction) < _ROUNDING else fraction  # the mean of drops that cancel
    text = f"{100 * abs(fraction):.1f}".removesuffix(".0")
    if text == "0" and fraction:
        text = f"{100 * abs(fraction):.1g}"
    elif text == "100" and abs(fraction) < 1:
        text = "over 99.9"
    return f"{'−' if fraction < 0 else ''}{text}{unit}"  # noqa: RUF001


def span(value: Row, unit: str = "\u00a0%") -> str:
    """The 95 % interval of a fraction, `72 to 100 %`, or that there is none."""
    low, high = value["ci_low"], value["ci_high"]
    return "none" if low is None or high is None else f"{percent(low, '')} to {percent(high, unit)}"


def between(value: Row) -> str:
    """The 95 % interval of a number that is no fraction, `31.2 to 33.9`, or that there is none."""
    low, high = value["ci_low"], value["ci_high"]
    return "none" if low is None or high is None else f"{low:.4g} to {high:.4g}"


def controls_first(labels: Iterable[str]) -> list[str]:
    """Distinct labels in their order, `none` before the others."""
    return sorted(dict.fromkeys(labels), key=lambda label: label != NONE)
