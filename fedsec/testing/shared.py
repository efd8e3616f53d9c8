"""What contract checks of one process share: federations and finished cells, by the content that they depend on.

Most checks hold a plug-in against something that has nothing to do with it: the undefended federation under the same
attack, the control. Keys are those by which a run's folder knows its cells (`fedsec.plan.keys`), sources of plug-ins,
data and weights included, so that nothing is taken for something else. Both stores are small. A check that fails has
the federations forgotten, whose models it may have spoilt; what cells came to is numbers and texts, and stays.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

from fedsec.cell.resources import Resources
from fedsec.cell.score import score
from fedsec.cell.training import Trained
from fedsec.plan.cells import Cell
from fedsec.plan.keys import cell_key, group_key
from fedsec.testing.conduct import KEY, Subject

MOST_TRAININGS, MOST_CELLS = 3, 64
_Kept = TypeVar("_Kept")
_trainings: OrderedDict[tuple[Any, ...], Trained] = OrderedDict()
_cells: OrderedDict[str, dict[str, Any]] = OrderedDict()


def forget_federations() -> None:
    """Empty the store of federations."""
    _trainings.clear()


def training(subject: Subject) -> Trained:
    """The subject's federation, if it may be shared: that of an attack which only looks, at rounds that are kept.

    Args:
        subject: the cell; one whose attack acts, or observes, is trained for itself.
    """
    cell = subject.cell
    if cell.acts or cell.observes:
        return subject.train()
    return _kept(_trainings, (group_key(cell), cell.rounds), MOST_TRAININGS, subject.federate).under(cell)


def content(cell: Cell, resources: Resources) -> dict[str, Any]:
    """The content of the cell's file.

    Args:
        cell: one that applies to its scenario.
        resources: what trainings share.
    """
    subject = Subject(cell, resources)
    return _kept(_cells, cell_key(cell), MOST_CELLS, lambda: score(cell, training(subject), KEY))


def _kept(store: "OrderedDict[Any, _Kept]", key: Any, most: int, make: Callable[[], _Kept]) -> _Kept:
    if key not in store:
        made = make()
        while len(store) >= most:
            store.popitem(last=False)
        store[key] = made
    store.move_to_end(key)
    return store[key]
