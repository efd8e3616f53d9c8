"""What no rule has to ask for: a measurement that refutes what a ledger promises fails every gate."""

from collections.abc import Mapping
from typing import Any

from fedsec import registry
from fedsec.api import BetterFor
from fedsec.comparison.align import canonical
from fedsec.comparison.rows import refuted
from fedsec.gate.verdict import Check, Outcome
from fedsec.report.guarantees import refutations

RULE = "no promise of a ledger is refuted"


def broken_promises(scorecard: Mapping[str, Any], scenario: str) -> list[Check]:
    """A failed check for each row of a scorecard in which a promise is refuted.

    Args:
        scorecard: of the run.
        scenario: the run's, or the suite's; rows of a suite name their own.
    """
    return [_check(row, scenario) for row in scorecard["summary"] if refuted(row)]


def _check(row: Mapping[str, Any], scenario: str) -> Check:
    metric = registry.goals().get(str(row["goal"])).refutes
    own, value = str(row.get("scenario", scenario)), row["metrics"][metric]
    settings = "".join(f" {path}={value}" for path, value in sorted(row["settings"].items()))
    name = f"{metric}/{row['attack']}/{row['defense']}{settings}"
    return Check(
        name=f"{own}: {name}" if "scenario" in row else name,
        rule=RULE,
        identity=canonical((own, metric, row["attack"], row["defense"], row["settings"])),
        outcome=Outcome.FAILED,
        reasons=tuple(refutations([row])),
        scenario=own,
        metric=metric,
        attack=row["attack"],
        defense=row["defense"],
        settings=row["settings"],
        unit=value["unit"],
        better_for=BetterFor(value["better_for"]),
        value=value["value"],
        ci_low=value["ci_low"],
        ci_high=value["ci_high"],
    )
