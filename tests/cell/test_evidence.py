"""What an adversary is handed to train models of its own, and whom the columns of its scores stand for."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from fedsec.api import Evidence, Knowledge, Sample
from fedsec.cell.evidence import Looked, check_untouched, evidence_of, secrets_of, seen_clients
from fedsec.cell.resources import Resources
from fedsec.cell.training import Trained, train
from fedsec.plan.cells import Cell, expand
from fedsec.testing import canned

SHORT = ("federation.rounds=2", "federation.local_steps=2", "federation.evaluate_every=2")


@pytest.fixture(autouse=True)
def _data() -> Iterator[None]:
    with canned.registered():
        yield


def _cell(attack: str, *overrides: str, knowledge: tuple[str, ...] = ()) -> Cell:
    cells = expand(canned.membership(attack, knowledge=knowledge, overrides=(*SHORT, *overrides)))
    return next(cell for cell in cells if cell.attack.name == attack)


def _trained(cell: Cell) -> Trained:
    return train(cell, frozenset(cell.rounds), Resources(), on_round=lambda _: None)


def _evidence(cell: Cell, trained: Trained, looked: Looked) -> Evidence:
    return evidence_of(cell, trained, secrets_of(cell, trained), trained.materials.candidates, looked)


def test_who_is_granted_the_base_model_can_train_by_the_clients_protocol_and_leaves_no_trace() -> None:
    cell = _cell("loss", knowledge=("base-model", "client-texts-distribution"))
    trained, looked = _trained(cell), Looked()
    shown = _evidence(cell, trained, looked)
    assert shown.simulate is not None
    assert shown.shadows is not None
    base = shown.granted[Knowledge.BASE_MODEL]
    samples = [Sample(one.text, one.label) for one in shown.question[:16]]
    end = shown.simulate(samples, base, steps=3, generator=torch.Generator().manual_seed(0))
    assert end.shape == base.shape
    assert not torch.equal(end, base)
    included = torch.arange(80)[None] % 2 == torch.arange(2)[:, None]
    assert shown.shadows(included, 0.9).shape == (2, len(base))
    people = shown.granted[Knowledge.CLIENT_TEXTS_DISTRIBUTION]
    texts = {row.text for row in trained.materials.part.train}
    assert people
    assert not texts & {one.text for one in people}
    check_untouched(cell, trained.around, looked, trained.frozen)
    bare = replace(_cell("loss"), seed=cell.seed)
    assert (_evidence(bare, trained, looked).simulate, _evidence(bare, trained, looked).shadows) == (None, None)


def test_the_columns_are_the_clients_whose_updates_are_seen_in_any_round() -> None:
    cell = _cell("gradient-cosine", "federation.clients_per_round=2", "threat.attack_rounds=all")
    trained = _trained(cell)
    cohorts = [trained.outcome.observed[number].clients for number in (1, 2)]
    assert seen_clients(cell, trained) == tuple(sorted({*cohorts[0], *cohorts[1]}))
    assert _evidence(cell, trained, Looked()).clients == seen_clients(cell, trained)
    assert seen_clients(_cell("loss"), trained) == ()
