"""Plug-ins as a scenario names them (attacks, stacks of defenses, the base model), checked against cards."""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from fedsec import registry
from fedsec.api.cards import Card, DefenseCard, Parameter
from fedsec.config.fields import fields_of, nearest
from fedsec.config.methods import methods_of
from fedsec.config.problems import TreePath, render, shorten, show
from fedsec.config.schema import Component, Model
from fedsec.registry import CardT, Registry

Finding = tuple[TreePath, str]

CONTROL = "none"
EMPTY_STACKS = (CONTROL, "mean")
"""Names of the stack without a defense; the mean is what no rule means."""


class Entry(NamedTuple):
    """One valid entry of `matrix.attack` or `matrix.defense`."""

    path: TreePath
    stack: list[Component]
    """Empty for the control."""


class Entries(NamedTuple):
    """The content of one list of the matrix, with its faults."""

    valid: list[Entry]
    findings: list[Finding]


def attack_entries(raw: list[Any]) -> Entries:
    """The attacks of a matrix; more than one in an entry is a fault."""
    return _entries(raw, ("matrix", "attack"), registry.attacks(), (CONTROL,), stacks=False)


def defense_entries(raw: list[Any]) -> Entries:
    """The stacks of a matrix: names, mappings, or lists of these."""
    valid, findings = _entries(raw, ("matrix", "defense"), registry.defenses(), EMPTY_STACKS, stacks=True)
    for path, stack in valid:
        findings += _stack_faults(path, stack)
    return Entries(valid, findings)


def model_section(raw: Any) -> tuple[Any, list[Finding]]:
    """The model section with the registered model's own parameters, all of them, under `params`."""
    if not isinstance(raw, dict):
        return raw, []
    name, cards = raw.get("name"), registry.models()
    card = cards.get(name) if isinstance(name, str) and name in cards else None
    own = fields_of(Model)
    section = {key: value for key, value in raw.items() if key in own}
    extra = {key: value for key, value in raw.items() if key not in own}
    if card is not None:
        section["params"], findings = _parameters(card, extra, ("model",), own)
        return section, findings
    # Without a known model only keys that no model has are certainly wrong.
    takes_none = isinstance(name, str) and not _fault_of_model_name(name)
    possible = [] if takes_none else model_parameters()
    findings = [
        (("model", key), f"unknown key.{nearest(key, [*own, *possible])} {_known([*own, *possible])}")
        for key in extra
        if key not in possible
    ]
    fault = _fault_of_model_name(name) if isinstance(name, str) else None
    return section, [*findings, (("model", "name"), fault)] if fault else findings


def model_parameters() -> list[str]:
    """Names of all parameters of all registered models."""
    return sorted({parameter.name for card in registry.models() for parameter in card.parameters})


def exists(path: str) -> Path | None:
    """The path if something is there; whatever the file system does not want to look up is not."""
    try:
        return Path(path) if Path(path).exists() else None
    except (OSError, ValueError):
        return None


def _fault_of_model_name(name: str) -> str | None:
    found = exists(name) if name else None
    known = name in registry.models() or "/" in name or (found is not None and found.is_dir())
    if known or not 0 < len(name) <= 500:  # the schema speaks up about lengths
        return None
    return _unknown(name, registry.models(), also=", and neither a local folder nor a hub id (owner/name)")


def _entries(
    raw: list[Any], path: TreePath, cards: Registry[CardT], controls: tuple[str, ...], *, stacks: bool
) -> Entries:
    valid: list[Entry] = []
    findings: list[Finding] = []
    labels: dict[str, TreePath] = {}
    for index, item in enumerate(raw):
        here = (*path, index)
        stack, faults = _stack(item, here, cards, controls, stacks=stacks)
        findings += faults
        if faults:
            continue
        label = "+".join(cards.get(one.name).label(one.params) for one in stack) or CONTROL
        if label in labels:
            findings.append((here, f"the same as {render(labels[label])}: {label}"))
            continue
        labels[label] = here
        valid.append(Entry(here, stack))
    return Entries(valid, findings)


def _stack(
    item: Any, path: TreePath, cards: Registry[CardT], controls: tuple[str, ...], *, stacks: bool
) -> tuple[list[Component], list[Finding]]:
    parts = [((*path, index), part) for index, part in enumerate(item)] if isinstance(item, list) else [(path, item)]
    if isinstance(item, list) and not stacks:
        return [], [(path, f"a list is not allowed here; {_FORM}")]
    stack: list[Component] = []
    findings: list[Finding] = []
    for here, part in parts:
        component, faults = _component(part, here, cards, controls)
        findings += faults
        if component is not None:
            stack.append(component)
        elif not faults and len(parts) > 1:
            findings.append((here, f"'{_name(part)}' is the empty stack and cannot stand with others"))
    return stack, findings


