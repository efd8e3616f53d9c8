"""The rules of `gate:`: which attacks and defenses each is about, and what is wrong with it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from fedsec import registry
from fedsec.config.components import CONTROL, EMPTY_STACKS, Entry, Finding
from fedsec.config.fields import nearest
from fedsec.config.problems import TreePath, shorten, show
from fedsec.config.scalars import resolve
from fedsec.config.schema import Component
from fedsec.registry import Registry

_QUOTED = r"\"[^\"]*\"|'[^']*'"
_PART = re.compile(rf"\s*([\w@=./-]+)\s*(?:\(((?:[^()\"']|{_QUOTED})*)\))?\s*(?:\+|$)")
_PARAMETER = re.compile(rf"\s*(\w+)\s*=\s*({_QUOTED}|[^,]*?)\s*(?:,|$)")
_FORM = "allowed: a name, name(parameter=value), or a stack of these joined by +"


class Pattern(NamedTuple):
    """One part of a rule's `attack` or `defense`."""

    name: str
    params: Mapping[str, Any]
    """Those that narrow the match."""

    def fits(self, component: Component) -> bool:
        """Whether a component has this name and these parameters."""
        own = component.params
        return self.name == component.name and all(
            key in own and _same(value, own[key]) for key, value in self.params.items()
        )


def patterns(label: str) -> list[Pattern]:
    """The parts of `nnm+krum(neighbours=allouah)`; none for `none` and `mean`. ValueError says what is wrong."""
    found: list[Pattern] = []
    place = 0
    while place < len(label) or not found:
        part = _PART.match(label, place)
        if part is None or (part.end() == len(label) and label.endswith("+")):
            raise ValueError(f"{show(label)} is not allowed; {_FORM}")
        found.append(Pattern(part[1], _parameters(part[2] or "", label)))
        place = part.end()
    return [] if len(found) == 1 and found[0].name in EMPTY_STACKS and not found[0].params else found


def fits(wanted: Sequence[Pattern], stack: Sequence[Component]) -> bool:
    """Whether a stack consists of just these parts, in this order."""
    return len(wanted) == len(stack) and all(one.fits(part) for one, part in zip(wanted, stack, strict=True))


def measurement_of(metric: str, names: Sequence[str]) -> tuple[str, str] | None:
    """The plug-in and the measurement that a rule's metric is of; None if it is a registered metric or no such name.

    Args:
        metric: the rule's.
        names: plug-ins that the rule names.
    """
    plugin, slash, name = metric.partition("/")
    return (plugin, name) if metric not in registry.metrics() and slash and name and plugin in names else None


def gate_findings(
    rules: Any, attacks: Sequence[Entry] | None, stacks: Sequence[Entry] | None, sound: Sequence[bool]
) -> Iterator[Finding]:
    """What is wrong with rules that fit the schema.

    Args:
        rules: the content of `gate:`.
        attacks: the matrix's, the control left out; None if not all of them are known.
        stacks: the matrix's stacks, likewise.
        sound: for each rule, whether it fits the schema; the others are passed over.
    """
    first: dict[tuple[Any, ...], int] = {}
    for place, rule in enumerate(rules if isinstance(rules, list) else ()):
        if place >= len(sound) or not sound[place]:
            continue
        path: TreePath = ("gate", place)
        names: list[str] = []
        for key, cards, entries in (("attack", registry.attacks(), attacks), ("defense", registry.defenses(), stacks)):
            wanted, faults = _wanted(rule[key], (*path, key), cards, stacks=key == "defense")
            yield from faults
            names += [one.name for one in wanted]
            if not faults and entries is not None and wanted and not any(fits(wanted, one.stack) for one in entries):
                yield (*path, key), f"{show(rule[key])} is nothing of matrix.{key}; add it there, or correct the rule"
        yield from _of_metric(rule, path, names)
        yield from _limits(rule, path)
        about = (rule["metric"], rule["attack"], rule["defense"])
        if about in first:
            yield path, f"the same metric, attack and defense as gate[{first[about]}]"
        first.setdefault(about, place)


def _parameters(text: str, label: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    place = 0
    while place < len(text):
        one = _PARAMETER.match(text, place)
        if one is None or not one[2] or one[1] in found:
            raise ValueError(f"the brackets of {show(label)} are not allowed; allowed: parameter=value, with commas")
        found[one[1]] = one[2][1:-1] if one[2][0] in "\"'" else resolve(one[2])
        place = one.end()
    return found


def _same(wanted: Any, own: Any) -> bool:
    """Whether a value in brackets is that parameter's; a text may look like a number."""
    if isinstance(own, str):
        return str(wanted) == own
    return wanted == own and isinstance(wanted, bool) == isinstance(own, bool)


def _wanted(label: str, path: TreePath, cards: Registry[Any], *, stacks: bool) -> tuple[list[Pattern], list[Finding]]:
    """The parts of a label, and what is wrong with it."""
    try:
        wanted = patterns(label)
    except ValueError as error:
        return [], [(path, str(error))]
    if len(wanted) > 1 and not stacks:
        return [], [(path, f"{show(label)} names {len(wanted)} attacks; a rule is about one")]
    findings: list[Finding] = []
    for one in wanted:
        if one.name not in cards:
            hint = nearest(one.name, (CONTROL,)) or f" {cards.suggestion(shorten(one.name))}"
            findings.append((path, f"unknown {cards.kind.removesuffix('s')} {show(one.name)}.{hint}"))
            continue
        known = [parameter.name for parameter in cards.get(one.name).parameters]
        findings += [
            (path, f"'{one.name}' has no parameter {show(key)}.{nearest(key, known)}")
            for key in one.params
            if key not in known
        ]
    return ([] if findings else wanted), findings


def _of_metric(rule: Mapping[str, Any], path: TreePath, names: Sequence[str]) -> Iterator[Finding]:
    metric = rule["metric"]
    if metric not in registry.metrics():
        if measurement_of(metric, names) is None:
            hint = registry.metrics().suggestion(shorten(metric))
            beside = f", and no measurement of {' or '.join(dict.fromkeys(names))}" if names else ""
            yield (*path, "metric"), f"unknown metric {show(metric)}{beside}. {hint}"
        return
    unit = registry.metrics().get(metric).unit
    for key in ("max", "min", "tolerance", "minimum_effect") if unit == "fraction" else ():
        if rule.get(key) is not None and abs(rule[key]) > 1:
            yield (*path, key), f"{show(rule[key])} is beyond 1, and {metric} is a fraction: write 0.3 for 30 %"
    if unit == "seconds" and rule.get("tolerance") is not None:
        yield (
            (*path, "tolerance"),
            f"{metric} is a time, which differs between machines; a baseline holds none. Take max",
        )


def _limits(rule: Mapping[str, Any], path: TreePath) -> Iterator[Finding]:
    top, bottom, tolerance = (rule.get(key) for key in ("max", "min", "tolerance"))
    if top is None and bottom is None and tolerance is None:
        yield path, "demands nothing; give `max` or `min`, or `tolerance` for the comparison with a baseline"
    if top is not None and bottom is not None and top < bottom:
        yield (*path, "max"), f"{show(top)} is below min, which is {show(bottom)}"
    if tolerance is None and rule.get("minimum_effect"):
        yield (*path, "minimum_effect"), "is for the comparison with a baseline; give `tolerance` as well"
