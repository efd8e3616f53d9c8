"""Resources that cells share: corpora and base models as loaded, and the federation built from them for one cell."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import nn

from fedsec import registry
from fedsec.api import Population, Sample, TrainingSettings
from fedsec.cell.pool import Pool
from fedsec.config.dump import dump
from fedsec.config.problems import render
from fedsec.config.schema import Auxiliary, Component, Data, LanguageModel, Scenario
from fedsec.config.valid import Valid
from fedsec.data.classes import classes_of
from fedsec.data.corpus import Corpus, Example
from fedsec.data.named import load_corpus
from fedsec.data.partition import by_column, dirichlet, group_column, iid, quantity_skew
from fedsec.data.reading import Reading
from fedsec.data.tokens import Tokenised, tokenise, tokenise_causal, truncated
from fedsec.errors import FedsecError
from fedsec.federation.plugins import Plugin
from fedsec.federation.process_pool import ProcessPool
from fedsec.models.base import CAUSAL_LM, BaseModel, load_pretrained, positions_of
from fedsec.models.frozen_encoder import Output, Tokens, encode
from fedsec.models.perplexity import Perplexities
from fedsec.plan.cells import Cell
from fedsec.plan.fit import AUXILIARY_SOURCE, facts_of, misfits
from fedsec.seeds import SeedTree
from fedsec.store.keys import digest

_LONGEST = 1_000_000
"""Maximum length in tokens of a text that is not to be truncated."""
ENCODINGS_KEPT = 4
"""Number of frozen encoders' outputs, and of starts from public rows, that are kept in memory: a few seeds."""


@dataclass(slots=True)
class Resources:
    """Resources that cells share: each corpus is loaded once, and a frozen encoder runs once per text."""

    device: str = "cpu"
    """Device of the models: `cpu` or `cuda`."""
    processes: ProcessPool = field(default_factory=ProcessPool)
    """Trains clients side by side."""
    starts: dict[str, torch.Tensor] = field(default_factory=dict)
    """Parameters that this process trained before a federation, or read: starts, and supplied base models."""
    told: set[str] = field(default_factory=set)
    """What has been said of corpora."""
    scorers: dict[str, Perplexities] = field(default_factory=dict)
    """Language models that defenses are granted, with the texts that they scored."""
    _corpora: dict[str, Corpus | FedsecError] = field(default_factory=dict)
    _encodings: dict[str, dict[Tokens, Output] | None] = field(default_factory=dict)

    def keep_start(self, key: str, start: torch.Tensor) -> None:
        """Keep parameters that a federation starts from [parameters]; at most a few."""
        while len(self.starts) >= ENCODINGS_KEPT:
            del self.starts[next(iter(self.starts))]
        self.starts[key] = start

    def corpus(self, scenario: Scenario) -> Corpus:
        """Return the whole corpus that the scenario names.

        Raises:
            FedsecError: it cannot be loaded, which is not tried twice, or does not go with the scenario.
        """
        data = scenario.data
        subset = {"train", "test", "max_tokens", "language_model"}
        key = digest([data.model_dump(mode="json", exclude=subset | {"partition"}), group_column(data)])
        found = self._loaded(key, data)
        for path, message in misfits(Valid(dump(scenario), ()), facts_of(found)):
            raise FedsecError(f"{render(path)}{' ' if message[0].isdigit() else ': '}{message}")
        return found

    def about(self, scenario: Scenario) -> tuple[str, ...]:
        """What whoever runs it should know of the scenario's corpus: its classes, if they are learnt; each once."""
        classes = None if scenario.model.task == CAUSAL_LM else classes_of(self.corpus(scenario))
        lines = [] if classes is None else [f"data: {classes.in_words()}", classes.doubt()]
        new = tuple(line for line in lines if line is not None and line not in self.told)
        self.told.update(new)
        return new

    def auxiliary(self, scenario: Scenario) -> tuple[Example, ...]:
        """Return the training rows of the scenario's auxiliary text; FedsecError if they cannot be loaded."""
        return self._public(scenario.threat.auxiliary, "threat.auxiliary")

    def public_language(self, scenario: Scenario) -> tuple[Example, ...]:
        """Return the training rows of the text that defenses are granted; FedsecError if they cannot be loaded."""
        return self._public(scenario.data.language_model, "data.language_model")

    def _public(self, given: Auxiliary | LanguageModel, section: str) -> tuple[Example, ...]:
        source = given.model_dump(include=set(AUXILIARY_SOURCE))
        return self._loaded(digest([section, source]), Data(**source), Reading(section=section)).train

    def _loaded(self, key: str, data: Data, how: Reading = Reading()) -> Corpus:  # noqa: B008  -- it is frozen
        if key not in self._corpora:
            try:
                self._corpora[key] = load_corpus(data, how).of_words(data.min_words)
            except FedsecError as error:
                self._corpora[key] = error
        found = self._corpora[key]
        if isinstance(found, FedsecError):
            raise found.with_traceback(None)
        return found

    def encodings(
        self, cell: Cell, module: nn.Module, splits: tuple[Tokenised, Tokenised], drawn: np.ndarray, pad_id: int
    ) -> dict[Tokens, Output] | None:
        """Return a frozen encoder's outputs for the cell's texts, shared by cells of equal model, data, seed and rows.

        Args:
            cell: the cell.
            module: its model.
            splits: the training rows that are drawn, and the test rows.
            drawn: numbers of the training rows.
            pad_id: padding token.
        """
        inputs = cell.scenario.model_dump(mode="json", include={"model", "data"})
        supplied = cell.attack.model_dump() if cell.supplies else None  # another base model
        key = digest([inputs, cell.seed, sha256(drawn.tobytes()).hexdigest(), supplied])
        if key not in self._encodings:
            while len(self._encodings) >= ENCODINGS_KEPT:
                del self._encodings[next(iter(self._encodings))]
            self._encodings[key] = encode(module, splits, pad_id)
        return self._encodings[key]


