"""What each rule comes to under its worst attack, in sentences: the same ones in the terminal and in the report."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import Any

from fedsec import registry
from fedsec.api import Tells
from fedsec.comparison.groups import span_of
from fedsec.comparison.ranks import Span, below, farthest, ranks
from fedsec.comparison.rows import NONE, correct, damage_in, guess_words, guesses, name_telling, words_for
from fedsec.report.findings import NOT_LEARNED, brief, undefined
from fedsec.report.numbers import percent, span
from fedsec.report.scorecard import by_setting

Row = Mapping[str, Any]


def worst_findings(entries: Sequence[Row]) -> list[str]:
    """What each rule comes to under its worst attack, and which do worse than the plain mean, from `worst_case`.

    Nothing is said of a ranking where only one defense has a worst case.
    """
    paragraphs = []
    for label, own in by_setting(entries).items():
        where = f" with {label}" if label else ""
        ranked = [entry for entry in own if is_ranked(entry)]
        if len(ranked) > 1:
            paragraphs.append(_by_what_is_left(ranked, where))
        plain = next((entry for entry in ranked if entry["defense"] == NONE), None)
        paragraphs += [
            _below_plain(entry, plain, where) for entry in ranked if plain and worse_than_plain(entry, plain)
        ]
        apart = [entry for entry in own if not is_ranked(entry)] if len(own) > 1 else []
        paragraphs += [f"Not ranked by the worst case{where}, {text}." for text in _apart(apart)]
        open_ones = [f"{entry['defense']} ({', '.join(entry['unknown'])})" for entry in own if entry["unknown"]]
        if open_ones:
            paragraphs.append(f"May be worse{where}, an attack having no result: {'; '.join(open_ones)}.")
    return paragraphs


def _by_what_is_left(entries: Sequence[Row], where: str) -> str:
    """The worst cases in the order of what is left, numbered where intervals separate."""
    left = f"by the {correct_words(entry['metrics'] for entry in entries)} left"
    lead = f"Worst case per rule{where}, {left} (in brackets 95\u00a0% intervals{_guessed(entries)})"
    spans = {number: _left_over(entry) for number, entry in enumerate(entries)}
    places = ranks(spans)
    in_order = sorted(places, key=lambda number: (places[number], _by_most_left(entries[number])))
    if max(places.values()) == 1:
        lines = ";\n".join(_worst(entries[number]) for number in in_order)
        ends = " from their neighbours" if farthest(spans) else ""
        return f"{lead}, most first, not told apart{ends}:\n{lines}."
    lines = ";\n".join(f"{places[number]}. {_worst(entries[number])}" for number in in_order)
    return f"{lead}, most first; neighbours with the same number are not told apart:\n{lines}."


def _left_over(entry: Row) -> Span:
    """The interval of what is left, most first."""
    found = span_of(correct(entry["metrics"]))
    return Span(-inf, inf) if found is None else Span(-found.high, -found.low)


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
    return sorted(entries, key=_by_most_left)


def _by_most_left(entry: Row) -> tuple[bool, float]:
    value = correct(entry["metrics"])
    return not is_ranked(entry), -float(value["value"]) if value else 1.0


def worse_than_plain(entry: Row, plain: Row) -> bool:
    """Whether a rule leaves less accuracy under its worst attack than the plain mean under its own, by the interval."""
    if entry["defense"] == NONE:
        return False
    if "below_plain" in entry:
        low = entry["below_plain"]["ci_low"]
        return low is not None and bool(low > 0)
    return below(_left_over(plain), _left_over(entry))


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
    apart = entry.get("below_plain")
    if apart is None:
        return f"{text}; no seed has both, so that there is no interval.{why}"
    return f"{text}: by {percent(apart['value'], '')} points (95\u00a0% interval {span(apart, '')}).{why}"


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
