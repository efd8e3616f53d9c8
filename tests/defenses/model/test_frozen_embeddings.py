"""Frozen embeddings: the whole embedding block leaves the update, and nothing else does."""

from collections.abc import Iterator

import pytest
import torch

from fedsec import registry
from fedsec.api import ModelSetup, Role, TrainingSettings, implements
from fedsec.data.corpus import Example
from fedsec.data.tokens import collate, tokenise
from fedsec.defenses.model.frozen_embeddings import FrozenEmbeddings
from fedsec.models import tiny_bert
from fedsec.models.base import BaseModel
from fedsec.models.flat import FlatModel
from fedsec.models.local import LocalTrainer
from fedsec.models.tuning import prepare
from fedsec.seeds import SeedTree

BLOCK = {Role.WORD_EMBEDDING, Role.POSITION_EMBEDDING, Role.EMBEDDING}


@pytest.fixture
def base() -> Iterator[BaseModel]:
    """A small model."""
    return tiny_bert.load(labels=2, generator=SeedTree(0).torch("model"), layers=2, width=32)


def _setup(base: BaseModel, kind: str = "full", *, embeddings: bool = True) -> ModelSetup:
    return prepare(
        base.module,
        kind=kind,
        rank=2,
        train_embeddings=embeddings,
        dropout=True,
        generator=SeedTree(0).torch("adapters"),
    )[1]


@pytest.mark.parametrize("kind", ["full", "head", "lora"])
def test_exactly_the_embedding_block_is_taken_out(kind: str, base: BaseModel) -> None:
    setup = _setup(base, kind)
    defended = FrozenEmbeddings().setup_model(setup)
    roles = {p.name: p.role for p in setup.parameters}
    assert {roles[name] for name in setup.trainable - defended.trainable} == BLOCK
    assert not BLOCK & {roles[name] for name in defended.trainable}
    assert defended.trainable < setup.trainable
    assert (defended.parameters, defended.dropout) == (setup.parameters, setup.dropout)


def test_no_embedding_module_has_a_trained_parameter(base: BaseModel) -> None:
    """Asked of the model rather than of the roles."""
    FlatModel(base.module, FrozenEmbeddings().setup_model(_setup(base)))
    embeddings = list(base.module.bert.embeddings.parameters())  # type: ignore[union-attr, operator]
    assert not any(parameter.requires_grad for parameter in embeddings)
    rest = len(list(base.module.parameters())) - len(embeddings)
    assert sum(parameter.requires_grad for parameter in base.module.parameters()) == rest


def test_where_nothing_of_the_block_is_trained_nothing_changes(base: BaseModel) -> None:
    setup = _setup(base, "lora", embeddings=False)
    assert FrozenEmbeddings().setup_model(setup) == setup


def test_the_defense_twice_is_the_defense_once(base: BaseModel) -> None:
    once = FrozenEmbeddings().setup_model(_setup(base))
    assert FrozenEmbeddings().setup_model(once) == once


def test_what_is_still_sent_is_the_undefended_gradient_less_the_block(base: BaseModel) -> None:
    """The defense hides a part of the gradient; it does not change the rest of it."""
    settings = TrainingSettings(update="gradient", optimizer="sgd", learning_rate=0.1, local_steps=1, batch_size=2)
    data = tokenise([Example("chest pain", 0), Example("a sore knee", 1)], base.tokenizer, 16)
    batch = collate(data, [0, 1], base.tokenizer.pad_token_id)
    setup = _setup(base)
    rows = []
    for chosen in (setup, FrozenEmbeddings().setup_model(setup)):
        flat = FlatModel(base.module, chosen)
        out = torch.empty(flat.layout.size)
        LocalTrainer(flat, settings, dropout=False).update(flat.values.clone(), [batch], out, torch.Generator())
        rows.append((flat.layout, out))
    (whole_layout, whole), (layout, part) = rows
    for info in layout.parameters:
        assert torch.equal(layout.tensor(part, info.name), whole_layout.tensor(whole, info.name))
    hidden = whole_layout.find(Role.WORD_EMBEDDING)[0]
    assert whole_layout.tensor(whole, hidden.name).any()
    with pytest.raises(KeyError):
        layout.tensor(part, hidden.name)


def test_the_card_builds_it() -> None:
    card = registry.defenses().get("frozen-embeddings")
    assert implements(registry.load_target(card)(), "setup_model")
    assert not card.is_rule
    assert card.guarantee is None
