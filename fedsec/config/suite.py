"""Suites: several scenarios that face the same defenses, run into one folder with one report."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from fedsec.config.check import check
from fedsec.config.components import CONTROL, Entry, Finding
from fedsec.config.examine import against_schema, schema_version
from fedsec.config.gate import fits, gate_findings, patterns
from fedsec.config.overrides import Setting, apply_settings, split_path
from fedsec.config.paths import starting_at
from fedsec.config.problems import ConfigError, Problem, TreePath, show
from fedsec.config.schema import GateRule, Scenario, SuiteFile
from fedsec.config.tree import Origin, Tree
from fedsec.config.valid import Look
from fedsec.errors import FedsecError

ENDINGS = (".yaml", ".yml")
_OWN = ("name", "summary", "scenarios", "defense", "seed", "gate")
"""Keys of a suite that `--set` may replace; any other path is one of its scenarios'."""
_FOR_MATRIX = ("defense", "seed")
_FORM = "allowed: a shipped name, a file, or a mapping of `scenario` and what to `set` in it"

Read = Callable[[str], tuple[Tree | None, list[Problem]]]
"""Reads a scenario file or a shipped scenario: what could be read, with its paths from the working directory, and all
faults."""


@dataclass(frozen=True, slots=True)
class Suite:
    """Scenarios that are run together, each complete, with the suite's defenses and seeds in its matrix."""

    name: str
    """kebab-case, with folders; names the run's folder."""
    summary: str
    """The question that it answers."""
    members: tuple[Scenario, ...]
    """In the suite's order; no two have the same name."""
    gate: tuple[GateRule, ...] = ()
    """What `fedsec gate` demands of a run; what the scenarios demand by themselves does not count here."""


def members_of(scenario: Scenario | Suite) -> tuple[Scenario, ...]:
    """The scenarios of a suite, or the scenario itself."""
    return scenario.members if isinstance(scenario, Suite) else (scenario,)


def is_suite(data: Mapping[str, Any]) -> bool:
    """Whether a file's content is a suite: it names scenarios."""
    return "scenarios" in data


def suite_of(
    tree: Tree, folder: str, read: Read, settings: Sequence[Setting], look: Look
) -> tuple[Suite | None, list[Problem]]:
    """The suite with its scenarios, or None and everything that is wrong with it and with them.

    Args:
        tree: the suite as read.
        folder: where its paths start; the working directory if empty.
        read: reads a scenario.
        settings: of `--set`: the suite's own, or ones that all its scenarios get.
        look: looks at what the scenarios name.
    """
    for setting in settings:
        if setting.dotted in _OWN:
            tree = tree.replaced((setting.dotted,), setting.value, setting.origin)
    file, findings = against_schema(SuiteFile, tree.data)
    problems = [tree.problem(path, message) for path, message in [*schema_version(tree.data), *findings]]
    given = tree.data["scenarios"]
    reader = _Members(tree, folder, read, [one for one in settings if one.dotted not in _OWN], look)
    found = [reader.member(place, entry) for place, entry in enumerate(given)] if isinstance(given, list) else []
    members = [one.scenario for one in found if one.scenario is not None]
    problems += _told(tree, found)
    problems += [tree.problem(path, message) for path, message in _repeated([one.scenario for one in found])]
    if file is None or problems:
        return None, problems
    problems = [tree.problem(path, message) for path, message in _gate(tree.data.get("gate"), members)]
    return (None, problems) if problems else (Suite(file.name, file.summary, tuple(members), tuple(file.gate)), [])


def _gate(rules: Any, members: Sequence[Scenario]) -> list[Finding]:
    """What is wrong with a suite's rules: each is about cells of one scenario at least."""
    attacks = [Entry((), [one]) for member in members for one in member.matrix.attack]
    stacks = [Entry((), stack) for member in members for stack in member.matrix.defense]
    findings = list(gate_findings(rules, attacks, stacks, [True] * len(rules or ())))
    faulty = {path[:2] for path, _ in findings}
    for place, rule in enumerate(rules or ()):
        path: TreePath = ("gate", place)
        if path not in faulty and not any(_has(member, rule) for member in members):
            both = f"{show(rule['attack'])} and {show(rule['defense'])}"
            findings.append((path, f"no scenario of the suite has both {both}; add what it lacks, or correct the rule"))
    return findings


def _has(member: Scenario, rule: Mapping[str, Any]) -> bool:
    """Whether a scenario has cells that a rule is about."""
    attack, defense = patterns(rule["attack"]), patterns(rule["defense"])
    attacks = [() if one.name == CONTROL else (one,) for one in member.matrix.attack]
    return any(fits(attack, one) for one in attacks) and any(fits(defense, one) for one in member.matrix.defense)


class _Found(NamedTuple):
    """What an entry of `scenarios` came to."""

    scenario: Scenario | None
    problems: list[Problem]
    read: bool = True
    """Whether there was a scenario to check."""


