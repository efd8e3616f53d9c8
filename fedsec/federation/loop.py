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

from fedsec.api import Knowledge, TrainingSettings
from fedsec.data.corpus import Example
from fedsec.data.tokens import Tokenised, collate, content_ids
from fedsec.federation.aggregation import Aggregate, Aggregator
from fedsec.federation.evaluation import Evaluation, evaluate
from fedsec.federation.local import LocalTrainer
from fedsec.federation.plugins import Stack
from fedsec.federation.progress import Progress
from fedsec.federation.sending import Adversary, Sender
from fedsec.federation.transcript import Observed, RoundSummary, Secret, Vault
from fedsec.models.flat import FlatModel
from fedsec.seeds import SeedTree
from fedsec.wire.receive import Received

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
    knowledge_used: frozenset[Knowledge]
    """What malicious clients looked up of what they were granted."""


@dataclass(slots=True)
class Federation:
    """A federation ready to run.

    Args:
        model: the resident model; its trainables at the start are the global model's.
        train, test: tokenised splits.
        examples: the training split's texts, for the vault.
        tokenizer: gives padding and special tokens.
        rows: row numbers of the training split that each client holds.
        stack: the defense stack.
        adversary: malicious clients and what they run, or None.
        settings: the protocol.
        seeds: the seed tree.
        on_round: called after every round.
    """

    model: FlatModel
    train: Tokenised
    test: Tokenised
    examples: Sequence[Example]
    tokenizer: Any
    rows: Sequence[np.ndarray]
    stack: Stack
    adversary: Adversary | None
    settings: FederationSettings
    seeds: SeedTree
    on_round: Callable[[Progress], None] = lambda _: None
    _vault: Vault = field(default_factory=Vault)

    def run(self) -> Outcome:
        """All rounds."""
        settings = self.settings
        enrolled = [len(rows) for rows in self.rows]
        sender = Sender(enrolled, self.stack, self.adversary, self.model.layout, settings.training, self.seeds)
        aggregator = Aggregator(
            self.stack,
            weighting=settings.weighting,
            declared_malicious=settings.declared_malicious,
            layout=self.model.layout,
            seeds=self.seeds,
        )
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
            received = sender.send(number, cohort, current, buffer)  # 4 and 5
            aggregate = aggregator.aggregate(number, received, current)  # 6
            if number in settings.observe:
                observed[number] = Observed(
                    number, received.clients, received.rows.clone(), aggregate.vector.clone(), current.clone()
                )
            self._step(current, aggregate.vector)  # 7
            seconds = time.perf_counter() - began
            summaries.append(self._summary(number, cohort, losses, received, aggregate, seconds))
            accuracy = None
            if number % settings.evaluate_every == 0 or number == settings.rounds:  # 8
                evaluation = self._evaluate(current)
                accuracy = evaluation.accuracy
                curve.append((number, accuracy, evaluation.loss))
            self.on_round(
                Progress(number, settings.rounds, len(cohort), summaries[-1].loss, accuracy, len(received.rejected))
            )
        self.model.load(current)
        return Outcome(untrained, evaluation, curve, summaries, observed, self._vault, frozenset(sender.granted.used))

    def _sample(self, number: int) -> list[int]:
        everybody = len(self.rows)
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
        """Row numbers of each local step: the client's rows in random order, reshuffled when too few are left.

        No row comes twice in a batch.
        """
        own = self.rows[client]
        steps = self.settings.training.local_steps
        size = min(self.settings.training.batch_size, len(own))
        generator = self.seeds.numpy("batches", round_number=number, client=client)
        per_pass = len(own) // size
        orders = [generator.permutation(own) for _ in range(-(-steps // per_pass))]
        return [
            orders[step // per_pass][step % per_pass * size : (step % per_pass + 1) * size] for step in range(steps)
        ]

    def _secret(self, rows: np.ndarray) -> Secret:
        ids = [self.train.ids[i] for i in rows]
        return Secret(
            tokens=tuple(content_ids(one, self.tokenizer) for one in ids),
            lengths=tuple(len(one) for one in ids),
            labels=tuple(int(self.train.labels[i]) for i in rows),
            planted=tuple(self.examples[i].planted for i in rows),
        )

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
        aggregate: Aggregate,
        seconds: float,
    ) -> RoundSummary:
        return RoundSummary(
            round=number,
            clients=tuple(cohort),
            loss=sum(losses) / len(losses),
            rejected=received.rejected,
            weights=None if aggregate.weights is None else tuple(aggregate.weights.tolist()),
            skipped=aggregate.skipped,
            upload_bytes=received.upload_bytes,
            download_bytes=BYTES_PER_VALUE * self.model.layout.size,
            seconds=seconds,
        )