_FORM = "allowed: a name, or a mapping of `name` and its parameters"


def _name(item: Any) -> Any:
    return item.get("name") if isinstance(item, dict) else item


def _component(
    item: Any, path: TreePath, cards: Registry[CardT], controls: tuple[str, ...]
) -> tuple[Component | None, list[Finding]]:
    """A component with all parameters, or None with its faults; None without a fault for the control."""
    if not isinstance(item, str | dict):
        return None, [(path, f"{show(item)} is not allowed; {_FORM}")]
    if isinstance(item, dict) and "name" not in item:
        return None, [(path, f"`name` is missing; {_FORM}")]
    name = _name(item)
    at_name = (*path, "name") if isinstance(item, dict) else path
    given = {key: value for key, value in item.items() if key != "name"} if isinstance(item, dict) else {}
    if not isinstance(name, str):
        return None, [(at_name, f"{show(name)} is not allowed; allowed: a text")]
    if name in controls:
        return None, [((*path, key), f"'{name}' takes no parameters") for key in given]
    if name not in cards:
        return None, [(at_name, _unknown(name, cards, controls))]
    params, findings = _parameters(cards.get(name), given, path)
    return (None if findings else Component(name=name, params=params)), findings


def _unknown(name: str, cards: Registry[Any], controls: tuple[str, ...] = (), also: str = "") -> str:
    hint = nearest(name, controls) or f" {cards.suggestion(shorten(name))}"
    lost = "".join(f". Could not be loaded: {shorten(name)}" for name in cards.broken)
    return f"unknown {cards.kind.removesuffix('s')} {show(name)}{also}.{hint}{lost}"


def _known(names: Iterable[str]) -> str:
    listed = ", ".join(names)
    return f"Known: {listed}." if listed else "It takes no parameters."


def _parameters(
    card: Card, given: dict[str, Any], path: TreePath, own: Iterable[str] = ()
) -> tuple[dict[str, Any], list[Finding]]:
    """All parameters of a plug-in; its defaults where the given ones have faults."""
    parameters = {parameter.name: parameter for parameter in card.parameters}
    schema = _schema(tuple(card.parameters))
    try:
        return schema.model_validate(given).model_dump(by_alias=True), []
    except ValidationError as error:
        keys = dict.fromkeys(str(details["loc"][0]) for details in error.errors(include_url=False))
    findings: list[Finding] = []
    for key in keys:
        if key not in parameters:
            hint = nearest(key, [*own, *parameters])
            text = f"'{card.name}' has no parameter {show(key)}.{hint} {_known(parameters)}"
        else:
            hint = nearest(given[key], parameters[key].choices)
            text = f"{show(given[key])} is not allowed; allowed: {parameters[key].allowed}{'.' if hint else ''}{hint}"
        findings.append(((*path, key), text))
    return schema().model_dump(by_alias=True), findings


@lru_cache(maxsize=256)
def _schema(parameters: tuple[Parameter, ...]) -> type[BaseModel]:
    """What pydantic checks parameters by; under aliases, since their names may be those of pydantic's own methods."""
    fields: dict[str, Any] = {}
    for place, one in enumerate(parameters):
        kind: Any = Literal[one.choices] if one.choices else type(one.default)
        limits: dict[str, Any] = {"ge": one.minimum, "le": one.maximum} if kind in (int, float) else {}
        limits |= {"allow_inf_nan": False} if kind is float else {}
        fields[f"parameter_{place}"] = (kind, Field(one.default, alias=one.name, **limits))
    return create_model("Parameters", __config__=ConfigDict(extra="forbid", strict=True), **fields)


def _stack_faults(path: TreePath, stack: list[Component]) -> list[Finding]:
    cards = [registry.defenses().get(component.name) for component in stack]
    rules = [card.name for card in cards if isinstance(card, DefenseCard) and card.is_rule]
    findings: list[Finding] = []
    if len(rules) > 1:
        findings.append((path, f"a stack holds at most one aggregation rule; this one has {', '.join(rules)}"))
    labels = [card.label(component.params) for card, component in zip(cards, stack, strict=True)]
    findings += [
        ((*path, i), f"'{label}' stands twice in this stack") for i, label in enumerate(labels) if label in labels[:i]
    ]
    for place, card in enumerate(cards):
        if isinstance(card, DefenseCard) and card.answers_itself:
            skipped = [one.name for one in cards[:place] if "on_query" in (methods_of(one) or ())]
            text = f"'{card.name}' answers queries itself and would never ask {', '.join(skipped)}: put it before"
            findings += [((*path, place), text)] if skipped else []
    return findings
