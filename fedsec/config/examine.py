"""One scenario without its `vary`: normal form, schema, plug-ins and cross-field checks, all at once."""

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
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
from fedsec.config.problems import TreePath, show
from fedsec.config.schema import Component, Scenario
from fedsec.config.valid import Look, Valid, no_look


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
    if isinstance(data.get("matrix"), dict):
        prepared["matrix"], attacks, faults = _matrix(data["matrix"])
        findings = findings + faults
    findings = [*findings, *_schema_version(data), *_repeated(data, "matrix", "seed")]
    findings += _repeated(data, "threat", "knowledge")
    scenario, against_schema = _validate(prepared)
    valid = Valid(prepared, [path for path, _ in against_schema] + list(faulty))
    findings += against_schema
    findings += cross_findings(valid, attacks, exempt)
    findings += look(Valid(prepared, [path for path, _ in findings] + list(faulty)))
    return Outcome(scenario, findings, valid)


def _schema_version(data: dict[str, Any]) -> list[Finding]:
    # pydantic takes true and 1.0 for 1 in JSON, even where it is strict.
    version = data.get("schema")
    if version == 1 and type(version) is not int:
        return [(("schema",), f"{show(version)} is not allowed; allowed: {allowed(('schema',))}")]
    return []


def _matrix(raw: dict[str, Any]) -> tuple[dict[str, Any], list[Entry], list[Finding]]:
    """The matrix in normal form: the controls first, faulty entries left out."""
    matrix = dict(raw)
    findings: list[Finding] = []
    attacks: list[Entry] = []
    if isinstance(raw.get("attack"), list):
        attacks, faults = attack_entries(raw["attack"])
        chosen = [Component(name=CONTROL), *(one for entry in attacks for one in entry.stack)]
        matrix["attack"] = [one.model_dump() for one in chosen]
        findings += faults
    if isinstance(raw.get("defense"), list):
        stacks, faults = defense_entries(raw["defense"])
        matrix["defense"] = [[], *([one.model_dump() for one in entry.stack] for entry in stacks if entry.stack)]
        findings += faults
    return matrix, attacks, findings


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


def _validate(prepared: dict[str, Any]) -> tuple[Scenario | None, list[Finding]]:
    """The schema's own view, one finding per path."""
    try:
        # As JSON, because strict Python input would want enum members instead of their names.
        return Scenario.model_validate_json(json.dumps(prepared)), []
    except ValidationError as error:
        found: dict[TreePath, Finding] = {}
        for details in error.errors(include_url=False, include_context=False):
            path, message = _finding(details)
            found.setdefault(path, (path, message))
        return None, list(found.values())


def _finding(details: ErrorDetails) -> Finding:
    path, given = details["loc"], details["input"]
    if details["type"] == "extra_forbidden":
        known = keys_at(path[:-1])
        return path, f"unknown key.{nearest(path[-1], known)} Known: {', '.join(known)}."
    if details["type"] == "missing":
        return path, f"is missing; allowed: {allowed(path)}"
    # In a union pydantic ends the path with the name of the alternative; the schema does not know that part.
    path, _ = annotation_at(path)
    hint = nearest(given, choices(path))
    # Quotes alone do not tell that 'no' and '1e-3' were read as text.
    what = "the text " if details["type"] in ("int_type", "float_type", "bool_type") and isinstance(given, str) else ""
    text = f"{what}{show(given)} is not allowed; allowed: {allowed(path)}"
    return path, f"{text}.{hint}" if hint else text
