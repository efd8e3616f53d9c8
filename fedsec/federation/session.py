"""A federation while it runs: one round after the other, and everything that changes from round to round.

The order of steps is DESIGN section 3; the numbers in comments are its steps. Honest and malicious clients run the
same code: a malicious one has another list of hooks, and a blackboard.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import isnan, nan
from typing import Any

import torch

from fedsec.api import (
    SERVER,
    Knowledge,
    Message,
)
from fedsec.federation.aggregation import Aggregate, Aggregator
from fedsec.federation.availability import Attendance, Availability
from fedsec.federation.client import ClientSide
from fedsec.federation.clients import Clients, Surroundings
from fedsec.federation.delivery import Delivery, delivered
from fedsec.federation.holdings import Holdings
from fedsec.federation.measurements import Measurements
from fedsec.federation.monitor import Monitor
from fedsec.federation.outcome import Outcome
from fedsec.federation.own_training import OwnTraining
from fedsec.federation.parties import Federation
from fedsec.federation.progress import Progress
from fedsec.federation.releases import Releases
from fedsec.federation.sending import Sender
from fedsec.federation.server import ServerSide
from fedsec.federation.server_optimizer import ServerOptimizer
from fedsec.federation.spending import covered_by, notices, open_ledger, spend_for_all
from fedsec.federation.transcript import Observed, RoundSummary, Secret
from fedsec.federation.trusted import Trusted
from fedsec.models.local import LocalTrainer
from fedsec.privacy.keystream import secure, seeded
from fedsec.wire.protocol import InProcessWire
from fedsec.wire.receive import Received, Rejection

_BYTES_PER_VALUE = 4


class Session:
    """A federation while it runs: everything that changes from round to round."""

    def __init__(self, federation: Federation) -> None:
        f, settings = federation, federation.settings
        layout, training = f.model.layout, settings.training
        self._f = f
        self._enrolled = [len(rows) for rows in f.rows]
        self._measurements = Measurements()
        self._aggregator = Aggregator(
            f.stack,
            weighting=settings.weighting,
            declared_malicious=settings.declared_malicious,
            layout=layout,
            training=training,
            seeds=f.seeds,
            measurements=self._measurements,
            trusted=len(f.trusted),
        )
        dropout = f.model.setup.dropout
        self._own = OwnTraining(f.model, training, f.tokenise, f.tokenizer, f.classes, dropout=dropout)
        around = Surroundings(
            layout=layout,
            training=training,
            classes=f.classes,
            tokenizer=f.tokenizer,
            enrolled=self._enrolled,
            own_training=self._own,
            seen=f.seen,
            language=f.language,
            aggregator=self._aggregator,
        )
        self._clients = Clients(f.stack, f.adversary, around, f.seeds)
        self._ledger = open_ledger(f, self._clients)
        self._server = ServerSide(f, self._measurements)
        self._holdings = Holdings(f.train, f.examples, f.rows, f.tokenise, f.tokenizer, f.seeds)
        self._sender = Sender(self._enrolled, self._clients, self._measurements)
        self._availability = Availability(settings.availability, layout.size, f.seeds)
        descends = training.update == "gradient"
        rate = settings.server_learning_rate * (training.learning_rate if descends else 1.0)
        self._optimizer = ServerOptimizer(settings.server_optimizer, rate, descends=descends)
        trainer = LocalTrainer(f.model, training, dropout=dropout)
        self._work = ClientSide(f, self._clients, self._holdings, trainer, self._measurements, self._ledger)
        self._trusted = Trusted(f, self._holdings, trainer) if len(f.trusted) else None
        self._start = f.model.snapshot()  # [parameters]
        self._current = self._start.clone()  # [parameters]
        self._processes = f.processes
        largest = len(f.rows) if training.sampling == "poisson" else settings.cohort
        self._buffer = self._processes.empty(largest, layout.size)  # [clients, parameters]
        self._monitor = Monitor(f)
        self._summaries: list[RoundSummary] = []
        self._seen = settings.observe.union(*(watcher.rounds for watcher in f.watchers))
        self._vault = f.vault
        self.done = 0
        """Rounds that are over."""

    def round(self) -> None:
        """The next round."""
        if not self._monitor.curve:
            self._monitor.evaluate(0, self._current)  # the untrained model
        number, settings = self.done + 1, self._f.settings
        began = time.perf_counter()
        self._clients.begin(number)
        cohort = self._server.sample(number)
        attendance = self._availability.attend(number, cohort)
        self._clients.granted.withdraw(Knowledge.BENIGN_UPDATES)  # until this round's are known
        received = self._server.broadcast(number, attendance.working, tuple(cohort), self._current)  # 1
        losses = self._work.train(number, attendance, received, self._buffer, self._seen)  # 2 and 3
        rows = self._buffer[: len(attendance.working)]  # [working, parameters]
        messages = self._sender.send(number, attendance.working, received, rows)  # 4
        delivery = delivered(  # 5
            number,
            messages,
            attendance,
            received,
            self._availability,
            self._enrolled,
            self._buffer,
            readable=self._f.stack.exchange is None,  # under masks and ciphertexts, clients' encoders bound values
        )
        arrived, staleness = delivery.received, delivery.staleness
        before = self._current.clone() if number in self._seen else None
        absent = tuple(one.client for one in attendance.absent)
        trusted = self._trusted.of(number, self._current) if self._trusted is not None else None
        wire = None if self._f.stack.exchange is None else self._wire(number, attendance, received)
        aggregate = self._aggregator.aggregate(
            number, arrived, self._current, staleness, absent, trusted, wire
        )  # 6 and 7
        if aggregate.spent is not None:
            spend_for_all(self._f, self._ledger, aggregate.spent)
        if aggregate.summed is not None:
            delivery = delivery.of(aggregate.summed, aggregate.dropped)
            arrived, staleness = delivery.received, delivery.staleness
        if aggregate.skipped is None:
            self._optimizer.step(self._current, aggregate.applied)
            self._aggregator.after_step(number, arrived, self._current, staleness, absent)
        seconds = time.perf_counter() - began
        if before is not None:
            self._observe(number, before, delivery, aggregate, () if wire is None else tuple(wire.messages))
        gone = () if wire is None else tuple(Rejection(*one) for one in sorted(wire.absent.items()) if one[0] >= 0)
        attendance = attendance._replace(absent=attendance.absent + gone + aggregate.lost)
        summary = self._summary(number, losses, arrived, attendance, staleness, aggregate, seconds)
        if wire is not None:
            summary = replace(summary, party_seconds=wire.party_seconds, party_bytes=wire.link_bytes)
        self._summaries.append(summary)
        self.done = number
        if number % settings.evaluate_every == 0 or number == settings.rounds:  # 8
            self._monitor.evaluate(number, self._current)
        self._report()

    def notices(self) -> list[str]:
        """Return what the user should know before training begins."""
        return [] if self.done else notices(self._f, self._ledger)

    def outcome(self) -> Outcome:
        """Return the result; the resident model holds the released parameters afterwards."""
        f = self._f
        releases = Releases(f, self._monitor, self._start, self._current)
        self._buffer = torch.empty(0)  # no round follows, and it may be large
        return Outcome(
            **releases.under(f.stack).parts(),
            curve=self._monitor.curve,
            rounds=self._summaries,
            observed=f.store,
            vault=self._vault,
            knowledge_used=frozenset(self._clients.granted.used | self._server.granted.used),
            start=self._start,
            predictions=self._monitor.predicted,
            server=self._server.state(),
            guarantee=self._ledger.guarantee(covered_by(f)),
            hostile=self._clients.memory_of_attack(),
            releases=releases,
        )

    def state(self) -> dict[str, Any]:
        """Return everything that the next round depends on; randomness is keyed by round and client."""
        return {
            "done": self.done,
            "current": self._current,
            "optimizer": self._optimizer.state(),
            "stack": self._f.stack.state(),
            "clients": self._clients.state(),
            "server": self._server.state(),
            "server_used": sorted(self._server.granted.used),
            "under_way": self._availability.state(),
            "ledger": self._ledger.state(),
            "rounds": [summary.as_json() for summary in self._summaries],
            "observed": sorted(self._f.store),
            "monitor": self._monitor.state(),
            "watchers": [dict(watcher.state()) for watcher in self._f.watchers],
            "secrets": [[number, client, secret] for (number, client), secret in self._vault.secrets.items()],
        }

    def load_state(self, state: Mapping[str, Any], *, honest_only: bool = False) -> None:
        """Continue from a state; raises an error, and leaves this session unusable, if the state does not fit.

        Args:
            state: from `state`.
            honest_only: it is of a training that was honest so far, shared by attacks that begin after it: of another
                adversary, and of no goal's texts.
        """
        done, current = state["done"], state["current"]
        if type(done) is not int or not 0 < done <= self._f.settings.rounds:
            raise ValueError("no round to go on from")
        if current.dtype != torch.float32 or current.shape != self._current.shape or not bool(current.isfinite().all()):
            raise ValueError("no global model")
        self._summaries = [RoundSummary.from_json(one) for one in state["rounds"]]
        self._monitor.load_state(state["monitor"], curve_only=honest_only)
        if [summary.round for summary in self._summaries] != list(range(1, done + 1)):
            raise ValueError("rounds are missing")
        self._vault.secrets = {(number, client): Secret.from_json(s) for number, client, s in state["secrets"]}
        self._current.copy_(current)
        self._optimizer.load_state(state["optimizer"], self._current)
        self._availability.load_state(state["under_way"])
        self._ledger.load_state(state["ledger"])
        self._server.granted.used = {Knowledge(kind) for kind in state["server_used"]}
        self._clients.load_state(state["clients"], honest_only=honest_only)
        self._f.stack.load_state(state["stack"])
        self.done = done
        if honest_only:
            return
        self._f.store.take_up(state["observed"])
        for watcher, memory in zip(self._f.watchers, state["watchers"], strict=True):
            watcher.load_state(memory)
        self._server.load_state(state["server"])

    def begin_watching(self) -> None:
        """Watch a goal's texts from this round on, for whichever cell the honest rounds before were trained."""
        self._monitor.begin(self.done, self._current)

    def _wire(self, number: int, attendance: Attendance, received: Mapping[int, torch.Tensor]) -> InProcessWire:
        """Return what carries the messages of a protocol of secure aggregation in a round."""
        seeds, secret, cohort = self._f.seeds, self._f.settings.randomness == "secure", attendance.working

        def says(message: Message) -> bytes:
            if message.sender >= 0:
                return self._work.says(number, message, received, cohort)
            return self._server.says(number, message, cohort) if message.sender == SERVER else message.content

        return InProcessWire(
            secrets=secure if secret else seeded(seeds.key, number),
            lasting=secure if secret else seeded(seeds.key, 0),
            leaves=partial(self._availability.leaves, number),
            says=says,
            keeps=number in self._seen,
            seeded=not secret,
        )

    def _observe(
        self,
        number: int,
        before: torch.Tensor,
        delivery: Delivery,
        aggregate: Aggregate,
        messages: tuple[Message, ...],
    ) -> None:
        arrived = delivery.received
        own = any(held.started is not self._current for held in delivery.kept)
        observed = Observed(
            round=number,
            cohort=tuple(sorted({*arrived.clients, *(r.client for r in arrived.rejected)})),
            clients=arrived.clients,
            examples=arrived.examples,
            rows=arrived.rows if aggregate.rows is None else aggregate.rows(),
            weights=aggregate.weights,
            aggregate=aggregate.vector,
            start=before,
            end=self._current,
            staleness=delivery.staleness,
            started=torch.stack([before if h.started is self._current else h.started for h in delivery.kept])
            if own
            else None,
            upload_bytes=aggregate.upload_bytes,
            messages=messages,
        )
        if number in self._f.settings.observe:
            self._f.store.keep(observed)
        for watcher in self._f.watchers:
            if number in watcher.rounds:
                watcher.look(observed)

    def _summary(
        self,
        number: int,
        losses: Sequence[float],
        arrived: Received,
        attendance: Attendance,
        staleness: tuple[int, ...],
        aggregate: Aggregate,
        seconds: float,
    ) -> RoundSummary:
        senders = sorted({*arrived.clients, *(r.client for r in arrived.rejected)})
        return RoundSummary(
            round=number,
            clients=tuple(senders),
            loss=_mean(losses),
            rejected=arrived.rejected,
            clamped=arrived.clamped,
            absent=attendance.absent,
            staleness=staleness,
            weights=None if aggregate.weights is None else tuple(aggregate.weights.tolist()),
            skipped=aggregate.skipped,
            upload_bytes=aggregate.upload_bytes,
            download_bytes=aggregate.sends_model * _BYTES_PER_VALUE * self._f.model.layout.size
            + aggregate.download_bytes,
            seconds=seconds,
            norms=None if aggregate.norms is None else tuple(aggregate.norms.tolist()),
            measurements=self._measurements.means(),
        )

    def _report(self) -> None:
        summary, (number, accuracy, _) = self._summaries[-1], self._monitor.curve[-1]
        accuracy = accuracy if number == self.done else None
        rounds, rejected = self._f.settings.rounds, len(summary.rejected)
        self._f.on_round(Progress(self.done, rounds, len(summary.clients), summary.loss, accuracy, rejected))


def _mean(losses: Sequence[float]) -> float:
    """Over clients that had a row to learn from."""
    known = [loss for loss in losses if not isnan(loss)] or list(losses)
    return sum(known) / len(known) if known else nan
