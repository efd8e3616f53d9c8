"""Turns a tree into a scenario, or into everything that is wrong with it."""

from collections.abc import Iterable
from typing import Any

from fedsec.config.components import Finding
from fedsec.config.examine import examine
from fedsec.config.problems import ConfigError, Problem
from fedsec.config.schema import Scenario
from fedsec.config.tree import Tree, prefixes
from fedsec.config.valid import Look, no_look
from fedsec.config.vary import cell_findings, exemptions, normal, vary_findings


def check(tree: Tree, look: Look = no_look) -> tuple[Scenario | None, list[Problem]]:
    """The scenario in normal form, or None and all its problems.

    Args:
        tree: a scenario in the YAML form; what its reader found faulty is not reported again.
        look: looks at what the scenario names.
    """
    base = examine(tree.data, exempt=exemptions(tree.data), faulty=tree.faulty, look=look)
    findings = [*base.findings, *vary_findings(tree.data, base, tree.faulty, look)]
    scenario = base.scenario
    if scenario is not None and not findings:
        findings = cell_findings(scenario)
    problems = _problems(tree, findings)
    if scenario is None or problems or tree.faulty:
        return None, problems
    matrix = scenario.matrix.model_copy(update={"vary": normal(scenario.matrix.vary)})
    return scenario.model_copy(update={"matrix": matrix}), []


def checked(data: dict[str, Any], source: str, exempt: Iterable[str]) -> Scenario:
    """The scenario of data whose `vary` is known to be good; ConfigError if it has faults.

    Args:
        data: plain data in the YAML form.
        source: what problems call it.
        exempt: varied paths; what attacks ask of them is not checked.
    """
    outcome = examine(data, exempt=frozenset(exempt))
    if outcome.scenario is None or outcome.findings:
        raise ConfigError(_problems(Tree(data, source), outcome.findings))
    return outcome.scenario


def _problems(tree: Tree, findings: Iterable[Finding]) -> list[Problem]:
    told = [
        (path, message)
        for path, message in dict.fromkeys(findings)
        if not any(prefix in tree.faulty for prefix in prefixes(path))
    ]
    return [tree.problem(path, message) for path, message in told]
