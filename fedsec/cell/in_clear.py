"""Selective encryption: the part of updates that an attack is shown where the rest crosses as ciphertexts."""

from dataclasses import replace

import torch

from fedsec.api import ModelSetup, Position
from fedsec.models.flat import FlatModel
from fedsec.plan.cells import Cell
from fedsec.plan.visibility import visible


def clear_from(cell: Cell, model: FlatModel) -> int:
    """Return the entry from which on an attack is shown updates; 0 where it is shown them whole, or not at all.

    Who reads the part in the clear may learn the whole sum besides, from a client that colludes or from the model on
    the wire. It then attacks the sum where that part does not show it what it needs.

    Args:
        cell: says the attack, its position and the defenses.
        model: what is trained under them.
    """
    if cell.threat is None or cell.encrypted >= 1.0:
        return 0
    colluding = cell.attack_position == Position.SERVER and cell.scenario.threat.colluding > 0
    whole, clear = (cell.sight(colluding=colluding, in_clear=part) for part in (False, True))
    start, needs = model.layout.first(cell.encrypted), cell.threat.needs
    if clear == whole or start == model.layout.size:
        return 0
    told = needs <= visible(whole, model.setup) and not needs <= visible(clear, _without(model, start))
    return 0 if told else start


def encrypted(model: FlatModel, start: int) -> tuple[str, ...]:
    """Return the names of the trained tensors that lie before an entry."""
    layout = model.layout
    return tuple(info.name for info, at in zip(layout.parameters, layout.offsets, strict=True) if at < start)


def shown(cell: Cell, model: FlatModel) -> ModelSetup:
    """Return the setup with those tensors trained whose updates an attack is shown."""
    return _without(model, clear_from(cell, model))


def known_model(before: torch.Tensor | None, sent: torch.Tensor, start: int) -> torch.Tensor:
    """Return the broadcast parameters as far as an attack knows them [parameters].

    Args:
        before: the parameters before training [parameters], which stand in for those that are encrypted; None where
            none are.
        sent: those that were broadcast [parameters].
        start: the entry from which on they are known.
    """
    return sent if before is None or not start else torch.cat([before[:start], sent[start:]])


def _without(model: FlatModel, start: int) -> ModelSetup:
    return replace(model.setup, trainable=model.setup.trainable - frozenset(encrypted(model, start)))