def load_model(scenario: Scenario, labels: int, seeds: SeedTree) -> BaseModel:
    """Return the scenario's base model with a new head; FedsecError if task or text length do not fit it."""
    model, generator = scenario.model, seeds.torch("model")
    if model.name in registry.models():
        card = registry.models().get(model.name)
        if model.task not in card.tasks:
            raise FedsecError(f"'{card.name}' cannot learn model.task {model.task}; it can: {', '.join(card.tasks)}")
        told = {"task": model.task} if len(card.tasks) > 1 else {}
        loaded: BaseModel = registry.load_target(card)(labels=labels, generator=generator, **told, **model.params)
    else:
        loaded = load_pretrained(model.name, labels=labels, generator=generator, task=model.task)
    longest, positions = scenario.data.max_tokens, positions_of(loaded.module)
    if positions is not None and longest > positions:
        raise FedsecError(f"data.max_tokens {longest} is more than the {positions} positions of model '{model.name}'")
    return loaded


def split(scenario: Scenario, corpus: Corpus, tokenizer: Any, seeds: SeedTree) -> tuple[Corpus, Tokenised, Tokenised]:
    """Return the cell's part of the corpus, and both splits tokenised."""
    part = corpus.subset(scenario.data.train, scenario.data.test, seeds.numpy("subset"))
    encode_rows = tokeniser(scenario, tokenizer)
    return part, encode_rows(part.train), encode_rows(part.test)


def tokeniser(scenario: Scenario, tokenizer: Any, *, whole: bool = False) -> Callable[[Sequence[Example]], Tokenised]:
    """Return the function that turns texts into inputs of the task; with `whole` it does not truncate them."""
    longest = _LONGEST if whole else scenario.data.max_tokens
    if scenario.model.task != CAUSAL_LM:
        return partial(tokenise, tokenizer=tokenizer, max_tokens=longest)
    return partial(tokenise_causal, tokenizer=tokenizer, max_tokens=longest, chat=scenario.data.chat)


