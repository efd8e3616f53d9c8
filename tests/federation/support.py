"""A small federation to test the loop with."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from fedsec.api import TrainingSettings
from fedsec.data.corpus import Corpus, Example
from fedsec.data.tokens import tokenise
from fedsec.federation.clients import Adversary
from fedsec.federation.loop import run
from fedsec.federation.outcome import Outcome
from fedsec.federation.parties import Federation, FederationSettings, MaliciousServer
from fedsec.federation.plugins import Plugin, Stack
from fedsec.federation.rounds import RoundStore
from fedsec.models import tiny_bert
from fedsec.models.flat import FlatModel
from fedsec.models.tuning import prepare
from fedsec.seeds import SeedTree

CLIENTS = 5
DELTA = TrainingSettings(update="delta", optimizer="sgd", learning_rate=0.1, local_steps=2, batch_size=3)
GRADIENT = TrainingSettings(update="gradient", optimizer="sgd", learning_rate=0.1, local_steps=1, batch_size=3)


def corpus() -> Corpus:
    """Sixty short texts of six classes."""
    words = ("chest", "knee", "lung", "skin", "head", "fever")
    rows = tuple(
        Example(f"patient with {words[i % 6]} pain since day {i}", i % 6, planted=(f"day {i}",)) for i in range(60)
    )
    return Corpus(rows[:50], rows[50:], words)


def federation(
    *,
    training: TrainingSettings = DELTA,
    stack: Sequence[Plugin] = (),
    attack: Plugin | None = None,
    malicious: frozenset[int] = frozenset({0}),
    server: Plugin | None = None,
    dropout: bool = False,
    **settings: Any,
) -> Federation:
    """Five clients with 5 to 15 texts each; `settings` are those of `FederationSettings`."""
    seeds, data = SeedTree(0), corpus()
    base = tiny_bert.load(labels=6, generator=seeds.torch("model"), width=16)
    module, setup = prepare(
        base.module, kind="full", rank=1, train_embeddings=True, dropout=dropout, generator=seeds.torch("adapters")
    )
    turn = partial(tokenise, tokenizer=base.tokenizer, max_tokens=32)
    defaults: dict[str, Any] = {
        "rounds": 2,
        "cohort": CLIENTS,
        "server_learning_rate": 1.0,
        "weighting": "uniform",
        "evaluate_every": 1,
        "declared_malicious": 0,
        "observe": frozenset(),
    }
    return Federation(
        model=FlatModel(module, setup),
        train=turn(data.train),
        test=turn(data.test),
        examples=data.train,
        tokenise=turn,
        tokenizer=base.tokenizer,
        rows=np.split(np.arange(50), [5, 15, 25, 40]),
        stack=Stack(tuple(stack)),
        adversary=None if attack is None else Adversary(clients=malicious, attack=attack),
        server=None if server is None else MaliciousServer(attack=server),
        settings=FederationSettings(training=training, **{**defaults, **settings}),
        seeds=seeds,
    )


def final(one: Federation, checkpoint: Any = None) -> tuple[Outcome, torch.Tensor]:
    """What came of it, and the trained parameters."""
    if checkpoint is not None:
        one.store = RoundStore(checkpoint.path.with_suffix(".rounds"))
    outcome = run(one, checkpoint)
    return outcome, one.model.values.clone()
