"""Builds what a curious server sees of clients that train on given texts."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from fedsec.api import Knowledge, PublicModel, Reconstruction, ServerView, TrainingSettings, Work
from fedsec.data.corpus import Example
from fedsec.data.tokens import collate, content_ids, tokenise
from fedsec.models import tiny_bert, tuning
from fedsec.models.base import BaseModel
from fedsec.models.flat import FlatModel
from fedsec.models.local import LocalTrainer
from fedsec.seeds import SeedTree

SEEDS = SeedTree(0)


class Countdown(Work):
    """A time that is over when it was looked at so many times.

    Args:
        looks: at which some is left.
    """

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def seconds_left(self) -> float:
        self.looks -= 1
        return float(max(0, self.looks + 1))


class Lab:
    """One resident model, and views of rounds on it.

    Args:
        base: the base model.
        train_embeddings: whether the embedding block is trained.
    """

    def __init__(self, base: BaseModel, *, train_embeddings: bool = True) -> None:
        module, setup = tuning.prepare(
            base.module,
            kind="full",
            rank=0,
            train_embeddings=train_embeddings,
            dropout=False,
            generator=SEEDS.torch("tuning"),
        )
        self.tokenizer = base.tokenizer
        self.flat = FlatModel(module, setup)

    def view(
        self,
        clients: Sequence[Sequence[str]],
        *,
        update: str = "gradient",
        optimizer: str = "sgd",
        learning_rate: float = 0.1,
        dropout: bool = False,
        noise: float = 0.0,
        granted: Mapping[Knowledge, Any] | None = None,
        seed: int = 0,
    ) -> ServerView:
        """A round in which each client trains one step on its texts; `noise` is relative to each row's norm."""
        settings = TrainingSettings(
            update=update,
            optimizer=optimizer,
            learning_rate=learning_rate,
            local_steps=1,
            batch_size=max(len(texts) for texts in clients),
        )
        trainer = LocalTrainer(self.flat, settings, dropout=dropout)
        start = self.flat.values.clone()
        rows = torch.empty(len(clients), self.flat.layout.size)
        seeds = SeedTree(seed)
        for client, texts in enumerate(clients):
            data = tokenise([Example(text, i % 2) for i, text in enumerate(texts)], self.tokenizer, 64)
            batch = collate(data, range(len(texts)), self.tokenizer.pad_token_id)
            trainer.update(start, [batch], rows[client], seeds.torch("dropout", client=client))
            if noise:
                raw = torch.randn(rows.shape[1], generator=seeds.torch("noise", client=client))
                rows[client] += raw * (noise * rows[client].norm() / raw.norm())
        self.flat.load(start)
        return server_view(self.flat, self.tokenizer, rows, settings, granted or {}, seeds.torch("attack"))

    def truth(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Each text's content ids."""
        return [content_ids(ids, self.tokenizer) for ids in self.tokenizer(list(texts))["input_ids"]]


def server_view(
    flat: FlatModel,
    tokenizer: Any,
    rows: torch.Tensor,
    settings: TrainingSettings,
    granted: Mapping[Knowledge, Any],
    generator: torch.Generator,
) -> ServerView:
    """What a curious server sees of these rows [clients, parameters], a client each; the model is what it sent."""
    flat.module.eval()
    clients = tuple(range(len(rows)))
    return ServerView(
        round=1,
        cohort=clients,
        clients=clients,
        upload_bytes=4 * rows.shape[1],
        rows=rows,
        aggregate=rows.mean(dim=0),
        model=PublicModel(module=flat.module, tokenizer=tokenizer, layout=flat.layout),
        training=settings,
        granted=granted,
        generator=generator,
    )


def tiny_lab(*, layers: int = 2, width: int = 64, train_embeddings: bool = True) -> Lab:
    """A lab on a random tiny BERT."""
    base = tiny_bert.load(labels=2, generator=SEEDS.torch("model"), layers=layers, width=width)
    return Lab(base, train_embeddings=train_embeddings)


def exact(found: Sequence[Reconstruction], truth: Sequence[tuple[int, ...]]) -> int:
    """How many of the true texts are among the claims, each claim counted once."""
    left = [claim.tokens for claim in found]
    hits = 0
    for tokens in truth:
        if tokens in left:
            left.remove(tokens)
            hits += 1
    return hits


def assert_only_looks(attack: Any, flat: FlatModel, view: ServerView, again: ServerView) -> None:
    """Two equal views give the same claims, and neither rows, model nor the global generator change."""
    assert view.rows is not None
    rows, weights, state = view.rows.clone(), flat.values.clone(), torch.get_rng_state()
    assert attack.reconstruct(view) == attack.reconstruct(again)
    assert torch.equal(rows, view.rows)
    assert torch.equal(weights, flat.values)
    assert torch.equal(state, torch.get_rng_state())
    assert not flat.module.training
    assert not any(part._forward_pre_hooks or part._forward_hooks for part in flat.module.modules())


def cola_texts() -> list[str]:
    """The training sentences of CoLA, or a skip where the corpus is absent."""
    root = os.environ.get("FEDSEC_DATA")
    path = Path(root or "/nonexistent") / "cola" / "train.jsonl"
    if not path.is_file():
        pytest.skip("CoLA is not on this machine (FEDSEC_DATA is unset or holds no cola/train.jsonl)")
    with path.open(encoding="utf-8") as stream:
        return [json.loads(line)["text"] for line in stream]
