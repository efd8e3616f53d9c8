"""Each defense in a sentence, and how they rank: made of `head_to_head`, for the terminal and the report."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fedsec import registry
from fedsec.api import Form
from fedsec.comparison.groups import span_of
from fedsec.comparison.harm import within
from fedsec.comparison.ranks import Span, farthest
from fedsec.comparison.rows import NONE, words_for
from fedsec.report.findings import brief
from fedsec.report.numbers import percent, reach, span
from fedsec.report.scorecard import settings_label

Entry = Mapping[str, Any]
"""Of the scorecard's `head_to_head`."""


def defended(entries: Sequence[Entry]) -> list[str]:
    """A sentence for each defense, then a paragraph for each goal in which defenses rank, and one for all of them.

    Nothing is said of a single defense.
    """
    if len(entries) < 2:
        return []
    goals = list(entries[0]["goals"])
    told = [_sentence(entry) for entry in entries]
    for goal in goals:
        column = {name_of(entry): entry["goals"][goal] for entry in entries}
        told += _ranking(f"by the most harm that somebody does who wants {wants(goal)}", column)
    if len(goals) > 1:
        told += _ranking("by the most harm over all goals", {name_of(entry): entry for entry in entries}, apart=False)
    return told


def name_of(entry: Entry) -> str:
    """What a defense is called."""
    return "no defense" if entry["defense"] == NONE else str(entry["defense"])


def wants(goal: str) -> str:
    """What somebody with this goal wants."""
    return registry.goals().get(goal).wants if goal in registry.goals() else f"the goal {goal}"


def _sentence(entry: Entry) -> str:
    clauses = [_worst(entry), *_open(entry)]
    if entry["defense"] != NONE:
        clauses += [price(entry), promised(entry), *_adaptive(entry)]
    lead = "No defense" if entry["defense"] == NONE else entry["defense"]
    return f"{lead}: {'; '.join(clauses)}."


def _worst(entry: Entry) -> str:
    """Which attack did most harm, and which others the intervals do not tell from it."""
    worst = entry["worst"]
    if worst is None:
        reasons = [f"{goal}: {_state(one)}" for goal, one in entry["goals"].items()]
        return f"no attack on it has a figure ({'; '.join(reasons)})" if reasons else "nothing attacked it"
    harm, goal = worst["harm"], entry["goals"][worst["goal"]]
    told = within(harm)
    share = f"{percent(told['value'])} of the possible harm (95\u00a0% interval {span(told)})"
    label = settings_label(worst["settings"])
    where = f" with {label}" if label else ""
    aim = f", which wants {wants(worst['goal'])}," if len(entry["goals"]) > 1 else ""
    name = f"{worst['attack']}{where}{aim}"
    low, high = harm["ci_low"], harm["ci_high"]
    chance = ", not told apart from none" if low is not None and high is not None and low <= 0 <= high else ""
    alike = [*goal["alike"], *_near(entry)]
    count = sum(one["compared"] for one in entry["goals"].values())
    if alike:
        return f"{name} does {share}{chance}; it is not told apart from {_listed(alike)}"
    return f"of {count} attacks, {name} does most, {share}{chance}" if count > 1 else f"{name} does {share}{chance}"


def _near(entry: Entry) -> Iterator[str]:
    """The attacks of other goals whose harm the intervals do not tell from the largest."""
    worst = entry["worst"]
    own = span_of(worst["harm"])
    for goal, one in entry["goals"].items():
        if goal != worst["goal"]:
            most = one["at_most"].items()
            yield from (f"{name} ({goal})" for name, end in most if own is None or end is None or end >= own.low)


def _open(entry: Entry) -> Iterator[str]:
    """What has no result, so that the harm may be larger."""
    names = list(dict.fromkeys(name for one in entry["goals"].values() for name in one["unknown"]))
    if names and entry["worst"] is not None:
        yield f"it may be more, as {_listed(names)} {'has' if len(names) == 1 else 'have'} no whole result"


def _state(one: Mapping[str, Any]) -> str:
    """Why a goal has no figure."""
    told = one["reason"] if one["status"] in ("error", "undefined") else None
    return f"{one['status']}{f', {clause(told)}' if told else ''}"


