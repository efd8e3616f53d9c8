"""Controls of a suite that nothing is compared with, as no attack of theirs meets the defense. Imports no torch."""

from collections.abc import Sequence

from fedsec.plan.cells import NONE, Cell, refusal
from fedsec.plan.tasks import Member, Task


def idle_controls(planned: Sequence[Member]) -> dict[str, str]:
    """Why controls of a suite need no training, by their cells' keys; none in a scenario that runs by itself.

    A suite asks what a defense does against attacks, and at what price. Where each attack of a scenario refuses a
    defense beforehand, the scenario says nothing of that defense, and its price is measured where it is attacked.

    Args:
        planned: the scenarios; a control that several have in common is idle only if it is in all of them.
    """
    if len(planned) < 2:
        return {}
    wanted: set[str] = set()
    found: dict[str, str] = {}
    for member in planned:
        for task in member.tasks:
            reason = _idle(task, member.tasks)
            if reason is None:
                wanted.add(task.key)
            else:
                found.setdefault(task.key, reason)
    return {key: reason for key, reason in found.items() if key not in wanted}


def _idle(task: Task, others: Sequence[Task]) -> str | None:
    cell = task.cell
    if cell.attack.name != NONE or not cell.defense:
        return None
    attacks = [
        one.cell
        for one in others
        if one.cell.attack.name != NONE
        and (one.cell.defense, one.cell.seed, one.cell.settings) == (cell.defense, cell.seed, cell.settings)
    ]
    if not attacks or not all(map(_refused, attacks)):
        return None
    name = cell.scenario.name
    return f"no attack of {name} applies to {cell.defense_label}: its price is measured where it is attacked"


def _refused(cell: Cell) -> bool:
    """Whether a cell does not apply; one whose plug-in fails is in error, and its control is wanted."""
    try:
        return refusal(cell) is not None
    except Exception:
        return False
