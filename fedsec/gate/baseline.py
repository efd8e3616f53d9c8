"""Baselines: what a blessed run measured, in a file that is compact, sorted and reviewable in a diff.

It holds the gated cells alone, no timings, and no dates. `comparable` identifies what two runs have to share so that
their difference says something about code: the settings and the content of data and weights. Versions, threads, seeds
and sources are not among that: they are what a gate watches, or what does not matter to it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedsec import registry
from fedsec.api import BetterFor
from fedsec.config.paths import with_paths
from fedsec.errors import BaselineError, FedsecError
from fedsec.gate.readings import Gated, Group, Member
from fedsec.metrics.stats.differences import Measured
from fedsec.registry import Registry
from fedsec.store import strict_json
from fedsec.store.atomic import write_text

SCHEMA = 1
KIND = "fedsec-baseline"
_SHARED = ("model", "data", "federation", "evaluation", "threat")
"""Sections of a scenario that decide what its figures mean; attacks, defenses and varied settings are each cell's."""
_MOST_TOLD = 5
_WIDTH = 110

Seed = Annotated[int, Field(ge=0)]
Numbers = tuple[float, float | None, float | None, Annotated[int, Field(ge=1)]]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Part(_Part):
    """One part of a stack."""

    name: str
    params: dict[str, Any]


class Entry(_Part):
    """One metric of the cells that differ in their seed alone."""

    scenario: str
    metric: str
    attack: str
    attack_params: dict[str, Any]
    defense: str
    defense_stack: list[Part]
    settings: dict[str, Any]
    unit: str
    better_for: BetterFor
    wilson: bool
    """Whether the seeds' intervals are Wilson's."""
    seeds: Annotated[dict[Seed, Numbers], Field(min_length=1)]
    """By seed: value, both ends of its interval or null, and n."""

    @property
    def group(self) -> Group:
        """The entry as a run's group."""
        return Group(
            scenario=self.scenario,
            metric=self.metric,
            attack=self.attack,
            attack_params=_resolved(registry.attacks(), self.attack.partition("(")[0], self.attack_params),
            defense=self.defense,
            defense_stack=tuple(
                {"name": part.name, "params": _resolved(registry.defenses(), part.name, part.params)}
                for part in self.defense_stack
            ),
            settings=self.settings,
            unit=self.unit,
            better_for=self.better_for,
            seeds={
                seed: Measured(*values, fraction=self.unit == "fraction", wilson=self.wilson)
                for seed, values in self.seeds.items()
            },
        )


class Baseline(_Part):
    """The content of the file."""

    kind: Literal["fedsec-baseline"]
    schema_version: Literal[1] = Field(alias="schema")
    scenario: str
    """The scenario's name, or the suite's."""
    made_by: dict[str, str]
    """What ran it: for notes, not for comparability."""
    comparable: dict[str, dict[str, Any]]
    """By scenario, the settings and hashes that a run has to share."""
    cells: Annotated[list[Entry], Field(min_length=1)]

    def groups(self) -> dict[str, Group]:
        """The cells by their identity."""
        found = (entry.group for entry in self.cells)
        return {group.identity: group for group in found}


def read(path: Path) -> Baseline:
    """The baseline in a file.

    Raises:
        BaselineError: it is not there, or is none that this version reads; the message says which.
    """
    try:
        content = strict_json.read(path)
    except FileNotFoundError:
        raise BaselineError(
            f"there is no baseline {path}. Make one of a run that you trust: fedsec baseline bless RUN --baseline "
            f"{path}"
        ) from None
    except OSError as error:
        raise BaselineError(f"the baseline {path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise BaselineError(
            f"the baseline {path} is damaged or cut short ({error!s:.100}). Restore it from version control, or delete "
            "it and bless a run again"
        ) from error
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise BaselineError(
            f"{path} is no baseline of fedsec: it does not say kind: {KIND}. Give the file that "
            "`fedsec baseline bless` wrote"
        )
    found = content.get("schema")
    if type(found) is not int or found != SCHEMA:
        old = type(found) is int and found < SCHEMA
        advice = "bless a run again" if old else "update fedsec"
        raise BaselineError(
            f"the baseline {path} has the {'older ' if old else ''}schema {found!a:.40}, and this version of fedsec "
            f"reads {SCHEMA}: {advice}"
        )
    try:
        return Baseline.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise BaselineError(
            f"the baseline {path} has a fault at {place:.100}: {first['msg']:.100}. Restore it from version control"
        ) from error


def make(name: str, record: Mapping[str, Any], members: Sequence[Member], found: Sequence[Gated]) -> Baseline:
    """The baseline of a run.

    Args:
        name: of the scenario or suite.
        record: the run's record.json.
        members: its scenarios.
        found: what its rules are about, all of it with a value.

    Raises:
        FedsecError: no rule asks for a comparison.
    """
    groups = {one.group.identity: one.group for one in found if one.rule.tolerance is not None}
    if not groups:
        raise FedsecError("no rule of the gate has a tolerance, so that a baseline would hold nothing")
    packages = record.get("packages") or {}
    told = {"device": record.get("device"), **{name: packages.get(name) for name in ("fedsec", "torch")}}
    return Baseline.model_validate(
        {
            "kind": KIND,
            "schema": SCHEMA,
            "scenario": name,
            "made_by": {key: str(value) for key, value in sorted(told.items()) if value},
            "comparable": shared(record, members),
            "cells": [_entry(groups[identity]) for identity in sorted(groups)],
        }
    )


