"""Who sees what: from a trained federation to the view that an attack's position is handed."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from fedsec.api import Asset, Granted, Knowledge, ModelSetup, PublicModel, Role, ServerView
from fedsec.experiment.plan import Cell, knowledge
from fedsec.experiment.resources import training_settings
from fedsec.experiment.training import Trained, fingerprint
from fedsec.federation.transcript import Secret
from fedsec.seeds import SeedTree


def visible(setup: ModelSetup) -> frozenset[Asset]:
    """What a server sees of single plain updates when `setup` is what is trained."""
    roles = {(p.role, p.layer) for p in setup.parameters if p.name in setup.trainable}
    seen = {Asset.ROWS, Asset.GLOBAL_MODEL}
    if any(role == Role.WORD_EMBEDDING for role, _ in roles):
        seen.add(Asset.WORD_EMBEDDINGS)
    if any(role == Role.POSITION_EMBEDDING for role, _ in roles):
        seen.add(Asset.POSITION_EMBEDDINGS)
    if all((role, layer) in roles for role in (Role.QUERY, Role.KEY, Role.VALUE) for layer in (0, 1)):
        seen.add(Asset.ATTENTION_INPUTS)
    return frozenset(seen)


def secrets_of(trained: Trained, number: int) -> dict[int, Secret]:
    """The truth of a round by client, of those clients whose rows the server received."""
    received = trained.outcome.observed[number].clients
    return {client: trained.outcome.vault.secrets[number, client] for client in received}


def server_view(cell: Cell, trained: Trained, secrets: Mapping[int, Secret]) -> ServerView:
    """What a curious server sees of the attacked round; the resident model is set to what it broadcast.

    Args:
        cell: says the round and the granted knowledge.
        trained: the federation.
        secrets: the truth by client, of which only what is granted goes into the view.
    """
    observed = trained.outcome.observed[cell.attack_round]
    trained.model.load(observed.start)
    trained.model.module.eval()
    return ServerView(
        round=observed.round,
        clients=observed.clients,
        rows=observed.rows.clone(),  # other attacks read the same round
        aggregate=observed.aggregate.clone(),
        model=PublicModel(module=trained.model.module, tokenizer=trained.tokenizer, layout=trained.model.layout),
        training=training_settings(cell.scenario),
        granted=Granted(_grants(cell, observed.clients, secrets)),
        generator=SeedTree(cell.seed).torch("attack", round_number=cell.attack_round),
    )


def check_untouched(cell: Cell, trained: Trained) -> None:
    """RuntimeError if an attack changed the model that it, or one before it, was shown."""
    shown = trained.outcome.observed[cell.attack_round].start
    same = bool((trained.model.values == shown).all()) and fingerprint(trained.model.module) == trained.frozen
    if not same or trained.model.module.training:
        raise RuntimeError(f"{cell.attack_label} changed the model that it was shown; an attack only looks")


def _grants(cell: Cell, clients: tuple[int, ...], secrets: Mapping[int, Secret]) -> dict[Knowledge, Any]:
    available: dict[Knowledge, Callable[[], Any]] = {
        Knowledge.LABELS: lambda: tuple(secrets[c].labels for c in clients),
        Knowledge.LENGTHS: lambda: tuple(secrets[c].lengths for c in clients),
        Knowledge.COHORT: lambda: clients,
        Knowledge.DEFENSE_SETTINGS: lambda: deepcopy(cell.defense),
    }
    return {kind: available[kind]() for kind in knowledge(cell)}
