"""Privacy guarantees of stacks in sentences: the same ones in the terminal and in the report."""

from collections.abc import Mapping, Sequence
from typing import Any

from fedsec.comparison.rows import goal_of, refuted
from fedsec.report.findings import pursued
from fedsec.report.scorecard import settings_label

Row = Mapping[str, Any]


def promises(rows: Sequence[Row]) -> list[str]:
    """A sentence for each stack with mechanisms of differential privacy, and what the promises rest on."""
    told: dict[tuple[str, str], str] = {}
    assumed: dict[str, None] = {}
    for row in rows:
        sentence = promise(row.get("guarantee"))
        where = settings_label(row["settings"])
        if sentence and (where, row["defense"]) not in told:
            lead = f"{where}: " if where else ""
            told[where, row["defense"]] = f"{lead}{row['defense']} {sentence}"
            if isinstance(row["guarantee"].get("epsilon"), (int, float)):
                assumed.setdefault(str(row["guarantee"].get("assumes")))
    return [*told.values(), *(f"What is promised rests on this: {text}." for text in assumed)]


def refutations(rows: Sequence[Row]) -> list[str]:
    """A sentence for each row in which a measurement refutes what the ledger promises; none of these is a detail."""
    told = []
    for row in rows:
        card = goal_of(row)
        if card is None or not refuted(row):
            continue
        where = settings_label(row["settings"])
        clauses = "; ".join(pursued(card, row["metrics"]))
        told.append(f"{where}: " * bool(where) + f"{row['defense']} breaks its promise: {row['attack']} {clauses}.")
    return told


def promise(guarantee: object) -> str:
    """`promises epsilon ..`, or why nothing is promised; empty where no mechanism of differential privacy ran."""
    if not isinstance(guarantee, Mapping) or "epsilon" not in guarantee:
        return ""
    epsilon, void = guarantee["epsilon"], guarantee.get("void")
    if not isinstance(epsilon, (int, float)):
        reasons = "; ".join(map(str, void)) if isinstance(void, Sequence) and not isinstance(void, str) else str(void)
        return f"promises no privacy: {reasons}."
    against = guarantee.get("against")
    whom = ", ".join(map(str, against)) if isinstance(against, Sequence) else ""
    rdp = guarantee.get("epsilon_rdp")
    beside = f"; {rdp:.2f} by RDP" if isinstance(rdp, (int, float)) else ""
    return (
        f"promises epsilon {epsilon:.2f} at delta {guarantee.get('delta')} for each {guarantee.get('unit')} "
        f"({guarantee.get('accountant')} accountant{beside}; {guarantee.get('sampling')} batches) against {whom}."
    )