@dataclass(frozen=True, slots=True)
class _Members:
    """Reads the scenarios of a suite."""

    suite: Tree
    folder: str
    read: Read
    settings: Sequence[Setting]
    look: Look

    def member(self, place: int, entry: Any) -> _Found:
        """One entry of `scenarios`, with what the suite puts in its place, or what is wrong with it."""
        tree, problems = self._entry(("scenarios", place), entry)
        if tree is None:
            return _Found(None, problems, read=False)
        matrix = [
            Setting(f"matrix.{key}", self.suite.data[key], self._origin((key,)))
            for key in _FOR_MATRIX
            if self.suite.data.get(key) is not None
        ]
        for settings in (matrix, self.settings):
            tree, faults = apply_settings(tree, settings)
            problems += faults
        # A suite's defenses may not be those that its scenarios' own rules are about.
        tree = replace(tree, data={key: value for key, value in tree.data.items() if key != "gate"})
        scenario, faults = check(tree, self.look)
        problems += faults
        return _Found(None if problems else scenario, problems)

    def _entry(self, path: TreePath, entry: Any) -> tuple[Tree | None, list[Problem]]:
        """The scenario that an entry names or holds, with what the entry sets."""
        if isinstance(entry, str):
            return self._named(path, entry)
        if not isinstance(entry, dict):
            return None, [self.suite.problem(path, f"{show(entry)} is not allowed; {_FORM}")]
        if is_suite(entry):
            return None, [self.suite.problem(path, "a suite within a suite; name its scenarios instead")]
        if "scenario" not in entry:
            return self._held(path, entry), []
        problems = [
            self.suite.problem((*path, key), "unknown key. Known: scenario, set.")
            for key in entry
            if key not in ("scenario", "set")
        ]
        name, given = entry["scenario"], entry.get("set") or {}
        if not isinstance(name, str):
            return None, [
                *problems,
                self.suite.problem((*path, "scenario"), f"{show(name)} is not allowed; allowed: a text"),
            ]
        if not isinstance(given, dict):
            message = f"{show(given)} is not allowed; allowed: a mapping of paths to values"
            return None, [*problems, self.suite.problem((*path, "set"), message)]
        tree, faults = self._named((*path, "scenario"), name)
        if tree is None:
            return None, problems + faults
        tree, more = apply_settings(tree, [self._setting((*path, "set"), *one) for one in given.items()])
        return tree, problems + faults + more

    def _named(self, path: TreePath, name: str) -> tuple[Tree | None, list[Problem]]:
        what = os.path.join(self.folder, name) if name.endswith(ENDINGS) else name  # noqa: PTH118  ("" stays "")
        try:
            tree, problems = self.read(what)
        except ConfigError as error:
            return None, error.problems
        except FedsecError as error:
            return None, [self.suite.problem(path, str(error))]
        if tree is not None and is_suite(tree.data):
            return None, [self.suite.problem(path, f"{show(name)} is a suite; name its scenarios instead")]
        return tree, problems

    def _held(self, path: TreePath, entry: dict[str, Any]) -> Tree:
        """A whole scenario that stands in the suite's own file."""
        lines = {known[len(path) :]: line for known, line in self.suite.lines.items() if known[: len(path)] == path}
        faulty = frozenset(known[len(path) :] for known in self.suite.faulty if known[: len(path)] == path)
        data = starting_at(entry, self.folder) if self.folder else entry
        whole = Tree(data, self.suite.source, lines, faulty)
        return replace(whole, overridden={(key,): self._origin((*path, key)) for key in entry})

    def _setting(self, path: TreePath, dotted: str, value: Any) -> Setting:
        """What an entry sets, its paths from the working directory."""
        keys = split_path(dotted)
        nested: Any = value
        for key in reversed(keys):
            nested = {key: nested}
        moved: Any = starting_at(nested, self.folder) if self.folder else nested
        for key in keys:
            moved = moved[key]
        return Setting(dotted, moved, self._origin((*path, dotted)))

    def _origin(self, path: TreePath) -> Origin:
        return Origin(self.suite, path)


def _told(suite: Tree, found: Sequence[_Found]) -> list[Problem]:
    """All problems once; one that what the suite or `--set` gives causes in some of its scenarios names these."""
    places: dict[Problem, list[int]] = {}
    for place, one in enumerate(found):
        for problem in one.problems:
            places.setdefault(problem, []).append(place)
    told, read = [], sum(one.read for one in found)
    for problem, own in places.items():
        shared = problem.source in (suite.source, "--set") and not problem.path.startswith("scenarios")
        where = f" (in scenarios{', '.join(f'[{place}]' for place in own)})" if shared and len(own) < read else ""
        told.append(problem._replace(message=f"{problem.message}{where}"))
    return told


def _repeated(members: Sequence[Scenario | None]) -> list[Finding]:
    """What has the name of another, by which results are told apart."""
    findings: list[Finding] = []
    names: dict[str, int] = {}
    for place, member in enumerate(members):
        if member is not None and names.setdefault(member.name, place) != place:
            message = f"the same name as scenarios[{names[member.name]}], {member.name}"
            findings.append((("scenarios", place), f"{message}; give one of them another: set: {{name: NAME}}"))
    return findings
