"""One federation of one cell, trained; passive attacks on it share it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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
from fedsec.federation.loop import Federation, FederationSettings, Outcome, Participants
from fedsec.federation.plugins import set_up
from fedsec.federation.progress import Progress
from fedsec.models.flat import FlatModel
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
    stack = tuple(defense_plugin(component) for component in cell.defense)
    model = FlatModel(module, set_up(undefended, stack))
    participants = _participants(cell, deal(scenario, train_split, seeds), seeds)
    outcome = Federation(
        model=model,
        train=train_split,
        test=test_split,
        examples=part.train,
        tokenizer=base.tokenizer,
        participants=participants,
        stack=stack,
        settings=_settings(cell, observe),
        seeds=seeds,
        on_round=on_round,
    ).run()
    return Trained(outcome, model, base.tokenizer, undefended, participants.malicious)


def _participants(cell: Cell, rows: list[Any], seeds: SeedTree) -> Participants:
    threat = cell.scenario.threat
    if cell.attack_position != Position.CLIENT or threat.malicious == 0:
        return Participants(rows=rows)
    chosen = seeds.numpy("malicious").choice(len(rows), size=threat.malicious, replace=False)
    return Participants(
        rows=rows,
        malicious=frozenset(int(client) for client in chosen),
        attack=attack_plugin(cell.attack),
        obeys_client_defenses=threat.obeys_client_defenses,
    )


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
        grant_benign_updates=Knowledge.BENIGN_UPDATES in scenario.threat.knowledge,
    )
