"""Selective encryption: who reads the part in the clear, and what an attack makes of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch

from fedsec import registry
from fedsec.api import Asset, RoundView
from fedsec.cell.evidence import Looked, round_view, secrets_of
from fedsec.cell.in_clear import clear_from, shown
from fedsec.cell.resources import Resources
from fedsec.cell.training import Trained, train
from fedsec.config.load import load_scenario
from fedsec.federation.transcript import Observed
from fedsec.plan.cells import Cell, expand
from fedsec.plan.visibility import visible
from fedsec.testing import canned, doubles

CLIENTS, ROUND, SHARE = 3, 2, 0.7
RESOURCES = Resources()


NEEDS = {
    "reads-rows": ("server-reads-rows", {Asset.ROWS, Asset.GLOBAL_MODEL}),
    "reads-sum": ("server-reads-sum", {Asset.AGGREGATE}),
    "reads-words": ("server-reads-sum", {Asset.AGGREGATE, Asset.WORD_EMBEDDINGS}),
    "reads-wire": ("eavesdropper", {Asset.AGGREGATE}),
}
"""Attacks like registered ones, with needs of their own."""


@contextmanager
def _registered() -> Iterator[None]:
    with doubles.registered(), canned.registered():
        for name, (like, needs) in NEEDS.items():
            card = registry.attacks().get(like)
            registry.attacks().register(replace(card, name=name, threat=replace(card.threat, needs=frozenset(needs))))
        try:
            yield
        finally:
            for name in NEEDS:
                registry.attacks().remove(name)


@pytest.fixture(autouse=True)
def _doubles() -> Iterator[None]:
    with _registered():
        yield


def _cell(attack: str, encrypted: float, *, keys: str = "authority", colluding: int = 0, tls: bool = True) -> Cell:
    scenario: dict[str, Any] = {
        "schema": 1,
        "name": "test/in-clear",
        "summary": "What crosses in the clear?",
        "model": {"name": "tiny-bert", "tuning": {"kind": "full"}, "width": 16, "layers": 1, "dropout": False},
        "data": {"name": "canned-words", "train": 30, "test": 10, "max_tokens": 16},
        "federation": {
            "clients": CLIENTS,
            "rounds": ROUND,
            "batch_size": 1,
            "learning_rate": 0.1,
            "update": "gradient",
            "tls": tls,
        },
        "threat": {"colluding": colluding, "attack_rounds": ROUND},
        "matrix": {"attack": [attack], "defense": [{"name": "he-bfv", "keys": keys, "encrypted": encrypted}]},
    }
    return next(one for one in expand(load_scenario(scenario)) if one.attack.name == attack and one.defense)


@pytest.fixture(scope="module")
def trained() -> Trained:
    """Embeddings encrypted, by an authority's key; who sees what of it does not change it."""
    with _registered():
        return train(_cell("reads-rows", SHARE), frozenset({ROUND}), RESOURCES, lambda _: None)


def _handed(cell: Cell, trained: Trained) -> tuple[RoundView, Observed]:
    observed = trained.outcome.observed[ROUND]
    return round_view(cell, trained.around, observed, secrets_of(cell, trained)[ROUND], Looked()), observed


def test_a_server_reads_what_is_left_open_and_no_more(trained: Trained) -> None:
    view, observed = _handed(_cell("reads-rows", SHARE), trained)
    layout = trained.model.layout
    start = layout.first(SHARE)
    assert 0 < start <= SHARE * layout.size
    names = [info.name for info in layout.parameters]
    assert list(view.encrypted) == names[: layout.offsets.index(start)]
    assert view.model.layout.size == layout.size - start
    assert not {info.name for info in view.model.layout.parameters} & set(view.encrypted)
    assert view.rows is not None
    assert torch.equal(view.rows, observed.rows[:, start:])
    assert view.aggregate is not None
    assert torch.allclose(view.aggregate, observed.rows[:, start:].mean(dim=0), atol=1e-7)
    part = view.model.layout
    for name in names[len(view.encrypted) :]:
        assert torch.equal(part.tensor(view.rows[0], name), layout.tensor(observed.rows[0], name))
    known = torch.cat([p.detach().flatten() for p in view.model.module.parameters() if p.requires_grad])
    assert len(known) == layout.size
    before, sent = trained.outcome.start, observed.start
    assert not torch.equal(before[:start], sent[:start])
    for info, at in zip(layout.parameters, layout.offsets, strict=True):
        expected = layout.tensor(before if at < start else sent, info.name)
        assert torch.equal(dict(view.model.module.named_parameters())[info.name].detach(), expected)