def price(entry: Entry) -> str:
    """What a defense costs in accuracy, with the interval."""
    cost = entry["utility_cost"]
    if cost is None or cost["value"] is None:
        return f"its price is unknown: {cost['reason']}" if cost else "it costs nothing"
    where = f" in {cost['scenario']}" if cost["scenario"] else ""
    own = " with a model that did not learn" if entry["learned"] is False else ""
    words, interval = words_for(cost["metric"]), reach(cost, Form.POINTS)
    points = f"{percent(abs(cost['value']), '')} points of {words}"
    low, high = cost["ci_low"], cost["ci_high"]
    if low is None or high is None or low <= 0 <= high:
        verb = "costs" if cost["value"] >= 0 else "gains"
        return f"it {verb} {points}{where}{own} (95\u00a0% interval of the loss {interval}: not told apart from none)"
    verb = "costs" if low > 0 else "gains"
    return f"it {verb} {points}{where}{own} (95\u00a0% interval of the loss {interval})"


def promised(entry: Entry) -> str:
    """What is promised, in a clause."""
    found: dict[str, list[str]] = {}
    for one in entry["guarantees"]:
        amount, what = guarantee_words(one["guarantee"])
        found.setdefault(what, []).append(amount)
    words = [f"{_from_to(amounts)}{what}" for what, amounts in found.items()]
    return f"it promises {'; '.join(words)}" if words else "it promises nothing"


def guarantee_words(guarantee: Mapping[str, Any]) -> tuple[str, str]:
    """A guarantee as an amount and what it is of: `epsilon 8.00` and ` for each record`; or no amount and its kind."""
    if "epsilon" not in guarantee:
        return "", str(guarantee.get("kind") or "nothing")
    epsilon = guarantee["epsilon"]
    if not isinstance(epsilon, (int, float)):
        return "", "no privacy"
    return f"epsilon {epsilon:.2f}", f" for each {guarantee.get('unit')}"


def _from_to(amounts: Sequence[str]) -> str:
    """Amounts of the same in several scenarios: the smallest, and the largest if it is another."""
    ends = sorted(set(amounts), key=lambda text: float(text.rpartition(" ")[2] or 0))
    return ends[0] if len(ends) == 1 else f"{ends[0]} to {ends[-1].rpartition(' ')[2]}"


def _adaptive(entry: Entry) -> Iterator[str]:
    if entry["worst"] is not None:
        yield "it faced an attack that knows it" if entry["adaptive"] else "no attack that it faced knows it"


def _ranking(lead: str, column: Mapping[str, Mapping[str, Any]], *, apart: bool = True) -> Iterator[str]:
    """Who has which rank, and who has none."""
    places: dict[int, dict[str, Span]] = {}
    for name, one in sorted(column.items(), key=lambda item: item[1]["ranked_by"] or []):
        if one["rank"] is not None:
            places.setdefault(one["rank"], {})[name] = Span(*one["ranked_by"])
    if len(places) == 1:
        yield f"Nobody has a rank of their own {lead}: {shared(next(iter(places.values())))}."
    elif places:
        ranked = "; ".join(f"{rank}. {shared(spans)}" for rank, spans in sorted(places.items()))
        yield f"Ranked {lead}, least first: {ranked}."
    left = [(name, one) for name, one in column.items() if one["unranked"] and apart]
    if places or any(one["status"] not in ("missing", "n/a") for _, one in left):
        why: dict[str, list[str]] = {}
        for name, one in left:
            why.setdefault(_short(one), []).append(name)
        told = "; ".join(f"{_listed(names)} ({reason})" for reason, names in why.items())
        yield from [f"Not ranked {lead}: {told}."] if told else []


def _short(one: Mapping[str, Any]) -> str:
    """Why a goal ranks a defense not; what does not apply has its reason told with its scenario."""
    return "it does not apply" if one["status"] == "n/a" else clause(one["unranked"])


def clause(reason: str) -> str:
    """As much of a reason as a clause holds."""
    return brief(reason).rstrip(".")


def shared(spans: Mapping[str, Span]) -> str:
    """Those of one rank, least first, and whom intervals tell apart among them."""
    names, pair = list(spans), farthest(spans)
    if len(names) == 1:
        return names[0]
    ends = "" if pair is None else f" from their neighbours, though {pair[0]} has less than {pair[1]}"
    return f"{_listed(names)}, not told apart{ends}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