def truncation(scenario: Scenario, tokenizer: Any) -> Callable[[Sequence[Sample]], tuple[Sample, ...]]:
    """Return the function that gives samples as the model sees them: what truncation leaves of prompts and texts."""
    causal, longest, chat = scenario.model.task == CAUSAL_LM, scenario.data.max_tokens, scenario.data.chat

    def seen(samples: Sequence[Sample]) -> tuple[Sample, ...]:
        rows = [Example(one.text, prompt=one.prompt) for one in samples]
        left = truncated(rows, tokenizer, longest, causal=causal, chat=chat)
        return tuple(replace(one, prompt=prompt, text=text) for one, (prompt, text) in zip(samples, left, strict=True))

    return seen


def deal(
    scenario: Scenario, train: Sequence[Example], pool: Pool | None, seeds: SeedTree
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the row numbers of each client, and of the server; of the candidates, only members are partitioned.

    Args:
        scenario: of the cell.
        train: its training rows.
        pool: its candidates, or None.
        seeds: the cell's.
    """
    count, held = scenario.data.trusted, np.arange(len(train)) if pool is None else pool.dealt
    trusted = np.arange(0)
    if count:
        free = held if pool is None else pool.others
        if count >= len(free):
            raise FedsecError(f"data.trusted {count} leaves clients none of the {len(free):,} training rows")
        trusted = free[seeds.numpy("trusted rows").permutation(len(free))[:count]]
        held = np.setdiff1d(held, trusted)
    if pool is None and not count:
        return _deal(scenario, train, seeds), trusted
    return [held[own] for own in _deal(scenario, [train[int(row)] for row in held], seeds)], trusted


def _deal(scenario: Scenario, train: Sequence[Example], seeds: SeedTree) -> list[np.ndarray]:
    partition, clients = scenario.data.partition, scenario.federation.clients
    generator, minimum = seeds.numpy("partition"), partition.minimum
    match partition.kind:
        case "iid":
            return iid(len(train), clients, minimum, generator)
        case "dirichlet":
            labels = np.array([row.label for row in train], dtype=np.int64)
            return dirichlet(labels, clients, partition.alpha, minimum, generator)
        case "quantity-skew":
            return quantity_skew(len(train), clients, partition.alpha, minimum, generator)
    return by_column([row.group for row in train], clients, minimum, generator)


def malicious_clients(scenario: Scenario, seed: int) -> frozenset[int]:
    """Return the clients that are malicious in cells with an attack from a client."""
    generator = SeedTree(seed).numpy("malicious")
    chosen = generator.choice(scenario.federation.clients, scenario.threat.malicious, replace=False)
    return frozenset(int(client) for client in chosen)


def training_settings(scenario: Scenario) -> TrainingSettings:
    """Return the protocol as the server distributes it."""
    federation = scenario.federation
    return TrainingSettings(
        update=federation.update,
        optimizer=federation.optimizer,
        learning_rate=federation.learning_rate,
        local_steps=federation.local_steps,
        batch_size=federation.batch_size,
        cohort=federation.cohort,
        rounds=federation.rounds,
        sampling=federation.sampling,
    )


def attack_plugin(component: Component) -> Plugin:
    """Return an attack with its parameters."""
    card = registry.attacks().get(component.name)
    goal = registry.goals().get(card.threat.goal)
    make = partial(registry.load_target(card), **component.params)
    return Plugin(card.label(component.params), make, asked=(goal.method,) if goal.method else ())


def defense_plugin(component: Component) -> Plugin:
    """Return a defense with its parameters and precondition."""
    card = registry.defenses().get(component.name)
    params = component.params
    check = card.precondition

    def precondition(population: Population) -> str | None:
        return check(population, params) if check else None

    return Plugin(card.label(params), partial(registry.load_target(card), **params), precondition)
