"""Ranks that intervals allow: what they do not tell apart shares one."""

from collections.abc import Hashable, Mapping
from typing import NamedTuple, TypeVar

Name = TypeVar("Name", bound=Hashable)


class Span(NamedTuple):
    """Both ends of an interval."""

    low: float
    high: float


def below(one: Span, other: Span) -> bool:
    """Whether an interval lies wholly below another; those that touch are not told apart."""
    return one.high < other.low


def ranks(spans: Mapping[Name, Span]) -> dict[Name, int]:
    """The rank of each, 1 for what lies lowest: two ranks differ only where the intervals separate.

    What overlaps shares a rank, and so does what a chain of overlaps joins: of three of which the first and the last
    separate and the second overlaps both, none has a rank of its own. A rank is 1 more than the number of those with a
    lower one.

    Args:
        spans: intervals by name, in any order.
    """
    found: dict[Name, int] = {}
    reach, rank = float("-inf"), 1
    for place, name in enumerate(sorted(spans, key=lambda one: spans[one].low), 1):
        if spans[name].low > reach:
            rank = place
        found[name] = rank
        reach = max(reach, spans[name].high)
    return {name: found[name] for name in spans}


def farthest(spans: Mapping[Name, Span]) -> tuple[Name, Name] | None:
    """Two that intervals tell apart, the lower first: the one that ends first and the one that begins last; else None.

    Args:
        spans: at least one.
    """
    first = min(spans, key=lambda name: spans[name].high)
    last = max(spans, key=lambda name: spans[name].low)
    return (first, last) if below(spans[first], spans[last]) else None


def alike(spans: Mapping[Name, Span], name: Name) -> list[Name]:
    """The others whose intervals overlap that of `name`, in their order."""
    own = spans[name]
    return [other for other, span in spans.items() if other != name and not below(own, span) and not below(span, own)]