def write(path: Path, baseline: Baseline) -> None:
    """Write a baseline; FedsecError if the file is something else, that of another scenario, or cannot be written."""
    if path.exists():
        try:
            old = strict_json.read(path)
        except (OSError, ValueError) as error:
            raise FedsecError(f"{path} is there and is no sound baseline; delete it first to make one there") from error
        if not isinstance(old, dict) or old.get("kind") != KIND:
            raise FedsecError(f"{path} is there and is no baseline; give another file")
        if old.get("scenario") != baseline.scenario:
            raise FedsecError(
                f"{path} is the baseline of {old.get('scenario')!a:.100}, and this run is of {baseline.scenario!a}; "
                "give another file, or delete that one"
            )
    try:
        write_text(path, dumped(baseline))
    except OSError as error:
        raise FedsecError(f"{path} cannot be written: {error.strerror or error}") from error


def dumped(baseline: Baseline) -> str:
    """The text of the file: keys sorted, and a line for whatever fits into one, such as a seed."""
    return _laid(baseline.model_dump(mode="json", by_alias=True), 0) + "\n"


def differences(record: Mapping[str, Any], members: Sequence[Member], baseline: Baseline) -> list[str]:
    """What a run does not share with a baseline, and has to: at most some settings of it, in words."""
    own, chosen = (json.loads(json.dumps(shared(record, members, defaults=wanted))) for wanted in (True, False))
    found = list(_differences(own, baseline.comparable, chosen, ""))
    more = [f"and {len(found) - _MOST_TOLD} more"] if len(found) > _MOST_TOLD else []
    return found[:_MOST_TOLD] + more


def shared(record: Mapping[str, Any], members: Sequence[Member], *, defaults: bool = True) -> dict[str, dict[str, Any]]:
    """By scenario: the settings that decide what figures mean, and hashes of data and weights.

    Args:
        record: the run's record.json.
        members: its scenarios.
        defaults: whether settings that have their default are among them.
    """
    return {one.scenario.name: {**_settings(one, defaults), "inputs": _inputs(record, one)} for one in members}


def _resolved(cards: Registry[Any], name: str, params: dict[str, Any]) -> dict[str, Any]:
    """Parameters with the defaults of those that a plug-in did not have when the baseline was written."""
    return dict(cards.get(name).resolve(params)) if name in cards else params


def _inputs(record: Mapping[str, Any], member: Member) -> Any:
    own = {str(one["scenario"]): one for one in record.get("members") or ()}
    return own.get(member.scenario.name, record).get("inputs") or {}


def _settings(member: Member, defaults: bool) -> dict[str, Any]:
    dumped = member.scenario.model_dump(mode="json", include=set(_SHARED), exclude_defaults=not defaults)
    # What an attack has read that ended in time does not depend on the limit.
    dumped.get("threat", {}).pop("attack_seconds", None)
    varied = member.scenario.matrix.vary
    kept = with_paths(dumped, lambda path: Path(path).name)
    return {section: _without(kept.get(section, {}), section, varied) for section in _SHARED}


def _without(part: Any, above: str, varied: Mapping[str, Any]) -> Any:
    """A section without the settings that each cell has of its own."""
    if not isinstance(part, dict):
        return part
    return {
        key: _without(value, f"{above}.{key}", varied) for key, value in part.items() if f"{above}.{key}" not in varied
    }


def _differences(own: Any, other: Any, chosen: Any, path: str) -> Iterator[str]:
    """What differs; a setting that the baseline's version of fedsec did not have is none if it has its default."""
    if isinstance(own, dict) and isinstance(other, dict):
        given = chosen if isinstance(chosen, dict) else {}
        for key in [*own, *(key for key in other if key not in own)]:
            if key in other or key in given:
                place = f"{path}.{key}" if path else str(key)
                yield from _differences(own.get(key), other.get(key), given.get(key), place)
    elif own != other:
        yield f"{path} is {_line(own):.60} here and {_line(other):.60} in the baseline"


def _entry(group: Group) -> dict[str, Any]:
    return {
        "scenario": group.scenario,
        "metric": group.metric,
        "attack": group.attack,
        "attack_params": dict(group.attack_params),
        "defense": group.defense,
        "defense_stack": [dict(part) for part in group.defense_stack],
        "settings": dict(group.settings),
        "unit": group.unit,
        "better_for": group.better_for,
        "wilson": all(one.wilson for one in group.seeds.values()),
        "seeds": {seed: (one.value, one.low, one.high, one.n) for seed, one in group.seeds.items()},
    }


def _laid(content: Any, indent: int) -> str:
    """JSON with a line for every part that fits into one."""
    whole = _line(content)
    if len(whole) + indent <= _WIDTH or not isinstance(content, dict | list):
        return whole
    if isinstance(content, dict):
        rows = [f"{_line(key)}: {_laid(content[key], indent + 1)}" for key in sorted(content)]
    else:
        rows = [_laid(part, indent + 1) for part in content]
    inner, (first, last) = " " * (indent + 1), "{}" if isinstance(content, dict) else "[]"
    return "\n".join([first, ",\n".join(inner + row for row in rows), " " * indent + last])


def _line(content: Any) -> str:
    return json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False)
