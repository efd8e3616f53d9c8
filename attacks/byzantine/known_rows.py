"""What colluders know of a round's honest updates, and how they all send one crafted vector."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from fedsec.api import ColluderView, Knowledge, Update

CHUNK = 1 << 16
"""Columns at a time: 20 rows of this length take 10 MB in fp64."""


def knows_others(view: ColluderView) -> bool:
    """Return whether the colluders are given honest updates, and one of them at least is usable."""
    return Knowledge.BENIGN_UPDATES in view.granted and len(view.granted[Knowledge.BENIGN_UPDATES]) > 0


def known_rows(view: ColluderView) -> torch.Tensor:
    """Return the honest updates that the colluders use [known, parameters], fp32, read-only.

    What honest clients send, if `benign-updates` is granted; else the colluders' own honest updates, which are made
    as everybody's are. Rows with NaN or infinity are left out: the server refuses them.
    """
    rows = view.granted[Knowledge.BENIGN_UPDATES] if knows_others(view) else view.own_rows
    usable = rows.isfinite().all(dim=1)
    return rows if bool(usable.all()) else rows[usable]


def collude(update: Update, view: ColluderView, name: str, craft: Callable[[torch.Tensor], torch.Tensor]) -> Update:
    """Return the update with the vector that all colluders send in this round; its claimed examples stay honest.

    The first of them makes it and leaves it on the blackboard. If nothing usable is known, every one sends its own.

    Args:
        update: the client's honest one.
        view: its view.
        name: of the entry on the blackboard.
        craft: makes the vector [parameters], fp32, of the known rows [known, parameters].
    """
    noted = view.blackboard.get(name)
    if noted is None or noted["round"] != view.round:
        rows = known_rows(view)
        noted = {"round": view.round, "vector": craft(rows) if len(rows) else None}
        view.blackboard[name] = noted
    return update if noted["vector"] is None else replace(update, vector=noted["vector"].clone())


def mean_and_deviation(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and standard deviation of every coordinate [parameters] each, fp64.

    The deviation divides by the number of rows, as the official code of ALIE does; of one row it is 0.

    Args:
        rows: fp32 [known, parameters].
    """
    mean, deviation = torch.empty(2, rows.shape[1], dtype=torch.float64)
    for columns in slices(rows):
        block = rows[:, columns].double()  # [known, columns]
        mean[columns] = block.mean(dim=0)
        deviation[columns] = block.std(dim=0, correction=0)
    return mean, deviation


def norms(rows: torch.Tensor) -> torch.Tensor:
    """Return Euclidean norms [known], fp64."""
    squares = torch.zeros(len(rows), dtype=torch.float64)
    for columns in slices(rows):
        squares += rows[:, columns].double().square_().sum(dim=1)
    return squares.sqrt()


def slices(rows: torch.Tensor) -> Iterator[slice]:
    """Columns to take at a time."""
    for start in range(0, rows.shape[1], CHUNK):
        yield slice(start, min(start + CHUNK, rows.shape[1]))
