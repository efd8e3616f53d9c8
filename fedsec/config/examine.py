"""One scenario without its `vary`: normal form, schema, plug-ins and cross-field checks, all at once."""

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fedsec.config.components import (
    CONTROL,
    Entry,
    Finding,
    attack_entries,
    defense_entries,
    model_section,
)
from fedsec.config.cross import cross_findings
from fedsec.config.fields import allowed, annotation_at, choices, keys_at, nearest
from fedsec.config.gate import gate_findings
from fedsec.config.problems import TreePath, show
from fedsec.config.schema import Component, Scenario
from fedsec.config.valid import Look, Valid, no_look

TopT = TypeVar("TopT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an examination found."""

    scenario: Scenario | None
    """The scenario if it fits the schema; to be used only if there are no findings."""
    findings: list[Finding] = field(default_factory=list)
    valid: Valid = field(default_factory=lambda: Valid({}, [()]))


def examine(
    data: dict[str, Any], *, exempt: Collection[str] = (), faulty: Collection[TreePath] = (), look: Look = no_look
) -> Outcome:
    """Check everything but the values under `matrix.vary`.

    Args:
        data: a scenario in the YAML form.
        exempt: varied paths; what attacks ask of them is not checked.
        faulty: paths whose values could not be read.
        look: looks at what the scenario names.
    """
    prepared = dict(data)
    findings: list[Finding] = []
    if "model" in data:
        prepared["model"], findings = model_section(data["model"])
    attacks: list[Entry] = []
    stacks: list[Entry] = []
    if isinstance(data.get("matrix"), dict):
        prepared["matrix"], attacks, stacks, faults = _matrix(data["matrix"])
        findings = findings + faults
    findings = [*findings, *schema_version(data), *_repeated(data, "matrix", "seed")]
    findings += _repeated(data, "threat", "knowledge")
    scenario, misfits = against_schema(Scenario, prepared)
    valid = Valid(prepared, [path for path, _ in misfits] + list(faulty))
    findings += misfits
    findings += cross_findings(valid, attacks, exempt)
    findings += _gate(prepared, valid, attacks, stacks, findings)
    findings += look(Valid(prepared, [path for path, _ in findings] + list(faulty)))
    return Outcome(scenario, findings, valid)


def schema_version(data: dict[str, Any]) -> list[Finding]:
    """A finding if a file gives its schema as another kind of 1."""
    # pydantic takes true and 1.0 for 1 in JSON, even where it is strict.
    version = data.get("schema")
    if version == 1 and type(version) is not int:
        return [(("schema",), f"{show(version)} is not allowed; allowed: {allowed(('schema',))}")]
    return []


def _gate(
    data: dict[str, Any], valid: Valid, attacks: list[Entry], stacks: list[Entry], faults: list[Finding]
) -> list[Finding]:
    """What is wrong with the rules; what they are about is looked for in lists of the matrix that have no faults."""
    rules = data.get("gate")
    if not isinstance(rules, list):
        return []
    sound = [valid.has("gate", place) for place in range(len(rules))]
    faulty = {path[:2] for path, _ in faults}
    whole = {key for key in ("attack", "defense") if valid.has("matrix", key) and ("matrix", key) not in faulty}
    known = (attacks if "attack" in whole else None, stacks if "defense" in whole else None)
    return list(gate_findings(rules, *known, sound))


def _matrix(raw: dict[str, Any]) -> tuple[dict[str, Any], list[Entry], list[Entry], list[Finding]]:
    """The matrix in normal form: the controls first, faulty entries left out."""
    matrix = dict(raw)
    findings: list[Finding] = []
    attacks: list[Entry] = []
    stacks: list[Entry] = []
    if isinstance(raw.get("attack"), list):
        attacks, faults = attack_entries(raw["attack"])
        chosen = [Component(name=CONTROL), *(one for entry in attacks for one in entry.stack)]
        matrix["attack"] = [one.model_dump() for one in chosen]
        findings += faults
    if isinstance(raw.get("defense"), list):
        stacks, faults = defense_entries(raw["defense"])
        matrix["defense"] = [[], *([one.model_dump() for one in entry.stack] for entry in stacks if entry.stack)]
        findings += faults
    return matrix, attacks, stacks, findings


def _repeated(data: dict[str, Any], section: str, key: str) -> list[Finding]:
    """What stands twice in a list; read before the schema so that other faults in the list do not hide it."""
    values = data[section].get(key) if isinstance(data.get(section), dict) else None
    if not isinstance(values, list):
        return []
    seen: set[Any] = set()
    findings: list[Finding] = []
    for index, value in enumerate(values):
        if type(value) in (int, str):
            if value in seen:
                findings.append(((section, key, index), f"{show(value)} stands twice"))
            seen.add(value)
    return findings


def against_schema(top: type[TopT], data: dict[str, Any]) -> tuple[TopT | None, list[Finding]]:
    """What a schema makes of plain data, or None and one finding per path.

    Args:
        top: the schema of the whole file.
        data: its content in normal form.
    """
    try:
        # As JSON, because strict Python input would want enum members instead of their names.
        return top.model_validate_json(json.dumps(data)), []
    except ValidationError as error:
        found: dict[TreePath, Finding] = {}
        for details in error.errors(include_url=False, include_context=False):
            path, message = _finding(details, top)
            found.setdefault(path, (path, message))
        return None, list(found.values())


def _finding(details: ErrorDetails, top: type[BaseModel]) -> Finding:
    path, given = details["loc"], details["input"]
    if details["type"] == "extra_forbidden":
        known = keys_at(path[:-1], top)
        return path, f"unknown key.{nearest(path[-1], known)} Known: {', '.join(known)}."
    if details["type"] == "missing":
        return path, f"is missing; allowed: {allowed(path, top)}"
    # In a union pydantic ends the path with the name of the alternative; the schema does not know that part.
    path, _ = annotation_at(path, top)
    hint = nearest(given, choices(path, top))
    # Quotes alone do not tell that 'no' and '1e-3' were read as text.
    what = "the text " if details["type"] in ("int_type", "float_type", "bool_type") and isinstance(given, str) else ""
    text = f"{what}{show(given)} is not allowed; allowed: {allowed(path, top)}"
    return path, f"{text}.{hint}" if hint else text
