"""Who sees what: from a trained federation to the view that an attack's position is handed."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, NamedTuple

import torch

from fedsec.api import (
    Aggregation,
    Asset,
    Granted,
    KeyHolderView,
    Knowledge,
    ParticipantView,
    Position,
    PublicModel,
    ReleasedView,
    RoundView,
    ServerView,
    WireView,
)
from fedsec.cell.resources import training_settings
from fedsec.cell.training import Trained
from fedsec.federation.release import released
from fedsec.federation.transcript import Observed, Secret
from fedsec.maths.rows import weighted_sum
from fedsec.models.fingerprint import fingerprint
from fedsec.plan.cells import Cell, knowledge
from fedsec.seeds import SeedTree

_VIEWS: dict[Position, type[RoundView]] = {
    Position.SERVER: ServerView,
    Position.KEY_HOLDER: KeyHolderView,
    Position.WIRE: WireView,
    Position.CLIENT: ParticipantView,
}


def sight_of(cell: Cell, trained: Trained, *, defended: bool = True) -> frozenset[Asset]:
    """Which whole updates and models the attack's position sees, now that the attacked round is known."""
    if not cell.reads:
        return cell.sight(defended=defended)
    observed = trained.outcome.observed[cell.attack_round]
    # A sum is only divided up where it is known how it was made.
    others = len(targets(cell, trained)) if observed.weights is not None else None
    return cell.sight(defended=defended, others=others, colluding=bool(_colluders(cell, observed)))


def targets(cell: Cell, trained: Trained) -> tuple[int, ...]:
    """Whose texts an attack on a round is after: those whose updates went in, the attacker's friends aside."""
    observed = trained.outcome.observed[cell.attack_round]
    friends = _colluders(cell, observed)
    return tuple(client for client in observed.clients if client not in friends)


def secrets_of(cell: Cell, trained: Trained) -> dict[int, Secret]:
    """The truth of the attacked round by client, of those that the attack is after."""
    return {client: trained.outcome.vault.secrets[cell.attack_round, client] for client in targets(cell, trained)}


def round_view(cell: Cell, trained: Trained, secrets: Mapping[int, Secret]) -> RoundView:
    """What a curious party sees of the attacked round; the resident model is set to what was broadcast.

    Args:
        cell: says the position, the round, the defenses and the granted knowledge.
        trained: the federation.
        secrets: the truth by client, of which only what is granted goes into the view.
    """
    assert cell.attack_position is not None  # noqa: S101 - a control has no view
    observed = trained.outcome.observed[cell.attack_round]
    sight, friends = sight_of(cell, trained), _colluders(cell, observed)
    trained.model.load(observed.start)
    trained.model.module.eval()
    module = trained.model.module if Asset.GLOBAL_MODEL in sight else None
    rows = _rows(cell, observed, friends) if Asset.ROWS in sight else _Rows((), None)
    informed = cell.attack_position != Position.CLIENT
    told = informed or Knowledge.COHORT in knowledge(cell)
    return _VIEWS[cell.attack_position](
        round=observed.round,
        cohort=observed.clients if told else friends,
        clients=rows.clients,
        rows=rows.rows,
        aggregate=_aggregate(cell, observed) if Asset.AGGREGATE in sight else None,
        model=PublicModel(module=module, tokenizer=trained.tokenizer, layout=trained.model.layout),
        staleness=observed.staleness if informed else (),
        started=observed.started.clone() if informed and module is not None and observed.started is not None else None,
        examples=observed.examples if informed else (),
        upload_bytes=observed.upload_bytes,
        colluders=friends,
        own_rows=_of(observed, friends) if friends else None,
        training=training_settings(cell.scenario),
        granted=Granted(_grants(cell, trained, secrets)),
        generator=SeedTree(cell.seed).torch("attack", round_number=cell.attack_round),
    )


def released_view(cell: Cell, trained: Trained) -> ReleasedView:
    """What an adversary has that got the released model; the resident model is set to it."""
    seeds, outcome = SeedTree(cell.seed), trained.outcome
    trained.model.load(outcome.end)
    trained.model.module.eval()
    available: dict[Knowledge, Callable[[], Any]] = {
        Knowledge.BASE_MODEL: outcome.start.clone,
        Knowledge.DEFENSE_SETTINGS: lambda: deepcopy(cell.defense),
        Knowledge.AUXILIARY_TEXT: lambda: trained.public.of(cell.scenario).auxiliary,
    }
    return ReleasedView(
        model=PublicModel(module=trained.model.module, tokenizer=trained.tokenizer, layout=trained.model.layout),
        answer=released(trained.model, outcome.end, trained.tokenizer, trained.defended().query_hooks, seeds),
        training=training_settings(cell.scenario),
        granted=Granted({kind: available[kind]() for kind in knowledge(cell)}),
        generator=seeds.torch("attack"),
    )


