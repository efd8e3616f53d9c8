"""Checks of models and data sets."""

import sys
from typing import Any

import torch

from fedsec import registry
from fedsec.api import DatasetCard, ModelCard
from fedsec.data.corpus import Corpus
from fedsec.models.base import BaseModel
from fedsec.models.flat import FlatModel
from fedsec.models.tuning import prepare
from fedsec.seeds import SeedTree
from fedsec.testing.conduct import require

_LABELS = 3


def check_loading(card: ModelCard) -> None:
    """Two loads from one seed are the same model, one from another seed is not; its flat vector holds the trainables.

    Args:
        card: a registered model.
    """
    before = torch.get_rng_state()
    (first, vector), (_, again), (_, other) = (_flat(card, seed) for seed in (0, 0, 1))
    require(torch.equal(torch.get_rng_state(), before), f"{card.name} draws from torch's global generator")
    require(torch.equal(vector, again), f"{card.name}: two loads from the same generator differ")
    require(not torch.equal(vector, other), f"{card.name}: the generator changes nothing; a new head comes from it")
    noise = torch.randn(vector.shape, generator=SeedTree(0).torch("noise"))
    first.load(noise)
    require(torch.equal(first.snapshot(), noise), f"{card.name}: its flat vector does not come back")


def _flat(card: ModelCard, seed: int) -> tuple[FlatModel, torch.Tensor]:
    told = {"task": card.tasks[0]} if len(card.tasks) > 1 else {}
    generator, parameters = SeedTree(seed).torch("model"), card.resolve({})
    base = registry.load_target(card)(labels=_LABELS, generator=generator, **told, **parameters)
    require(isinstance(base, BaseModel), f"{card.name}: its target returns no BaseModel")
    require(base.tokenizer.pad_token_id is not None, f"{card.name}: its tokenizer has no padding token")
    adapters = SeedTree(seed).torch("adapters")
    module, setup = prepare(base.module, kind="full", rank=1, train_embeddings=True, dropout=False, generator=adapters)
    model = FlatModel(module, setup)
    return model, model.snapshot()


def check_corpus(card: DatasetCard) -> None:
    """Two loads are the same texts, both splits have some, and labels are numbers of the card's names.

    Args:
        card: a registered data set whose target takes the card alone.
    """
    require(card.columns is None, f"{card.name} is read from files; give its target a small folder and test that")
    load = registry.load_target(card)
    first = load(card)
    _forget(load)
    second = load(card)
    require(isinstance(first, Corpus), f"{card.name}: its target returns no Corpus")
    require(first == second, f"{card.name}: two loads differ")
    require(bool(first.train and first.test), f"{card.name}: a split is empty")
    require(first.labels == card.labels, f"{card.name}: labels {first.labels} are not the card's {card.labels}")
    sizes = (len(first.train), len(first.test))
    require(card.rows in (None, sizes), f"{card.name}: its card says {card.rows} rows, and it has {sizes}")
    rows = (*first.train, *first.test)
    odd = sorted({row.label for row in rows} - set(range(max(1, len(card.labels)))))
    require(not odd, f"{card.name}: labels {odd[:3]} have no name on the card")
    require(all(row.text.strip() for row in rows), f"{card.name}: a text is empty")


def _forget(target: Any) -> None:
    """Clear what functions of the target's module keep of earlier calls."""
    for one in vars(sys.modules[target.__module__]).values():
        if callable(clear := getattr(one, "cache_clear", None)):
            clear()
