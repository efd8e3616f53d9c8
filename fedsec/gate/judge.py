"""From a run's folder to a verdict: what the command line and the pytest plug-in both do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedsec.config.load import load_scenario
from fedsec.config.schema import GateRule
from fedsec.config.suite import Suite, members_of
from fedsec.errors import BaselineError, FedsecError
from fedsec.gate.baseline import Baseline, make, read
from fedsec.gate.places import Place, first_known, places_of
from fedsec.gate.readings import Gated, Member, gated
from fedsec.gate.refuted import broken_promises
from fedsec.gate.verdict import Check, Verdict, settle


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """A run, and what its rules are about."""

    name: str
    """The scenario's, or the suite's."""
    path: Path
    """The run's folder."""
    record: Mapping[str, Any]
    members: tuple[Member, ...]
    rules: tuple[GateRule, ...]
    found: tuple[Gated, ...]
    places: tuple[Place | None, ...]
    """Of each rule."""
    refuted: tuple[Check, ...] = ()
    """Promises of privacy that a measurement refutes: they fail without a rule."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Gated cells without a value, each with the reason."""
        return tuple(f"{one.group.label}: {reason}" for one in self.found for reason in one.missing)

    @property
    def doubts(self) -> tuple[str, ...]:
        """What keeps values from showing what they seem to."""
        return tuple(f"{one.group.label}: {reason}" for one in self.found for reason in one.doubts)

    def baseline(self) -> Baseline:
        """The baseline that blessing the run makes; FedsecError if no rule asks for a comparison."""
        return make(self.name, self.record, self.members, self.found)


def look(
    path: Path, record: Mapping[str, Any], scorecard: Mapping[str, Any], contents: Sequence[Mapping[str, Any]]
) -> Looked:
    """What the rules of a run are about.

    Args:
        path: the run's folder.
        record: its record.json.
        scorecard: its scorecard.
        contents: its cell files, as the scorecard's cells.

    Raises:
        FedsecError: the run has no rules, or what ran cannot be read any more.
    """
    resolved = path / "scenario.resolved.yaml"
    loaded = load_scenario(resolved)
    rules: Sequence[GateRule] = loaded.gate
    if not rules:
        kind = "suite" if isinstance(loaded, Suite) else "scenario"
        raise FedsecError(
            f"the {kind} {loaded.name} has no gate: write what is demanded under `gate:`, such as {{metric: "
            "utility/accuracy, attack: none, defense: none, min: 0.8, tolerance: 0.05}, and run it again, which only "
            "takes the demands over (docs/gate.md)"
        )
    keys = {str(one["scenario"]): one["cells"] for one in record.get("members") or ()}
    members = tuple(Member(one, tuple(keys.get(one.name, record["cells"]))) for one in members_of(loaded))
    source = record.get("source")
    written = [] if source is None else [places_of(path / str(source), len(rules))]
    places = first_known(*written, places_of(resolved, len(rules)))
    found = gated(rules, members, scorecard, contents)
    return Looked(
        name=loaded.name,
        path=path,
        record=record,
        members=members,
        rules=tuple(rules),
        found=tuple(found),
        places=tuple(places),
        refuted=tuple(broken_promises(scorecard, loaded.name)),
    )


def judge(looked: Looked, baseline: Path | None, *, strict: bool = False) -> Verdict:
    """The verdict on a run beside a baseline; one that is missing or damaged is part of the verdict.

    Args:
        looked: the run.
        baseline: the baseline's file.
        strict: whether what is inconclusive fails.
    """
    known: Baseline | str | None = None
    if baseline is not None:
        try:
            known = read(baseline)
        except BaselineError as error:
            known = str(error)
    return settle(
        looked.name,
        looked.path.name,
        looked.rules,
        looked.found,
        known,
        record=looked.record,
        members=looked.members,
        places=looked.places,
        refuted=looked.refuted,
        strict=strict,
    )
