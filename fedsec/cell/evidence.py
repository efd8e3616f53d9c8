"""The evidence of an attack: views of the rounds that its position saw, the released model, and granted knowledge."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from fedsec import registry
from fedsec.api import (
    AUTHORITY,
    Aggregation,
    Asset,
    Evidence,
    Granted,
    KeyHolderView,
    Keys,
    Knowledge,
    Message,
    ParticipantView,
    Position,
    PublicModel,
    ReleasedView,
    RoundView,
    ServerView,
    Tokens,
    Train,
    TrainShadows,
    WireView,
    Work,
)
from fedsec.cell.auxiliary import PublicText
from fedsec.cell.in_clear import clear_from, encrypted, known_model, shown
from fedsec.cell.resources import attack_plugin, malicious_clients, tokeniser, training_settings
from fedsec.cell.work import CellWork
from fedsec.federation.own_training import OwnTraining
from fedsec.federation.plugins import checked
from fedsec.federation.release import logits_of, released
from fedsec.federation.transcript import Observed, Secret, Vault
from fedsec.maths.rows import weighted_sum
from fedsec.models.fingerprint import fingerprint
from fedsec.models.flat import FlatModel
from fedsec.models.frozen_encoder import FrozenEncoder, Output, is_frozen
from fedsec.plan.cells import Cell, knowledge
from fedsec.plan.visibility import RELEASED, visible
from fedsec.seeds import SeedTree

if TYPE_CHECKING:
    from fedsec.cell.training import Trained

_VIEWS: dict[Position, type[RoundView]] = {
    Position.SERVER: ServerView,
    Position.KEY_HOLDER: KeyHolderView,
    Position.WIRE: WireView,
    Position.CLIENT: ParticipantView,
}
Secrets = Mapping[int, Mapping[int, Secret]]
"""The training texts behind the attacked updates, by round and client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What attacks may see of a federation beside its rounds."""

    model: FlatModel
    tokenizer: Any
    classes: tuple[str, ...]
    vault: Vault
    public: PublicText
    """The auxiliary text that may be granted."""
    start: torch.Tensor | None = None
    """The parameters before training [parameters], where a defense encrypts a part of the updates alone."""
    encodings: dict[Tokens, Output] = field(default_factory=dict)
    """What a frozen encoder made of the texts that attacks asked about; each is encoded once."""

    def asked(self) -> AbstractContextManager[None]:
        """Return the block in which the model answers attacks."""
        if not is_frozen(self.model.setup):
            return nullcontext()
        return FrozenEncoder.lent(self.model.module, self.encodings)


@dataclass(slots=True)
class Looked:
    """What a cell's attack used, and what the resident model must hold when the attack is done."""

    shown: torch.Tensor | None = None
    """The parameters that the attack was shown last [parameters]; None if none were."""
    granted: list[Granted] = field(default_factory=list)
    work: Work = field(default_factory=Work)
    """What it is told of its time."""

    @property
    def used(self) -> frozenset[Knowledge]:
        """Side knowledge that the attack looked up."""
        return frozenset().union(*(one.used for one in self.granted))


