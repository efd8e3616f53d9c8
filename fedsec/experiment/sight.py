"""Who sees what: from a trained federation to the view that an attack's position is handed."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fedsec.api import Asset, Knowledge, ModelSetup, PublicModel, Role, ServerView
from fedsec.experiment.plan import Cell
from fedsec.experiment.resources import training_settings
from fedsec.experiment.training import Trained
from fedsec.federation.transcript import Secret
from fedsec.seeds import SeedTree


class Granted(Mapping[Knowledge, Any]):
    """Side knowledge that the scenario grants; remembers what an attack looked up."""

    def __init__(self, content: Mapping[Knowledge, Any]) -> None:
        self._content = dict(content)
        self.used: set[Knowledge] = set()

    def __getitem__(self, kind: Knowledge) -> Any:
        value = self._content[kind]
        self.used.add(kind)
        return value

    def __iter__(self) -> Iterator[Knowledge]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)


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
        rows=observed.rows,
        aggregate=observed.aggregate,
        model=PublicModel(module=trained.model.module, tokenizer=trained.tokenizer, layout=trained.model.layout),
        training=training_settings(cell.scenario),
        granted=Granted(_grants(cell, observed.clients, secrets)),
        generator=SeedTree(cell.seed).torch("attack", round_number=cell.attack_round),
    )


def _grants(cell: Cell, clients: tuple[int, ...], secrets: Mapping[int, Secret]) -> dict[Knowledge, Any]:
    available: dict[Knowledge, Callable[[], Any]] = {
        Knowledge.LABELS: lambda: tuple(secrets[c].labels for c in clients),
        Knowledge.LENGTHS: lambda: tuple(secrets[c].lengths for c in clients),
        Knowledge.COHORT: lambda: clients,
        Knowledge.DEFENSE_SETTINGS: lambda: tuple(cell.defense),
    }
    return {kind: available[kind]() for kind in cell.scenario.threat.knowledge if kind in available}
