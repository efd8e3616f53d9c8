"""A federation while it runs: one round after the other, and everything that changes from round to round.

The order of steps is DESIGN section 3; the numbers in comments are its steps. Honest and malicious clients run the
same code: a malicious one has another list of hooks, and a blackboard.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from math import isnan, nan
from typing import Any

import torch

from fedsec.api import (
    SERVER,
    BroadcastView,
    GaussianMechanism,
    Granted,
    Knowledge,
    Message,
    ReleaseView,
    Sample,
    Unit,
    implements,
)
from fedsec.federation.aggregation import Aggregate, Aggregator
from fedsec.federation.availability import Attendance, Availability, Held
from fedsec.federation.clients import Clients, Surroundings
from fedsec.federation.draws import cohort_of
from fedsec.federation.holdings import Holdings, check_samples, expected_rows
from fedsec.federation.measurements import Measurements
from fedsec.federation.monitor import Monitor
from fedsec.federation.outcome import Outcome
from fedsec.federation.own_training import OwnTraining
from fedsec.federation.parties import Federation
from fedsec.federation.plugins import checked, load_state_of, state_of
from fedsec.federation.progress import Progress
from fedsec.federation.release import prepared
from fedsec.federation.sending import Sender
from fedsec.federation.server_optimizer import ServerOptimizer
from fedsec.federation.spending import covered_by, notices, open_ledger
from fedsec.federation.steps import Hooked, StepHooks
from fedsec.federation.transcript import Observed, RoundSummary, Secret
from fedsec.federation.trusted import Trusted
from fedsec.models.local import LocalTrainer
from fedsec.privacy.keystream import secure, seeded
from fedsec.wire.protocol import InProcessWire
from fedsec.wire.receive import Message as Sent
from fedsec.wire.receive import Received, Rejection, receive

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
            aggregator=self._aggregator,
        )
        self._clients = Clients(f.stack, f.adversary, around, f.seeds)
        self._ledger = open_ledger(f, self._clients)
        self._server: Any = checked(f.server.attack) if f.server else None
        self._granted = Granted(f.server.knowledge if f.server else {})
        self._holdings = Holdings(f.train, f.examples, f.rows, f.tokenise, f.tokenizer, f.seeds)
        self._sender = Sender(self._enrolled, self._clients, self._measurements)
        self._availability = Availability(settings.availability, layout.size, f.seeds)
        descends = training.update == "gradient"
        rate = settings.server_learning_rate * (training.learning_rate if descends else 1.0)
        self._optimizer = ServerOptimizer(settings.server_optimizer, rate, descends=descends)
        self._trainer = LocalTrainer(f.model, training, dropout=dropout)
        self._trusted = Trusted(f, self._holdings, self._trainer) if len(f.trusted) else None
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
        cohort = self._sample(number)
        attendance = self._availability.attend(number, cohort)
        self._clients.granted.withdraw(Knowledge.BENIGN_UPDATES)  # until this round's are known
        received = self._broadcast(number, attendance.working, tuple(cohort))  # 1
        losses = self._train(number, attendance, received)  # 2 and 3
        rows = self._buffer[: len(attendance.working)]  # [working, parameters]
        messages = self._sender.send(number, attendance.working, received, rows)  # 4
        delivery = self._deliver(number, attendance, messages, received)  # 5
        arrived, staleness = delivery.received, delivery.staleness
        before = self._current.clone() if number in self._seen else None
        absent = tuple(one.client for one in attendance.absent)
        trusted = self._trusted.of(number, self._current) if self._trusted is not None else None
        wire = None if self._f.stack.exchange is None else self._wire(number, attendance, received)
        aggregate = self._aggregator.aggregate(
            number, arrived, self._current, staleness, absent, trusted, wire
        )  # 6 and 7
        if aggregate.summed is not None:
            delivery = delivery.of(aggregate.summed)
            arrived, staleness = delivery.received, delivery.staleness
        if aggregate.skipped is None:
            self._optimizer.step(self._current, aggregate.applied)
            self._aggregator.after_step(number, arrived, self._current, staleness, absent)
        seconds = time.perf_counter() - began
        if before is not None:
            self._observe(number, before, delivery, aggregate, () if wire is None else tuple(wire.messages))
        gone = () if wire is None else tuple(Rejection(*one) for one in sorted(wire.absent.items()) if one[0] >= 0)
        attendance = attendance._replace(absent=attendance.absent + gone)
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
        end, server = self._released(), self._server_state()
        stack = deepcopy(f.stack.state())  # what a defense learnt for the release guards it too
        final, watched = self._monitor.final(end, changed=end is not self._current)
        before, written = self._monitor.written(self._start, end)
        f.model.load(end)
        used = frozenset(self._clients.granted.used | self._granted.used)
        return Outcome(
            final=final,
            curve=self._monitor.curve,
            rounds=self._summaries,
            observed=f.store,
            vault=self._vault,
            knowledge_used=used,
            start=self._start,
            end=end,
            watched=watched,
            predictions=self._monitor.predicted,
            stack=stack,
            server=server,
            guarantee=self._ledger.guarantee(covered_by(f)),
            hostile=self._clients.memory_of_attack(),
            before=before,
            written=written,
        )

    def _released(self) -> torch.Tensor:
        """The trainables that are released [parameters]; the very tensor of the global model if no defense acts."""
        f = self._f

        def view(label: str) -> ReleaseView:
            trusted = (f.examples[row] for row in f.trusted)
            return ReleaseView(
                layout=f.model.layout,
                training=f.settings.training,
                classes=f.classes,
                tokenizer=f.tokenizer,
                trusted=tuple(Sample(one.text, one.label, one.prompt) for one in trusted),
                train=self._own.train,
                generator=f.seeds.torch(f"release {label}"),
            )

        return prepared(self._current, f.stack.release_hooks, view)

    def state(self) -> dict[str, Any]:
        """Return everything that the next round depends on; randomness is keyed by round and client."""
        return {
            "done": self.done,
            "current": self._current,
            "optimizer": self._optimizer.state(),
            "stack": self._f.stack.state(),
            "clients": self._clients.state(),
            "server": self._server_state(),
            "server_used": sorted(self._granted.used),
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
        self._granted.used = {Knowledge(kind) for kind in state["server_used"]}
        self._clients.load_state(state["clients"], honest_only=honest_only)
        self._f.stack.load_state(state["stack"])
        self.done = done
        if honest_only:
            return
        self._f.store.take_up(state["observed"])
        for watcher, memory in zip(self._f.watchers, state["watchers"], strict=True):
            watcher.load_state(memory)
        load_state_of([self._server] if self._server is not None else [], state["server"])

    def begin_watching(self) -> None:
        """Watch a goal's texts from this round on, for whichever cell the honest rounds before were trained."""
        self._monitor.begin(self.done, self._current)

    def _sample(self, number: int) -> list[int]:
        settings, pinned = self._f.settings, self._f.pinned
        return cohort_of(
            number,
            self._f.seeds,
            clients=len(self._f.rows),
            size=settings.cohort,
            pinned=pinned,
            sampling=settings.training.sampling,
        )

    def _server_state(self) -> dict[str, Any]:
        return {} if self._server is None else deepcopy(state_of([self._server]))

    def _broadcast(self, number: int, working: Sequence[int], cohort: tuple[int, ...]) -> dict[int, torch.Tensor]:
        """The trainables that each client receives [parameters]; one tensor for all of an honest server's."""
        if self._server is None or not implements(self._server, "on_broadcast"):
            return dict.fromkeys(working, self._current)
        return {client: self._altered(number, client, cohort) for client in working}

    def _altered(self, number: int, client: int, cohort: tuple[int, ...]) -> torch.Tensor:
        f = self._f
        assert f.server is not None  # noqa: S101 - the caller looked
        view = self._broadcast_view(number, client, cohort)
        sent = self._measurements.of(f.server.attack.label, self._server.on_broadcast(self._current.clone(), view))
        fits = isinstance(sent, torch.Tensor) and sent.dtype == torch.float32 and sent.shape == self._current.shape
        if not fits or not bool(sent.isfinite().all()):
            raise ValueError(f"{f.server.attack.label} must broadcast finite fp32 parameters of the model's length")
        return sent.detach().clone()  # type: ignore[no-any-return]

    def _broadcast_view(self, number: int, client: int, cohort: tuple[int, ...], purpose: str = "") -> BroadcastView:
        f = self._f
        assert f.server is not None  # noqa: S101 - the caller looked
        return BroadcastView(
            client=client,
            cohort=cohort,
            round=number,
            layout=f.model.layout,
            training=f.settings.training,
            classes=f.classes,
            tokenizer=f.tokenizer,
            question=f.server.question,
            granted=self._granted,
            generator=f.seeds.torch(f"attack {f.server.attack.label}{purpose}", round_number=number, client=client),
        )

    def _train(self, number: int, attendance: Attendance, received: Mapping[int, torch.Tensor]) -> list[float]:
        """Train all clients into the first rows of the buffer; return the mean loss of each."""
        training, seeds, working = self._f.settings.training, self._f.seeds, attendance.working
        held, chosen = [], []
        for client in working:
            own = self._holdings.of(client, self._data_hooks(number, client, working, received[client]))
            rows = self._holdings.choose(number, client, own.rows, training)
            held.append(own)
            chosen.append(rows)
            arrives = number + attendance.late.get(client, 0)
            if arrives in self._seen:
                self._vault.secrets[arrives, client] = self._holdings.secret(own, rows)
        losses = self._processes.empty(len(working), dtype=torch.float64)

        def train(place: int) -> Mapping[str, Any] | None:
            client, own = working[place], held[place]
            batches = self._holdings.batches(own, chosen[place])
            dropout = seeds.torch("dropout", round_number=number, client=client)
            hooks = self._step_hooks(number, client, working, received[client], len(own.rows))
            expected = expected_rows(len(own.rows), training)
            out = self._buffer[place]
            losses[place] = self._trainer.update(received[client], batches, out, dropout, hooks, expected)
            return None if hooks is None else hooks.report()

        hostile = self._clients.colluders(working)  # each reads what others of them wrote on the blackboard
        hooked = (place for place, client in enumerate(working) if self._clients.hooks(client, "on_step"))
        done = self._processes.run(
            len(working), train, "train", [place for place in hooked if working[place] in hostile]
        )
        for client, (report, elsewhere) in zip(working, done, strict=True):
            if report is not None:
                self._take_in(client, report, elsewhere=elsewhere)
        return [float(loss) for loss in losses]

    def _take_in(self, client: int, report: Mapping[str, Any], *, elsewhere: bool) -> None:
        """Take over what a client's step hooks measured and spent, and their state if they ran in another process."""
        self._measurements.add(report["measured"])
        for label, noise, unit in report["spent"]:
            self._ledger.spend(client, label, GaussianMechanism(noise_multiplier=noise, unit=Unit(unit)))
        if elsewhere:
            load_state_of([hook for _, hook in self._clients.hooks(client, "on_step")], report["memory"])

    def _data_hooks(
        self, number: int, client: int, cohort: Sequence[int], received: torch.Tensor
    ) -> Callable[[tuple[Sample, ...]], tuple[Sample, ...]] | None:
        hooks = self._clients.hooks(client, "on_data")
        if not hooks:
            return None

        def change(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
            for label, hook in hooks:
                view = self._clients.view(number, client, f"{label} data", received, cohort)
                samples = self._measurements.of(label, hook.on_data(samples, view))
                check_samples(samples, self._f.classes, f"{label}, a data hook of client {client},")
            return samples

        return change

    def _step_hooks(
        self, number: int, client: int, cohort: Sequence[int], received: torch.Tensor, rows: int
    ) -> StepHooks | None:
        hooks = self._clients.hooks(client, "on_step")
        if not hooks:
            return None
        views = (self._clients.view(number, client, f"{label} step", received, cohort) for label, _ in hooks)
        each = [Hooked(label, hook, view) for (label, hook), view in zip(hooks, views, strict=True)]
        return StepHooks(each, float(min(rows, self._f.settings.training.batch_size)))

    def _deliver(
        self,
        number: int,
        attendance: Attendance,
        messages: Sequence[Sent],
        received: Mapping[int, torch.Tensor],
    ) -> "_Delivery":
        """Return what the server receives in this round; late messages are held back."""
        now: list[Held] = []
        for message in messages:
            lateness = attendance.late.get(message.client, 0)
            held = Held(message, self._enrolled[message.client], number, number + lateness, received[message.client])
            if lateness:
                self._availability.hold(held)
            else:
                now.append(held)
        arrivals = self._availability.arrivals(number)
        now = sorted([*now, *arrivals], key=lambda held: held.message.client)
        same = len(now) == len(messages) and not arrivals
        out = self._buffer[: len(now)] if same else torch.empty(len(now), len(self._current))
        readable = self._f.stack.exchange is None  # under masks and ciphertexts, clients' encoders bound their values
        found = receive(
            [held.message for held in now],
            len(self._current),
            [held.enrolled for held in now],
            out,
            readable=readable,
        )
        return _Delivery(found, [next(h for h in now if h.message.client == c) for c in found.clients], number)

    def _wire(self, number: int, attendance: Attendance, received: Mapping[int, torch.Tensor]) -> InProcessWire:
        """Return what carries the messages of a protocol of secure aggregation in a round."""
        f, cohort = self._f, attendance.working

        def says(message: Message) -> bytes:
            if message.sender == SERVER:
                return self._server_says(number, message, cohort)
            for label, hook in self._clients.hooks(message.sender, "on_message") if message.sender >= 0 else ():
                view = self._clients.view(number, message.sender, label, received[message.sender], cohort)
                said = self._measurements.of(label, hook.on_message(message, view))
                message = replace(message, content=bytes(said))
            return message.content

        secret = f.settings.randomness == "secure"
        return InProcessWire(
            secrets=secure if secret else seeded(f.seeds.key, number),
            lasting=secure if secret else seeded(f.seeds.key, 0),
            leaves=partial(self._availability.leaves, number),
            says=says,
            keeps=number in self._seen,
            seeded=not secret,
        )

    def _server_says(self, number: int, message: Message, cohort: tuple[int, ...]) -> bytes:
        if self._server is None or not implements(self._server, "on_message") or message.receiver < 0:
            return message.content
        assert self._f.server is not None  # noqa: S101 - it has a plug-in
        view = self._broadcast_view(number, message.receiver, cohort, f" {message.stage}")
        said = self._measurements.of(self._f.server.attack.label, self._server.on_message(message, view))
        return bytes(said)

    def _observe(
        self,
        number: int,
        before: torch.Tensor,
        delivery: "_Delivery",
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
            rows=arrived.rows,
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


@dataclass(frozen=True, slots=True)
class _Delivery:
    """What arrived in a round."""

    received: Received
    kept: list[Held]
    """The messages behind the received rows, in their order."""
    number: int

    def of(self, clients: tuple[int, ...]) -> "_Delivery":
        """Return what arrived of some clients: those that are in a protocol's sum."""
        chosen = [place for place, client in enumerate(self.received.clients) if client in clients]
        arrived = self.received._replace(
            rows=self.received.rows[chosen],
            clients=tuple(self.received.clients[place] for place in chosen),
            examples=tuple(self.received.examples[place] for place in chosen),
        )
        return _Delivery(arrived, [self.kept[place] for place in chosen], self.number)

    @property
    def staleness(self) -> tuple[int, ...]:
        """Rounds by which each row is late; empty if none is."""
        late = tuple(self.number - held.sent for held in self.kept)
        return late if any(late) else ()
