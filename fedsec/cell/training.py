"""One federation of one cell, trained; passive attacks on it share it."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch

from fedsec.api import Asset, Knowledge, ModelSetup
from fedsec.cell.auxiliary import PublicText
from fedsec.cell.resources import (
    Resources,
    attack_plugin,
    deal,
    defense_plugin,
    load_model,
    split,
    tokeniser,
    training_settings,
)
from fedsec.config.schema import Scenario
from fedsec.data.tokens import Tokenised, content_ids
from fedsec.federation.availability import AvailabilitySettings
from fedsec.federation.checkpoint import Checkpoint
from fedsec.federation.clients import Adversary
from fedsec.federation.loop import Federation, FederationSettings, MaliciousServer
from fedsec.federation.outcome import Outcome
from fedsec.federation.plugins import Plugin, Stack, checked, load_state_of
from fedsec.federation.progress import Progress
from fedsec.models.fingerprint import fingerprint
from fedsec.models.flat import FlatModel
from fedsec.models.frozen_encoder import FrozenEncoder, is_frozen
from fedsec.models.tuning import prepare
from fedsec.plan.cells import Cell, in_round
from fedsec.plan.visibility import visible
from fedsec.seeds import SeedTree


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained federation with what attacks and metrics need of it."""

    outcome: Outcome
    model: FlatModel
    tokenizer: Any
    undefended: ModelSetup
    """What would be trained without the defense stack."""
    stack: Stack
    """The defenses; `defended` gives a copy with what they remember."""
    texts: tuple[tuple[int, ...], ...]
    """Content tokens of every training text that a client holds: the truth, for metrics only."""
    malicious: frozenset[int]
    frozen: tuple[float, ...]
    """Fingerprint of what is not trained."""
    public: PublicText
    """What attacks may be granted of public text."""

    def defended(self) -> Stack:
        """The defenses as they were after the last round, anew for every attack."""
        stack = self.stack.fresh()
        stack.load_state(deepcopy(self.outcome.stack))
        return stack

    def attacker(self, plugin: Plugin) -> Any:
        """The attack; a malicious server's as it was after the last round, anew for every cell."""
        made = checked(plugin)
        if self.outcome.server:
            load_state_of([made], deepcopy(self.outcome.server))
        return made


def train(
    cell: Cell,
    observe: frozenset[int],
    resources: Resources,
    on_round: Callable[[Progress], None],
    checkpoint: Checkpoint | None = None,
) -> Trained:
    """Run the federation of a cell.

    Args:
        cell: the cell, or any other with the same training key.
        observe: rounds whose rows are kept.
        resources: loaded corpora.
        on_round: called after every round.
        checkpoint: where progress is kept, and taken up again; None keeps none.
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
        task=scenario.model.task,
    )
    stack = Stack(tuple(defense_plugin(component) for component in cell.defense))
    setup, device = stack.set_up(undefended), torch.device(resources.device)
    model = FlatModel(module, setup, device=device, precision=scenario.model.precision)
    _encode_once(cell, model, resources, (train_split, test_split), base.tokenizer)
    adversary = _adversary(cell, seeds) if not lacking(cell, setup) else None
    rows, trusted = deal(scenario, part.train, seeds)
    federation = Federation(
        model=model,
        train=train_split,
        test=test_split,
        examples=part.train,
        tokenise=tokeniser(scenario, base.tokenizer),
        tokenizer=base.tokenizer,
        rows=rows,
        trusted=trusted,
        pinned=_malicious(scenario, seeds) if scenario.threat.participation.kind == "fixed" else frozenset(),
        stack=stack,
        adversary=adversary,
        server=_server(cell),
        crew=resources.crew,
        settings=_settings(cell, observe),
        seeds=seeds,
        on_round=on_round,
    )
    outcome = federation.run(checkpoint)
    FrozenEncoder.take_out(model.module)
    if device.type != "cpu":  # rows and what attacks draw lie on the CPU; so does the model that they look at
        model = FlatModel(model.module, setup, precision=scenario.model.precision)
    malicious = adversary.clients if adversary else frozenset()
    texts = tuple(content_ids(train_split.ids[row], base.tokenizer) for client in rows for row in client)
    return Trained(
        outcome,
        model,
        base.tokenizer,
        undefended,
        federation.stack,
        texts,
        malicious,
        fingerprint(model.module),
        PublicText(resources, (*part.train, *part.test), base.tokenizer),
    )


def _encode_once(
    cell: Cell, model: FlatModel, resources: Resources, splits: tuple[Tokenised, Tokenised], tokenizer: Any
) -> None:
    """Where the encoder is frozen, its outputs for the cell's texts stand in for it."""
    if is_frozen(model.setup):
        known = resources.encodings(cell, model.module, splits, tokenizer.pad_token_id)
        if known is not None:
            FrozenEncoder.put_into(model.module, known)


def lacking(cell: Cell, setup: ModelSetup) -> frozenset[Asset]:
    """What a malicious client would need of its own updates, and does not find there."""
    if cell.threat is None or not cell.forges:
        return frozenset()
    return cell.threat.needs - visible(cell.sight(), setup) - {Asset.ROWS}


def _adversary(cell: Cell, seeds: SeedTree) -> Adversary | None:
    threat = cell.scenario.threat
    if not cell.forges or threat.malicious == 0:
        return None
    return Adversary(
        clients=_malicious(cell.scenario, seeds),
        attack=attack_plugin(cell.attack),
        obeys_client_defenses=threat.obeys_client_defenses,
        grants_benign_updates=Knowledge.BENIGN_UPDATES in threat.knowledge,
        knowledge=_settings_known(cell),
        first=threat.participation.first,
        last=threat.participation.last,
    )


def _malicious(scenario: Scenario, seeds: SeedTree) -> frozenset[int]:
    """The clients that are malicious in cells with an attack from a client."""
    chosen = seeds.numpy("malicious").choice(scenario.federation.clients, scenario.threat.malicious, replace=False)
    return frozenset(int(client) for client in chosen)


def _server(cell: Cell) -> MaliciousServer | None:
    if not cell.alters_broadcast:
        return None
    return MaliciousServer(attack=attack_plugin(cell.attack), knowledge=_settings_known(cell))


def _settings_known(cell: Cell) -> dict[Knowledge, Any]:
    """The defense's settings, where the scenario grants them."""
    granted = Knowledge.DEFENSE_SETTINGS in cell.scenario.threat.knowledge
    return {Knowledge.DEFENSE_SETTINGS: deepcopy(cell.defense)} if granted else {}


def _settings(cell: Cell, observe: frozenset[int]) -> FederationSettings:
    scenario = cell.scenario
    federation = scenario.federation
    return FederationSettings(
        training=training_settings(scenario),
        rounds=federation.rounds,
        cohort=federation.cohort,
        server_learning_rate=federation.server_learning_rate,
        server_optimizer=federation.server_optimizer,
        weighting=federation.weighting,
        evaluate_every=federation.evaluate_every,
        declared_malicious=in_round(scenario, scenario.threat.declared),
        observe=observe,
        availability=AvailabilitySettings(**federation.availability.model_dump()),
    )
