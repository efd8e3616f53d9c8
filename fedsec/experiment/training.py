"""One federation of one cell, trained; passive attacks on it share it."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fedsec.api import Knowledge, ModelSetup, Position
from fedsec.config.population import declared_in_round
from fedsec.experiment.plan import Cell
from fedsec.experiment.resources import (
    Resources,
    attack_plugin,
    deal,
    defense_plugin,
    load_model,
    split,
    training_settings,
)
from fedsec.federation.loop import Federation, FederationSettings, Outcome
from fedsec.federation.plugins import Stack
from fedsec.federation.progress import Progress
from fedsec.federation.sending import Adversary
from fedsec.models.flat import FlatModel
from fedsec.models.frozen_encoder import FrozenEncoder, is_frozen
from fedsec.models.tuning import prepare
from fedsec.seeds import SeedTree
from fedsec.store.keys import digest


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained federation with what attacks and metrics need of it."""

    outcome: Outcome
    model: FlatModel
    tokenizer: Any
    undefended: ModelSetup
    """What would be trained without the defense stack."""
    malicious: frozenset[int]
    frozen: tuple[float, ...]
    """Fingerprint of what is not trained."""


def training_key(cell: Cell) -> str:
    """Equal for cells whose training is the same: an attack that only looks does not change it."""
    settings = cell.scenario.model_dump(mode="json", include={"model", "data", "federation"})
    active = cell.attack if cell.attack_position == Position.CLIENT else None
    threat = cell.scenario.threat.model_dump(mode="json", include={"declared_malicious", "malicious"})
    if active is not None:
        threat = cell.scenario.threat.model_dump(mode="json", exclude={"attack_round"})
    return digest([settings, threat, active, cell.defense, cell.seed])


def train(cell: Cell, observe: frozenset[int], resources: Resources, on_round: Callable[[Progress], None]) -> Trained:
    """Run the federation of a cell.

    Args:
        cell: the cell, or any other with the same training key.
        observe: rounds whose rows are kept.
        resources: loaded corpora.
        on_round: called after every round.
    """
    scenario, seeds = cell.scenario, SeedTree(cell.seed)
    corpus = resources.corpus(scenario)
    base = load_model(scenario, len(corpus.labels), seeds)
    part, train_split, test_split = split(scenario, corpus, base.tokenizer, seeds)
    tuning = scenario.model.tuning
    module, undefended = prepare(
        base.module,
        kind=tuning.kind,
        rank=tuning.rank,
        train_embeddings=tuning.trains_embeddings,
        dropout=scenario.model.dropout,
        generator=seeds.torch("adapters"),
    )
    stack = Stack(tuple(defense_plugin(component) for component in cell.defense))
    model = FlatModel(module, stack.set_up(undefended))
    if is_frozen(model.setup):
        known = resources.encodings(cell, model.module, (train_split, test_split), base.tokenizer.pad_token_id)
        if known is not None:
            FrozenEncoder.put_into(model.module, known)
    adversary = _adversary(cell, seeds)
    outcome = Federation(
        model=model,
        train=train_split,
        test=test_split,
        examples=part.train,
        tokenizer=base.tokenizer,
        rows=deal(scenario, train_split, seeds),
        stack=stack,
        adversary=adversary,
        settings=_settings(cell, observe),
        seeds=seeds,
        on_round=on_round,
    ).run()
    malicious = adversary.clients if adversary else frozenset()
    return Trained(outcome, model, base.tokenizer, undefended, malicious, fingerprint(model.module))


def _adversary(cell: Cell, seeds: SeedTree) -> Adversary | None:
    threat = cell.scenario.threat
    if cell.attack_position != Position.CLIENT or threat.malicious == 0:
        return None
    clients = cell.scenario.federation.clients
    chosen = seeds.numpy("malicious").choice(clients, size=threat.malicious, replace=False)
    knowledge = {Knowledge.DEFENSE_SETTINGS: deepcopy(cell.defense)}
    return Adversary(
        clients=frozenset(int(client) for client in chosen),
        attack=attack_plugin(cell.attack),
        obeys_client_defenses=threat.obeys_client_defenses,
        grants_benign_updates=Knowledge.BENIGN_UPDATES in threat.knowledge,
        knowledge={kind: value for kind, value in knowledge.items() if kind in threat.knowledge},
    )


def fingerprint(module: nn.Module) -> tuple[float, ...]:
    """Sums over every parameter and buffer that is not trained, which no attack may change; cheap to compare."""
    frozen = [p for p in module.parameters() if not p.requires_grad]
    return tuple(float(t.sum(dtype=torch.float64)) for t in (*frozen, *module.buffers()))


def _settings(cell: Cell, observe: frozenset[int]) -> FederationSettings:
    scenario = cell.scenario
    federation = scenario.federation
    return FederationSettings(
        training=training_settings(scenario),
        rounds=federation.rounds,
        cohort=federation.cohort,
        server_learning_rate=federation.server_learning_rate,
        weighting=federation.weighting,
        evaluate_every=federation.evaluate_every,
        declared_malicious=declared_in_round(federation.clients, federation.cohort, scenario.threat.declared),
        observe=observe,
    )