def test_the_messages_show_the_part_in_the_clear_and_nothing_of_the_rest(trained: Trained) -> None:
    view, observed = _handed(_cell("reads-rows", SHARE), trained)
    start, size = trained.model.layout.first(SHARE), 4 * (trained.model.layout.size - trained.model.layout.first(SHARE))
    uploads = [m for m in view.messages if m.stage == "encrypt" and m.sender >= 0]
    assert len(uploads) == CLIENTS
    for one in uploads:
        row = observed.rows[observed.clients.index(one.sender)]
        assert one.content[:size] == row[start:].numpy().astype("<f4").tobytes()
        largest = int(row[:start].abs().argmax())
        assert row[largest : largest + 1].numpy().tobytes() not in one.content[size:]
    assert observed.upload_bytes < 15.3 * start + size + 4 * 4096 * 4


def test_what_an_attack_needs_decides_whether_it_is_blocked(trained: Trained) -> None:
    setup = shown(_cell("reads-rows", SHARE), trained.model)
    sight = _cell("reads-rows", SHARE).sight(in_clear=True)
    assert sight == {Asset.ROWS, Asset.AGGREGATE, Asset.GLOBAL_MODEL}  # not the released model
    assert Asset.WORD_EMBEDDINGS not in visible(sight, setup)
    assert {Asset.ATTENTION_INPUTS, Asset.QUERY_UPDATES} <= visible(sight, setup)
    layout = trained.model.layout
    above = layout.offsets[-2]  # of the head
    only = replace(trained.model.setup, trainable=frozenset(info.name for info in layout.after(above).parameters))
    assert not {Asset.ATTENTION_INPUTS, Asset.QUERY_UPDATES} & visible(sight, only)
    assert Asset.WORD_EMBEDDINGS in visible(sight, trained.model.setup)
    assert _cell("reads-rows", 1.0).sight(in_clear=False) == frozenset()


@pytest.mark.parametrize(
    ("attack", "settings"),
    [
        ("key-holder-reads", {}),
        ("curious-client", {}),
        ("reads-rows", {"keys": "shared", "colluding": 1}),
        ("reads-rows", {"encrypted": 1.0}),
        ("eavesdropper", {}),
    ],
)
def test_who_reads_whole_updates_or_none_is_shown_no_part(
    attack: str, settings: dict[str, Any], trained: Trained
) -> None:
    cell = _cell(attack, **{"encrypted": SHARE, **settings})
    assert clear_from(cell, trained.model) == 0
    assert shown(cell, trained.model) == trained.model.setup


def test_the_authority_reads_every_update_that_it_is_to_add_up(trained: Trained) -> None:
    cell = _cell("key-holder-reads", SHARE)
    assert Asset.ROWS in cell.sight()
    view, observed = _handed(cell, trained)
    assert view.clients == observed.clients
    assert view.rows is not None
    assert torch.equal(view.rows, observed.rows)


def test_an_eavesdropper_without_tls_reads_the_part_too(trained: Trained) -> None:
    view, _ = _handed(_cell("reads-wire", SHARE, tls=False), trained)
    assert view.rows is not None
    assert view.encrypted


def test_the_whole_sum_is_attacked_where_the_part_does_not_do(trained: Trained) -> None:
    """A client that colludes with the server shows it the step of the whole model."""
    assert clear_from(_cell("reads-words", SHARE), trained.model) > 0
    assert clear_from(_cell("reads-sum", SHARE, colluding=1), trained.model) > 0
    helped = _cell("reads-words", SHARE, colluding=1)
    assert clear_from(helped, trained.model) == 0
    view, observed = _handed(helped, trained)
    assert view.rows is None
    assert view.aggregate is not None
    assert torch.allclose(view.aggregate, observed.rows.mean(dim=0), atol=1e-5)
