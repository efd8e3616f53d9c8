"""Dropout: switched on where the scenario has it off, and nothing else is changed."""

from dataclasses import replace

import torch

from fedsec.api import ModelSetup, ParameterInfo, Role
from fedsec.cell.resources import Resources
from fedsec.defenses.model.dropout import Dropout
from fedsec.plan.cells import expand
from fedsec.testing import canned
from fedsec.testing.conduct import Subject


def test_only_dropout_is_changed() -> None:
    setup = ModelSetup((ParameterInfo("w", (2, 2), Role.HEAD),), frozenset({"w"}), dropout=False)
    assert Dropout().setup_model(setup) == replace(setup, dropout=True)
    assert Dropout().setup_model(replace(setup, dropout=True)) == replace(setup, dropout=True)


def _end(defense: str, dropout: str) -> torch.Tensor:
    """The trained model of one round."""
    changes = ["federation.rounds=1", "federation.local_steps=1", f"model.dropout={dropout}"]
    names = [] if defense == "none" else [defense]
    with canned.registered():
        cells = expand(canned.byzantine("none", defense, overrides=changes))
        (cell,) = [one for one in cells if [part.name for part in one.defense] == names]
        return Subject(cell, Resources(), defense).train().outcome.end


def test_a_federation_with_it_is_the_one_that_has_dropout_set() -> None:
    defended = _end("dropout", "false")
    assert torch.equal(defended, _end("none", "true"))
    assert torch.equal(defended, _end("dropout", "true"))
    assert not torch.equal(defended, _end("none", "false"))
