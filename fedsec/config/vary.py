"""`matrix.vary`: its paths and values, and the scenario of each value."""

import itertools
import json
import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from fedsec.config.components import Finding, model_parameters
from fedsec.config.cross import AUXILIARY, KNOWLEDGE, MALICIOUS
from fedsec.config.examine import Outcome, examine
from fedsec.config.fields import VARIED_SECTIONS, all_paths, is_number, nearest
from fedsec.config.problems import TreePath, render, show
from fedsec.config.schema import Scenario
from fedsec.config.tree import with_value
from fedsec.config.valid import Look, no_look

MAX_VALUES = 1_000
"""Values under `vary`, all paths together; each is checked as a scenario of its own."""
MAX_CELLS = 100_000
MAX_COMBINATIONS = 500
"""More combinations than these are not checked beforehand, only when they are expanded."""


def varied_paths() -> list[str]:
    """The paths that may be varied."""
    known = [path for path in all_paths() if path.split(".")[0] in VARIED_SECTIONS and "." in path]
    return known + [f"model.{name}" for name in model_parameters()]


def vary_of(data: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The usable part of `matrix.vary`: paths that hold lists."""
    matrix = data.get("matrix")
    vary = matrix.get("vary") if isinstance(matrix, dict) else None
    return {path: values for path, values in vary.items() if isinstance(values, list)} if isinstance(vary, dict) else {}


def put(data: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """A scenario in the YAML form with other values at dotted paths, which are taken out of `vary`.

    Another model comes with its own default parameters: those of the model that it replaces are dropped.
    Raises TypeError if there is something else than a section on the way.
    """
    changed = dict(data)
    model, name = changed.get("model"), settings.get("model.name")
    if isinstance(model, dict) and name is not None and name != model.get("name"):
        changed["model"] = {key: value for key, value in model.items() if key not in model_parameters()}
    for path, value in settings.items():
        changed = with_value(changed, tuple(path.split(".")), value)
    matrix = changed.get("matrix")
    if isinstance(matrix, dict) and isinstance(matrix.get("vary"), dict):
        vary = {path: values for path, values in matrix["vary"].items() if path not in settings}
        changed["matrix"] = {**matrix, "vary": vary}
    return changed


def exemptions(data: Mapping[str, Any]) -> frozenset[str]:
    """What attacks ask for and `vary` gives."""
    return frozenset(vary_of(data)) & {MALICIOUS, KNOWLEDGE, *AUXILIARY}


def vary_findings(
    data: Mapping[str, Any], base: Outcome, faulty: Collection[TreePath] = (), look: Look = no_look
) -> list[Finding]:
    """Faults of the paths and values under `vary`, each value in the scenario's place for it.

    Args:
        data: the scenario in the YAML form.
        base: what was found without `vary`.
        faulty: paths whose values could not be read.
        look: looks at what each of these scenarios names.
    """
    vary = vary_of(data)
    findings = list(_faults_of_paths(vary))
    findings += _repeated(vary)
    total = sum(len(values) for values in vary.values())
    if total > MAX_VALUES:
        return [*findings, (("matrix", "vary"), f"{total} values; allowed: at most {MAX_VALUES:,}")]
    wrong = {finding[0][2] for finding in findings if len(finding[0]) == 3}
    usable = {path: values for path, values in vary.items() if path not in wrong}
    for path, values in usable.items():
        for index, value in enumerate(values):
            findings += _single(data, base.findings, faulty, (path, index, value), look)
    if not findings and not base.findings:
        findings += _combinations(data, usable, look)
    return findings


def cell_findings(scenario: Scenario) -> list[Finding]:
    """A finding if the matrix has more cells than anybody can mean."""
    matrix = scenario.matrix
    cells = len(matrix.attack) * len(matrix.defense) * len(matrix.seed)
    cells *= math.prod(len(values) for values in matrix.vary.values())
    return [(("matrix",), f"{show(cells)} cells; allowed: at most {MAX_CELLS:,}")] if cells > MAX_CELLS else []


def normal(vary: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Whole numbers made floats where the schema has a float."""
    return {
        path: [float(v) if is_number(tuple(path.split("."))) else v for v in values] for path, values in vary.items()
    }


def _faults_of_paths(vary: Mapping[str, list[Any]]) -> Iterator[Finding]:
    known = varied_paths()
    for path in vary:
        place: TreePath = ("matrix", "vary", path)
        if path not in known:
            hint = f"{nearest(path, known)} Allowed: paths under {', '.join(VARIED_SECTIONS)}"
            yield place, f"no such path.{hint}"
        above = [other for other in vary if path.startswith(f"{other}.") and other in known]
        if above:
            yield place, f"lies within {show(above[0])}, which is varied too"


def _repeated(vary: Mapping[str, list[Any]]) -> Iterator[Finding]:
    for path, values in vary.items():
        keys = [_key(value) for value in values]
        for index, key in enumerate(keys):
            if key in keys[:index]:
                yield ("matrix", "vary", path, index), f"{show(values[index])} stands twice"


def _key(value: Any) -> str:
    # 1 and 1.0 are one value; true and 1 are two.
    return json.dumps(float(value) if type(value) is int else value, sort_keys=True)


def _single(
    data: Mapping[str, Any],
    known: list[Finding],
    faulty: Collection[TreePath],
    setting: tuple[str, int, Any],
    look: Look,
) -> Iterator[Finding]:
    """What one value breaks that was whole before."""
    path, index, value = setting
    target: TreePath = tuple(path.split("."))
    place: TreePath = ("matrix", "vary", path, index)
    exempt = {one for one in exemptions(data) if one != path or one == MALICIOUS}
    try:
        outcome = examine(put(data, {path: value}), exempt=exempt, faulty=faulty, look=look)
    except TypeError:  # a section on the way is no mapping, which the base's findings say
        return
    known_paths = {where for where, _ in known}
    for where, message in outcome.findings:
        if where[: len(target)] == target:
            if (where, message) not in known:
                yield (*place, *where[len(target) :]), message
        elif where not in known_paths:
            yield place, f"with {show(value)} here, {render(where) or 'the scenario'}: {message}"


def _combinations(data: Mapping[str, Any], vary: Mapping[str, list[Any]], look: Look) -> Iterator[Finding]:
    """The first combination that fails although each of its values does not."""
    if len(vary) < 2 or math.prod(map(len, vary.values())) > MAX_COMBINATIONS:
        return
    for values in itertools.product(*vary.values()):
        settings = dict(zip(vary, values, strict=True))
        outcome = examine(put(data, settings), exempt=exemptions(data) & {MALICIOUS}, look=look)
        if outcome.findings:
            where, message = outcome.findings[0]
            given = ", ".join(f"{path} {show(value)}" for path, value in settings.items())
            yield ("matrix", "vary"), f"with {given}, {render(where)}: {message}"
            return