def check_untouched(cell: Cell, trained: Trained) -> None:
    """RuntimeError if an attack, or one before it, changed the model that it was shown or a granted one."""
    outcome = trained.outcome
    shown = outcome.observed[cell.attack_round].start if cell.reads else outcome.end
    now = trained.model.snapshot()
    same = bool((now == shown).all()) and fingerprint(trained.model.module) == trained.frozen
    if not same or trained.model.module.training:
        raise RuntimeError(f"{cell.attack_label} changed the model that it was shown; an attack only looks")
    if trained.public.changed():
        raise RuntimeError(f"{cell.attack_label} changed the language model that it was granted; an attack only looks")


class _Rows(NamedTuple):
    """Single rows that are seen, and whose."""

    clients: tuple[int, ...]
    rows: torch.Tensor | None


def _rows(cell: Cell, observed: Observed, friends: tuple[int, ...]) -> _Rows:
    """The rows of those who are no friends: as they were sent, or as the sum gives the last one away."""
    others = tuple(client for client in observed.clients if client not in friends)
    if cell.aggregation == Aggregation.PLAIN and cell.attack_position != Position.CLIENT:
        return _Rows(others, _of(observed, others))
    return _Rows(others, _left_over(observed, _aggregate(cell, observed), others[0]))


def _left_over(observed: Observed, aggregate: torch.Tensor, client: int) -> torch.Tensor:
    """The one row that is left of the sum when the others' are taken away [1, parameters]."""
    assert observed.weights is not None  # noqa: S101 - a sum has weights
    place = observed.clients.index(client)
    weights = observed.weights.clone()
    weights[place] = 0.0
    rest = aggregate.double() - weighted_sum(observed.rows, weights).double()
    return (rest / observed.weights[place]).float()[None, :]


def _of(observed: Observed, clients: tuple[int, ...]) -> torch.Tensor:
    """These clients' rows [clients, parameters], a copy."""
    return observed.rows[[observed.clients.index(client) for client in clients]]


def _colluders(cell: Cell, observed: Observed) -> tuple[int, ...]:
    """Clients of the round that share what they sent with the attacker; a curious client is its own friend."""
    count = 1 if cell.attack_position == Position.CLIENT else cell.scenario.threat.colluding
    if cell.attack_position not in (Position.CLIENT, Position.SERVER) or not count or not observed.clients:
        return ()
    everybody = cell.scenario.federation.clients
    order = SeedTree(cell.seed).numpy("colluding").permutation(everybody)
    if cell.attack_position == Position.CLIENT:
        return next((int(client),) for client in order if client in observed.clients)
    chosen = {int(client) for client in order[:count]}
    return tuple(client for client in observed.clients if client in chosen)


def _aggregate(cell: Cell, observed: Observed) -> torch.Tensor:
    """The round's aggregate; who does not aggregate sees the step of the global model, over the server's factor."""
    reads = cell.attack_position == Position.KEY_HOLDER
    reads |= cell.attack_position == Position.SERVER and cell.aggregation != Aggregation.HOMOMORPHIC
    if reads:
        return observed.aggregate.clone()
    federation = cell.scenario.federation
    factor = federation.server_learning_rate
    if federation.update == "gradient":
        factor *= -federation.learning_rate
    return (observed.end - observed.start) / factor


def _grants(cell: Cell, trained: Trained, secrets: Mapping[int, Secret]) -> dict[Knowledge, Any]:
    clients = tuple(secrets)
    available: dict[Knowledge, Callable[[], Any]] = {
        Knowledge.LABELS: lambda: tuple(secrets[c].labels for c in clients),
        Knowledge.LENGTHS: lambda: tuple(secrets[c].lengths for c in clients),
        Knowledge.COHORT: lambda: trained.outcome.observed[cell.attack_round].cohort,
        Knowledge.DEFENSE_SETTINGS: lambda: deepcopy(cell.defense),
        Knowledge.AUXILIARY_TEXT: lambda: trained.public.of(cell.scenario).auxiliary,
    }
    return {kind: available[kind]() for kind in knowledge(cell)}
