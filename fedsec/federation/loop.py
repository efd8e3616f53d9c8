"""The round loop: sampling, local training, updates, the wire, the rule, the server's step, evaluation.

The order of steps is DESIGN section 3; the numbers in comments are its steps. Honest and malicious clients run the
same code: a malicious one has another list of hooks, and a blackboard.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from fedsec.api import ClientView, Population, RoundContext, TrainingSettings, UpdateHook
from fedsec.data.corpus import Example
from fedsec.data.tokens import Tokenised, collate, content_ids
from fedsec.federation.evaluation import Evaluation, evaluate
from fedsec.federation.local import LocalTrainer
from fedsec.federation.plugins import Plugin, ServerSide, client_side
from fedsec.federation.progress import Progress
from fedsec.federation.transcript import Observed, RoundSummary, Secret, Vault
from fedsec.maths.rows import Rows
from fedsec.models.flat import FlatModel
from fedsec.seeds import SeedTree
from fedsec.wire.receive import Message, Received, receive

BYTES_PER_VALUE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class FederationSettings:
    """The protocol as the loop needs it."""

    training: TrainingSettings
    rounds: int
    cohort: int
    """Clients in a round."""
    server_learning_rate: float
    weighting: str
    evaluate_every: int
    declared_malicious: int
    """f in a round of `cohort` clients."""
    observe: frozenset[int]
    """Rounds whose rows are kept for attacks."""
    grant_benign_updates: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Participants:
    """Clients, their rows of the training split, and who is malicious."""

    rows: Sequence[np.ndarray]
    """Row numbers of each client."""
    malicious: frozenset[int] = frozenset()
    attack: Plugin | None = None
    """What malicious clients run when their update leaves; None in a control."""
    obeys_client_defenses: bool = False


@dataclass(slots=True)
class Outcome:
    """What a federation produced."""

    untrained: Evaluation
    final: Evaluation
    curve: list[tuple[int, float, float]]
    """(round, accuracy, loss on the test set); round 0 is the untrained model."""
    rounds: list[RoundSummary]
    observed: dict[int, Observed]
    vault: Vault


@dataclass(slots=True)
class _Client:
    hooks: list[UpdateHook]
    colluding: bool


@dataclass(slots=True)
class Federation:
    """A federation ready to run.

    Args:
        model: the resident model; its trainables at the start are the global model's.
        train, test: tokenised splits.
        examples: the training split's texts, for the vault.
        tokenizer: gives padding and special tokens.
        participants: clients and attackers.
        stack: the defense stack.
        settings: the protocol.
        seeds: the seed tree.
        on_round: called after every round.
    """

    model: FlatModel
    train: Tokenised
    test: Tokenised
    examples: Sequence[Example]
    tokenizer: Any
    participants: Participants
    stack: tuple[Plugin, ...]
    settings: FederationSettings
    seeds: SeedTree
    on_round: Callable[[Progress], None] = lambda _: None
    _vault: Vault = field(default_factory=Vault)
    _blackboard: dict[str, Any] = field(default_factory=dict)

    def run(self) -> Outcome:
        """All rounds."""
        settings = self.settings
        server = ServerSide(self.stack)
        clients = [self._equip(client) for client in range(len(self.participants.rows))]
        trainer = LocalTrainer(self.model, settings.training, dropout=self.model.setup.dropout)
        current = self.model.values.clone()  # [parameters]
        buffer = torch.empty(settings.cohort, len(current))  # [clients, parameters]
        untrained = evaluation = self._evaluate(current)
        curve = [(0, untrained.accuracy, untrained.loss)]
        summaries, observed = [], {}
        for number in range(1, settings.rounds + 1):
            began = time.perf_counter()
            cohort = self._sample(number)
            losses = self._train(number, cohort, current, buffer, trainer)  # 1 to 3
            received = self._send(number, cohort, clients, current, buffer)  # 4 and 5
            aggregate, weights, skipped = self._aggregate(number, server, received)  # 6
            if number in settings.observe:
                observed[number] = Observed(
                    number, received.clients, received.rows.clone(), aggregate.clone(), current.clone()
                )
            self._step(current, aggregate)  # 7
            seconds = time.perf_counter() - began
            summaries.append(self._summary(number, cohort, losses, received, weights, skipped, seconds))
            accuracy = None
            if number % settings.evaluate_every == 0 or number == settings.rounds:  # 8
                evaluation = self._evaluate(current)
                accuracy = evaluation.accuracy
                curve.append((number, accuracy, evaluation.loss))
            self.on_round(
                Progress(number, settings.rounds, len(cohort), summaries[-1].loss, accuracy, len(received.rejected))
            )
        self.model.load(current)
        return Outcome(untrained, evaluation, curve, summaries, observed, self._vault)

    def _equip(self, client: int) -> _Client:
        participants = self.participants
        hostile = client in participants.malicious and participants.attack is not None
        hooks = client_side(self.stack) if not hostile or participants.obeys_client_defenses else []
        if hostile and participants.attack is not None:
            hooks.append(participants.attack.make())
        return _Client(hooks, hostile)

    def _sample(self, number: int) -> list[int]:
        everybody = len(self.participants.rows)
        generator = self.seeds.numpy("cohort", round_number=number)
        return sorted(int(c) for c in generator.choice(everybody, size=self.settings.cohort, replace=False))

    def _train(
        self,
        number: int,
        cohort: list[int],
        current: torch.Tensor,
        buffer: torch.Tensor,
        trainer: LocalTrainer,
    ) -> list[float]:
        losses = []
        for row, client in enumerate(cohort):
            chosen = self._choose(number, client)
            batches = [collate(self.train, rows, self.tokenizer.pad_token_id) for rows in chosen]
            dropout = self.seeds.torch("dropout", round_number=number, client=client)
            losses.append(trainer.update(current, batches, buffer[row], dropout))
            if number in self.settings.observe:
                self._vault.secrets[number, client] = self._secret(np.concatenate(chosen))
        return losses

    def _choose(self, number: int, client: int) -> list[np.ndarray]:
        """Row numbers of each local step: the client's rows in random order, over again when they run out."""
        own = self.participants.rows[client]
        steps, size = self.settings.training.local_steps, self.settings.training.batch_size
        size = min(size, len(own))
        generator = self.seeds.numpy("batches", round_number=number, client=client)
        passes = -(-steps * size // len(own))
        order = np.concatenate([generator.permutation(own) for _ in range(passes)])
        return [order[step * size : (step + 1) * size] for step in range(steps)]

    def _secret(self, rows: np.ndarray) -> Secret:
        ids = [self.train.ids[i] for i in rows]
        return Secret(
            tokens=tuple(content_ids(one, self.tokenizer) for one in ids),
            lengths=tuple(len(one) for one in ids),
            labels=tuple(int(self.train.labels[i]) for i in rows),
            planted=tuple(self.examples[i].planted for i in rows),
        )

    def _send(
        self,
        number: int,
        cohort: list[int],
        clients: list[_Client],
        current: torch.Tensor,
        buffer: torch.Tensor,
    ) -> Received:
        colluders = tuple(c for c in cohort if clients[c].colluding)
        benign = None
        if self.settings.grant_benign_updates and colluders:
            benign = buffer[[i for i, c in enumerate(cohort) if not clients[c].colluding]]
        messages = []
        for row, client in enumerate(cohort):
            payload: Any = buffer[row]
            for hook in clients[client].hooks:
                colluding = clients[client].colluding
                view = ClientView(
                    client=client,
                    round=number,
                    global_parameters=current,
                    generator=self.seeds.torch(f"hook {type(hook).__name__}", round_number=number, client=client),
                    blackboard=self._blackboard if colluding else None,
                    colluders=colluders if colluding else (),
                    benign_updates=benign if colluding else None,
                )
                payload = hook.on_update(payload, view)
            messages.append(Message(client, payload, len(self.participants.rows[client])))
        enrolled = [len(self.participants.rows[client]) for client in cohort]
        return receive(messages, len(current), enrolled, buffer)

    def _aggregate(
        self, number: int, server: ServerSide, received: Received
    ) -> tuple[torch.Tensor, torch.Tensor | None, str | None]:
        """The update [parameters], the weight that each received row got, and why the round was skipped if so."""
        nothing = torch.zeros(self.model.layout.size)
        count = len(received.clients)
        if count == 0:
            return nothing, None, "no client sent a usable update"
        declared = max(0, self.settings.declared_malicious - len(received.rejected))
        context = RoundContext(
            round=number,
            clients=received.clients,
            declared_malicious=declared,
            generator=self.seeds.torch("server", round_number=number),
        )
        rows = Rows(received.rows)
        for step in server.filters:
            rows = rows.mixed(step.mixing(rows, context))
        if len(rows) == 0:
            return nothing, None, "the filters dropped every row"
        if server.rule is None:
            weights = self._plain_weights(received, rows)
        else:
            refusal = server.refusal(Population(clients=len(rows), declared_malicious=declared))
            if refusal:
                return nothing, None, refusal
            weights = server.rule.weights(rows, context)
        return rows.weighted_sum(weights), weights @ rows.mixing, None

    def _plain_weights(self, received: Received, rows: Rows) -> torch.Tensor:
        if self.settings.weighting == "examples":
            # A mixed row stands for as many examples as the rows that it is made of, each by its share.
            claims = rows.mixing @ torch.tensor(received.examples, dtype=torch.float64)
            return claims / claims.sum()
        return torch.full((len(rows),), 1.0 / len(rows), dtype=torch.float64)

    def _step(self, current: torch.Tensor, aggregate: torch.Tensor) -> None:
        if self.settings.training.update == "gradient":
            current.add_(aggregate, alpha=-self.settings.training.learning_rate)
        else:
            current.add_(aggregate, alpha=self.settings.server_learning_rate)

    def _evaluate(self, current: torch.Tensor) -> Evaluation:
        return evaluate(self.model, current, self.test, self.tokenizer.pad_token_id)

    def _summary(
        self,
        number: int,
        cohort: list[int],
        losses: list[float],
        received: Received,
        weights: torch.Tensor | None,
        skipped: str | None,
        seconds: float,
    ) -> RoundSummary:
        return RoundSummary(
            round=number,
            clients=tuple(cohort),
            loss=sum(losses) / len(losses),
            rejected=received.rejected,
            weights=None if weights is None else tuple(weights.tolist()),
            skipped=skipped,
            upload_bytes=received.upload_bytes,
            download_bytes=BYTES_PER_VALUE * self.model.layout.size,
            seconds=seconds,
        )