class CellWatcher:
    """A cell's attack that looks at rounds as they happen.

    Args:
        cell: says the position, the rounds, the defenses and the granted knowledge.
        around: the federation.
    """

    def __init__(self, cell: Cell, around: Surroundings) -> None:
        self._cell, self._around = cell, around
        self.rounds = frozenset(cell.rounds)
        self.failed: BaseException | None = None
        """The attack's error: it fails its own cell, and no other cell that shares the training."""
        self.sights: dict[bool, frozenset[Asset] | None] = {}
        """Whole updates and models that the attack saw in each of its rounds, with the cell's defenses and without."""
        self.used: set[Knowledge] = set()
        self.reset()

    def look(self, observed: Observed) -> None:
        """Show the attack one round, as its position sees it.

        Raises:
            RuntimeError: it damaged the model, which others train on.
        """
        cell, around, looked = self._cell, self._around, Looked(work=self.work)
        for defended, before in self.sights.items():
            sight = sight_in(cell, observed, around.model, defended=defended)
            self.sights[defended] = sight if before is None else before & sight
        if self.failed is not None or self._lacks(observed):
            return  # blocked: the goal's prior answers
        secrets = secrets_in(cell, observed, around.vault)
        observed = replace(observed, rows=observed.rows.clone())  # the next round is written over them
        # A stand-in for the encoder knows every text.
        with FrozenEncoder.laid_aside(around.model.module):
            frozen = fingerprint(around.model.module)
            try:
                view = round_view(cell, around, observed, secrets, looked)
                with self.work.running():
                    self.attack.observe(view)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                self.failed = error
            check_untouched(cell, around, looked, frozen)
        self.used |= looked.used

    def _lacks(self, observed: Observed) -> bool:
        """Return whether the attack lacks in this round what it needs to run."""
        cell = self._cell
        removed = {asset for one in cell.defense for asset in registry.defenses().get(one.name).removes}
        model = self._around.model
        sight = visible(sight_in(cell, observed, model), shown(cell, model)) - removed
        needs = frozenset[Asset]() if cell.threat is None else cell.threat.needs
        return bool(needs - sight - (frozenset({Asset.ROWS}) if cell.forges else frozenset()))

    def state(self) -> Mapping[str, Any]:
        """Return the attack's state, and what it saw."""
        memory: dict[str, Any] = {} if self.failed is not None else dict(self.attack.state())
        sights = {str(defended): None if s is None else sorted(s) for defended, s in self.sights.items()}
        return {
            "attack": memory,
            "used": sorted(self.used),
            "sights": sights,
            "failed": self.failed is not None,
            "seconds": self.work.spent,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue from an earlier state; ValueError if the attack had failed by then, which a retry repeats."""
        if state["failed"]:
            raise ValueError("an attack that looks at rounds had failed")
        self.attack.load_state(state["attack"])
        self.work = self._clock(float(state["seconds"]))
        self.used = {Knowledge(kind) for kind in state["used"]}
        for defended in self.sights:
            seen = state["sights"][str(defended)]
            self.sights[defended] = None if seen is None else frozenset(map(Asset, seen))

    def reset(self) -> None:
        """Start again, with an attack that has seen nothing."""
        self.attack = checked(attack_plugin(self._cell.attack))
        self.used, self.failed, self.sights = set(), None, {True: None, False: None}
        self.work = self._clock()

    def _clock(self, spent: float = 0.0) -> CellWork:
        """The time that the attack has, of which it took so many seconds."""
        return CellWork(self._cell.scenario.threat.attack_seconds, spent=spent)


def sight_of(
    cell: Cell, trained: "Trained", watcher: CellWatcher | None = None, *, defended: bool = True
) -> frozenset[Asset]:
    """Return which whole updates and models the attack sees in every one of its rounds."""
    if watcher is not None and (seen := watcher.sights[defended]) is not None:
        return seen
    if not cell.rounds or cell.observes:
        return cell.sight(defended=defended, in_clear=defended and clear_from(cell, trained.model) > 0)
    rounds = (trained.outcome.observed[number] for number in cell.rounds)
    each = [sight_in(cell, one, trained.model, defended=defended) for one in rounds]
    return frozenset.intersection(*each)


def sight_in(cell: Cell, observed: Observed, model: FlatModel, *, defended: bool = True) -> frozenset[Asset]:
    """Return which updates and models the attack sees of one round: whole, or as far as they are not encrypted."""
    # A sum is only divided up where it is known how it was made.
    others = len(targets(cell, observed)) if observed.weights is not None else None
    colluding, in_clear = bool(_colluders(cell, observed)), defended and clear_from(cell, model) > 0
    return cell.sight(defended=defended, others=others, colluding=colluding, in_clear=in_clear)


def targets(cell: Cell, observed: Observed) -> tuple[int, ...]:
    """Return the clients whose updates are attacked: those that were aggregated, without the attacker's colluders."""
    friends = _colluders(cell, observed)
    return tuple(client for client in observed.clients if client not in friends)


def secrets_in(cell: Cell, observed: Observed, vault: Vault) -> dict[int, Secret]:
    """Return the training texts of one round by client, for the attacked clients."""
    secrets = {client: vault.secrets[observed.round, client] for client in targets(cell, observed)}
    # An empty Poisson batch leaves an update without a text to read.
    return {client: secret for client, secret in secrets.items() if secret.tokens}


def secrets_of(cell: Cell, trained: "Trained") -> dict[int, dict[int, Secret]]:
    """Return the training texts of the attacked rounds by round and client, for the attacked clients."""
    vault = trained.around.vault
    if cell.observes:  # the rounds themselves are gone
        numbers = sorted({number for number, _ in vault.secrets} & set(cell.rounds))
        return {n: {c: one for (number, c), one in vault.secrets.items() if number == n} for n in numbers}
    return {number: secrets_in(cell, trained.outcome.observed[number], vault) for number in cell.rounds}


def seen_clients(cell: Cell, trained: "Trained", watcher: CellWatcher | None = None) -> tuple[int, ...]:
    """Return the clients whose single updates the attack sees in any of its rounds, ascending."""
    if not cell.rounds or Asset.ROWS not in sight_of(cell, trained, watcher):
        return ()
    if cell.observes:  # the rounds themselves are gone
        arrived = [one.clients for one in trained.outcome.rounds if one.round in cell.rounds]
        return tuple(sorted({c for own in arrived for c in own} - {c for own in arrived for c in _friends(cell, own)}))
    return tuple(sorted({c for number in cell.rounds for c in targets(cell, trained.outcome.observed[number])}))


def evidence_of(cell: Cell, trained: "Trained", secrets: Secrets, question: Any, looked: Looked) -> Evidence:
    """Return everything that a cell's attack may see; its views load the resident model.

    Args:
        cell: says the position, the rounds, the defenses and the granted knowledge.
        trained: the federation.
        secrets: the truth, of which only what is granted goes into views.
        question: what the goal asks about.
        looked: told what the attack used.
    """
    assert cell.attack_position is not None  # noqa: S101 - a control has no evidence
    around, gets = trained.around, cell.attack_position in RELEASED
    sees = gets and (cell.attack_position == Position.RELEASED_MODEL or Asset.GLOBAL_MODEL in cell.sight())

    def at(number: int) -> RoundView:
        if number not in cell.rounds:
            raise KeyError(f"round {number} is none of those that {cell.attack_label} may see: {cell.rounds}")
        return round_view(cell, around, trained.outcome.observed[number], secrets[number], looked)

    def ask(vector: torch.Tensor, queries: tuple[Tokens, ...]) -> list[torch.Tensor]:
        fits = isinstance(vector, torch.Tensor) and vector.dtype == torch.float32
        if not fits or vector.shape != around.model.values.shape or not bool(vector.isfinite().all()):
            raise ValueError(f"{cell.attack_label} asks with other trainables than finite fp32 of the model's length")
        looked.shown = vector.clone()
        with around.asked():
            return logits_of(around.model, looked.shown, queries, around.tokenizer.pad_token_id)

    granted, trains = _noted(looked, _lasting(cell, trained)), sees and Knowledge.BASE_MODEL in knowledge(cell)
    return Evidence(
        rounds=() if cell.observes else cell.rounds,
        at=at,
        clients=seen_clients(cell, trained),
        released=(lambda: released_view(cell, trained, looked)) if sees else None,
        ask=ask if sees else None,
        question=question,
        classes=around.classes,
        tokenizer=around.tokenizer,
        simulate=_simulate(cell, around) if trains else None,
        shadows=_shadows(trained) if trains and trained.shadows is not None else None,
        training=training_settings(cell.scenario),
        granted=granted,
        generator=SeedTree(cell.seed).torch("attack"),
        work=looked.work,
    )


def _shadows(trained: "Trained") -> TrainShadows:
    """Return training of models like the released one."""
    around, shadows = trained.around, trained.shadows
    assert shadows is not None  # noqa: S101 - the caller looked

    def train(included: torch.Tensor, like: float) -> torch.Tensor:
        with around.asked():
            return shadows.train(around.model, included, like)

    return train


def _simulate(cell: Cell, around: Surroundings) -> Train:
    """Return training in one place by the clients' protocol."""
    own = OwnTraining(
        around.model,
        training_settings(cell.scenario),
        tokeniser(cell.scenario, around.tokenizer),
        around.tokenizer,
        around.classes,
        dropout=around.model.setup.dropout,
    )
    return own.train


def round_view(
    cell: Cell, around: Surroundings, observed: Observed, secrets: Mapping[int, Secret], looked: Looked
) -> RoundView:
    """Return what the attack's position sees of a round, and load the broadcast model into the resident one.

    Args:
        cell: says the position, the defenses and the granted knowledge.
        around: the federation.
        observed: the round.
        secrets: the truth by client, of which only what is granted goes into the view.
        looked: told what the attack is shown.
    """
    assert cell.attack_position is not None  # noqa: S101 - a control has no view
    sight, friends = sight_in(cell, observed, around.model), _colluders(cell, observed)
    part = clear_from(cell, around.model)
    looked.shown = known_model(around.start, observed.start, part)
    around.model.load(looked.shown)
    around.model.module.eval()
    module = around.model.module if Asset.GLOBAL_MODEL in sight else None
    rows = _rows(cell, observed, friends, part) if Asset.ROWS in sight else _Rows((), None)
    informed = cell.attack_position != Position.CLIENT
    told = informed or Knowledge.COHORT in knowledge(cell)
    return _VIEWS[cell.attack_position](
        round=observed.round,
        cohort=observed.clients if told else friends,
        clients=rows.clients,
        rows=rows.rows,
        aggregate=_aggregate(cell, observed, part) if Asset.AGGREGATE in sight else None,
        model=PublicModel(module=module, tokenizer=around.tokenizer, layout=around.model.layout.after(part)),
        staleness=observed.staleness if informed else (),
        started=observed.started[:, part:].clone()
        if informed and module is not None and observed.started is not None
        else None,
        examples=observed.examples if informed else (),
        upload_bytes=observed.upload_bytes,
        encrypted=encrypted(around.model, part),
        messages=_messages(cell, observed, friends),
        colluders=friends,
        own_rows=_of(observed, friends)[:, part:] if friends else None,
        training=training_settings(cell.scenario),
        classes=around.classes,
        granted=_noted(looked, _of_round(cell, around, observed, secrets)),
        generator=SeedTree(cell.seed).torch("attack", round_number=observed.round),
        work=looked.work,
    )


def released_view(cell: Cell, trained: "Trained", looked: Looked) -> ReleasedView:
    """Return what an adversary sees of the released model, and load it into the resident one."""
    seeds, outcome, around = SeedTree(cell.seed), trained.outcome, trained.around
    around.model.load(outcome.end)
    around.model.module.eval()
    looked.shown = outcome.end
    answers = released(around.model, outcome.end, outcome.releases.known, trained.defended().query_hooks, seeds)

    def answer(queries: tuple[Tokens, ...]) -> list[torch.Tensor | None]:
        looked.shown = outcome.end
        with around.asked():
            return answers(queries)

    return ReleasedView(
        model=PublicModel(module=around.model.module, tokenizer=around.tokenizer, layout=around.model.layout),
        answer=answer,
        classes=around.classes,
        training=training_settings(cell.scenario),
        granted=_noted(looked, _lasting(cell, trained)),
        generator=seeds.torch("attack"),
        work=looked.work,
    )


def check_untouched(cell: Cell, around: Surroundings, looked: Looked, frozen: tuple[float, ...]) -> None:
    """Raise RuntimeError if an attack, or one before it, changed the model that it was shown or a granted one.

    Args:
        cell: whose attack it was.
        around: the federation.
        looked: what it was shown.
        frozen: fingerprint of what is not trained.
    """
    if looked.shown is not None:
        same = bool((around.model.snapshot() == looked.shown).all()) and fingerprint(around.model.module) == frozen
        same = same and around.model.attached()
        if not same or around.model.module.training:
            raise RuntimeError(f"{cell.attack_label} changed the model that it was shown; an attack only looks")
    if around.public.changed():
        raise RuntimeError(f"{cell.attack_label} changed the language model that it was granted; an attack only looks")


def _messages(cell: Cell, observed: Observed, friends: tuple[int, ...]) -> tuple[Message, ...]:
    """Return what a protocol sent, as far as it crossed the attack's position: all of it passes by the server."""
    position = cell.attack_position
    if position == Position.SERVER or (position == Position.WIRE and not cell.scenario.federation.tls):
        return observed.messages
    own = {*friends, *([AUTHORITY] if position == Position.KEY_HOLDER else [])}
    return tuple(message for message in observed.messages if {message.sender, message.receiver} & own)


class _Rows(NamedTuple):
    """Return the single updates that are seen, and their senders."""

    clients: tuple[int, ...]
    rows: torch.Tensor | None


def _rows(cell: Cell, observed: Observed, friends: tuple[int, ...], part: int) -> _Rows:
    """Return the rows of clients that do not collude: as sent, or as the sum gives away the last one."""
    others = tuple(client for client in observed.clients if client not in friends)
    decrypts = cell.keys == Keys.SHARED and bool(friends)  # the server's ciphertexts, by a colluding client's key
    decrypts |= cell.attack_position == Position.KEY_HOLDER and cell.keys == Keys.AUTHORITY  # what it is to add up
    if (cell.aggregation == Aggregation.PLAIN or decrypts or part) and cell.attack_position != Position.CLIENT:
        return _Rows(others, _of(observed, others)[:, part:])
    return _Rows(others, _left_over(observed, _aggregate(cell, observed), others[0]))


def _left_over(observed: Observed, aggregate: torch.Tensor, client: int) -> torch.Tensor:
    """Return the one row that is left of the sum without the others [1, parameters]."""
    assert observed.weights is not None  # noqa: S101 - a sum has weights
    place = observed.clients.index(client)
    weights = observed.weights.clone()
    weights[place] = 0.0
    rest = aggregate.double() - weighted_sum(observed.rows, weights).double()
    return (rest / observed.weights[place]).float()[None, :]


def _of(observed: Observed, clients: tuple[int, ...]) -> torch.Tensor:
    """Return these clients' rows [clients, parameters]; all of them are mapped into memory, not copied."""
    if clients == observed.clients:
        return observed.rows
    return observed.rows[[observed.clients.index(client) for client in clients]]


def _colluders(cell: Cell, observed: Observed) -> tuple[int, ...]:
    """Return the clients of the round that collude with the attacker; a curious client colludes with itself."""
    return _friends(cell, observed.clients)


def _friends(cell: Cell, clients: tuple[int, ...]) -> tuple[int, ...]:
    """Return which of these senders of a round's updates collude with the attacker."""
    if cell.forges:
        hostile = malicious_clients(cell.scenario, cell.seed)
        return tuple(client for client in clients if client in hostile)
    count = 1 if cell.attack_position == Position.CLIENT else cell.scenario.threat.colluding
    if cell.attack_position not in (Position.CLIENT, Position.SERVER) or not count or not clients:
        return ()
    everybody = cell.scenario.federation.clients
    order = SeedTree(cell.seed).numpy("colluding").permutation(everybody)
    if cell.attack_position == Position.CLIENT:
        return next((int(client),) for client in order if client in clients)
    chosen = {int(client) for client in order[:count]}
    return tuple(client for client in clients if client in chosen)


def _aggregate(cell: Cell, observed: Observed, part: int = 0) -> torch.Tensor:
    """Return the round's aggregate; a party that does not aggregate sees the scaled step of the global model."""
    reads = cell.attack_position == Position.KEY_HOLDER or part > 0
    reads |= cell.attack_position == Position.SERVER and cell.aggregation != Aggregation.HOMOMORPHIC
    if reads:
        return observed.aggregate[part:].clone()
    federation = cell.scenario.federation
    factor = federation.server_learning_rate
    if federation.update == "gradient":
        factor *= -federation.learning_rate
    return (observed.end - observed.start) / factor


def _of_round(
    cell: Cell, around: Surroundings, observed: Observed, secrets: Mapping[int, Secret]
) -> dict[Knowledge, Any]:
    clients = tuple(secrets)
    available: dict[Knowledge, Callable[[], Any]] = {
        Knowledge.LABELS: lambda: tuple(secrets[c].labels for c in clients),
        Knowledge.LENGTHS: lambda: tuple(secrets[c].lengths for c in clients),
        Knowledge.COHORT: lambda: observed.cohort,
        Knowledge.DEFENSE_SETTINGS: lambda: cell.told,
        Knowledge.AUXILIARY_TEXT: lambda: around.public.of(cell.scenario).auxiliary,
    }
    return {kind: available[kind]() for kind in knowledge(cell) if kind in available}


def _lasting(cell: Cell, trained: "Trained") -> dict[Knowledge, Any]:
    """Return what belongs to no single round."""
    available: dict[Knowledge, Callable[[], Any]] = {
        Knowledge.BASE_MODEL: trained.outcome.start.clone,
        Knowledge.DEFENSE_SETTINGS: lambda: cell.told,
        Knowledge.AUXILIARY_TEXT: lambda: trained.around.public.of(cell.scenario).auxiliary,
        Knowledge.CLIENT_TEXTS_DISTRIBUTION: trained.peers,
    }
    return {kind: available[kind]() for kind in knowledge(cell) if kind in available}


def _noted(looked: Looked, content: Mapping[Knowledge, Any]) -> Granted:
    granted = Granted(content)
    looked.granted.append(granted)
    return granted
