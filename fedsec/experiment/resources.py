"""What cells share: corpora and base models as they are loaded, and the federation built from them for one cell."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from fedsec import registry
from fedsec.api import Population, TrainingSettings
from fedsec.config.schema import Component, Scenario
from fedsec.data.corpus import Corpus
from fedsec.data.partition import dirichlet, iid
from fedsec.data.tokens import Tokenised, tokenise
from fedsec.experiment.plan import Cell
from fedsec.federation.plugins import Plugin
from fedsec.models.base import BaseModel, load_pretrained
from fedsec.models.frozen_encoder import Output, Tokens, encode
from fedsec.seeds import SeedTree
from fedsec.store.keys import digest

ENCODINGS_KEPT = 4
"""Sets of a frozen encoder's outputs in memory: a few seeds."""


@dataclass(slots=True)
class Resources:
    """What cells share: each corpus is loaded once, and a frozen encoder runs once per text."""

    _corpora: dict[str, Corpus] = field(default_factory=dict)
    _encodings: dict[str, dict[Tokens, Output] | None] = field(default_factory=dict)

    def corpus(self, scenario: Scenario) -> Corpus:
        """The whole corpus that the scenario names."""
        data = scenario.data
        key = data.name or str(data.path)
        if key not in self._corpora:
            self._corpora[key] = _load_corpus(data.name, data.path)
        return self._corpora[key]

    def encodings(
        self, cell: Cell, module: nn.Module, splits: tuple[Tokenised, Tokenised], pad_id: int
    ) -> dict[Tokens, Output] | None:
        """A frozen encoder's outputs for the cell's texts; cells of the same model, data and seed share them."""
        key = digest([cell.scenario.model_dump(mode="json", include={"model", "data"}), cell.seed])
        if key not in self._encodings:
            while len(self._encodings) >= ENCODINGS_KEPT:
                del self._encodings[next(iter(self._encodings))]
            self._encodings[key] = encode(module, splits, pad_id)
        return self._encodings[key]


def load_model(scenario: Scenario, labels: int, seeds: SeedTree) -> BaseModel:
    """The scenario's base model with a new head."""
    name, generator = scenario.model.name, seeds.torch("model")
    if name in registry.models():
        load = registry.load_target(registry.models().get(name))
        loaded: BaseModel = load(labels=labels, generator=generator, **scenario.model.params)
        return loaded
    return load_pretrained(name, labels=labels, generator=generator)


def split(scenario: Scenario, corpus: Corpus, tokenizer: Any, seeds: SeedTree) -> tuple[Corpus, Tokenised, Tokenised]:
    """The cell's part of the corpus, and both splits tokenised."""
    part = corpus.subset(scenario.data.train, scenario.data.test, seeds.numpy("subset"))
    longest = scenario.data.max_tokens
    return part, tokenise(part.train, tokenizer, longest), tokenise(part.test, tokenizer, longest)


def deal(scenario: Scenario, train: Tokenised, seeds: SeedTree) -> list[np.ndarray]:
    """Row numbers of each client."""
    partition, clients = scenario.data.partition, scenario.federation.clients
    generator = seeds.numpy("partition")
    if partition.kind == "iid":
        return iid(len(train.labels), clients, partition.minimum, generator)
    return dirichlet(train.labels, clients, partition.alpha, partition.minimum, generator)


def training_settings(scenario: Scenario) -> TrainingSettings:
    """The protocol as the server hands it out."""
    federation = scenario.federation
    return TrainingSettings(
        update=federation.update,
        optimizer=federation.optimizer,
        learning_rate=federation.learning_rate,
        local_steps=federation.local_steps,
        batch_size=federation.batch_size,
    )


def attack_plugin(component: Component) -> Plugin:
    """An attack with its parameters bound."""
    card = registry.attacks().get(component["name"])
    return Plugin(card.label(component["params"]), partial(registry.load_target(card), **component["params"]))


def defense_plugin(component: Component) -> Plugin:
    """A defense with its parameters and precondition bound."""
    card = registry.defenses().get(component["name"])
    params = component["params"]
    check = card.precondition

    def precondition(population: Population) -> str | None:
        return check(population, params) if check else None

    return Plugin(card.label(params), partial(registry.load_target(card), **params), precondition)


def _load_corpus(name: str | None, path: str | None) -> Corpus:
    if name is None:
        from fedsec.data.named import load_path

        return load_path(Path(str(path)))
    card = registry.datasets().get(name)
    load = registry.load_target(card)
    corpus: Corpus = load(card)
    return corpus
