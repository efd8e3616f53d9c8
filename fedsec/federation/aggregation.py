"""Steps 6 and 7 of a round: an exchange, or filters and the aggregation rule, and the hooks on the aggregate."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import fields, replace
from typing import Any, NamedTuple

import torch

from fedsec.api import (
    ExchangeContext,
    Exchanged,
    GaussianMechanism,
    Layout,
    Measured,
    Mixed,
    Population,
    Rehearsal,
    RoundContext,
    TrainingSettings,
    Weighted,
    implements,
)
from fedsec.api.hooks import CALIBRATE
from fedsec.federation.measurements import Measurements
from fedsec.federation.plugins import Stack
from fedsec.federation.trusted import OfRound
from fedsec.maths.geometry import weight_step
from fedsec.maths.rows import Rows, weighted_sum
from fedsec.seeds import SeedTree
from fedsec.wire.protocol import InProcessWire
from fedsec.wire.receive import Received, Rejection


class Aggregate(NamedTuple):
    """The result of aggregating a round's updates."""

    vector: torch.Tensor
    """The aggregate [parameters], fp32; zero if the round was skipped."""
    applied: torch.Tensor
    """The vector of the server's step, after central noise and bounds [parameters]; the same tensor without any."""
    weights: torch.Tensor | None
    """The weight of each received update, fp64 [clients]; None under a coordinate-wise rule or if the round was
    skipped."""
    skipped: str | None
    """Why the global model is kept in this round, or None."""
    upload_bytes: int
    """Bytes of a client's messages."""
    download_bytes: int
    """Bytes that a client received beside the model."""
    norms: torch.Tensor | None = None
    """The norm of each received update as it enters the sum, fp64 [clients]; only with filters or a rule with
    weights."""
    sends_model: bool = True
    """Whether clients are sent the new model, beside an exchange's messages."""
    summed: tuple[int, ...] | None = None
    """The clients whose updates are in an exchange's sum, or were not dropped where there is none; None for all."""
    spent: GaussianMechanism | None = None
    """What the rule spent of the clients' privacy, if it is a mechanism."""
    dropped: tuple[Rejection, ...] = ()
    """Clients whose updates are in no sum since their messages broke an exchange's protocol, and how they did."""
    lost: tuple[Rejection, ...] = ()
    """Clients that broke it once their updates were in the sum, and how."""
    rows: Callable[[], torch.Tensor] | None = None
    """Gives the updates in an exchange's sum as who can read its messages reads them [clients, parameters]; None where
    that is as they were received."""


class Aggregator:
    """Turns a round's updates into one.

    Args:
        stack: the defense stack.
        weighting: of the plain mean: `uniform` or `examples`.
        declared_malicious: f in a full round.
        layout: of the flat vector.
        training: the clients' protocol.
        seeds: the seed tree.
        measurements: of the round.
        trusted: rows that the server holds.
    """

    def __init__(
        self,
        stack: Stack,
        *,
        weighting: str,
        declared_malicious: int,
        layout: Layout,
        training: TrainingSettings,
        seeds: SeedTree,
        measurements: Measurements,
        trusted: int = 0,
    ) -> None:
        self._measurements = measurements
        self._stack, self._weighting, self._declared = stack, weighting, declared_malicious
        self._layout, self._training, self._seeds, self._trusts = layout, training, seeds, trusted

    def aggregate(
        self,
        number: int,
        received: Received,
        current: torch.Tensor,
        staleness: tuple[int, ...] = (),
        absent: tuple[int, ...] = (),
        trusted: OfRound | None = None,
        wire: InProcessWire | None = None,
    ) -> Aggregate:
        """Return the round's aggregate.

        Args:
            number: the round.
            received: checked rows.
            current: the broadcast trainables [parameters].
            staleness: rounds by which each row is late; empty if none is.
            absent: clients of the cohort that did not report.
            trusted: what the server makes of samples of its own, or None.
            wire: carries an exchange's messages.

        Raises:
            ValueError: a plug-in returned something of the wrong shape or type, or non-finite numbers.
        """
        around = _Around(number, received.clients, received.examples, current, staleness, absent, trusted, None)
        declared = max(0, self._declared - len(received.rejected))
        if self._stack.exchange is not None and wire is not None and received.clients:
            found = self._exchange(around, received, declared, wire)
        else:
            rows = Rows(received.rows)
            found = self._applied(received, rows, self._decide(around, rows, declared, self._measurements))
        if found.skipped is not None:
            return found
        applied = found.vector
        for label, hook in self._stack.aggregate_hooks:
            found_by = hook.on_aggregate(applied.clone(), self._context(around, declared, f"after {label}"))
            applied = self._measurements.of(label, found_by)
            _check(applied, (self._layout.size,), torch.float32, label)
        return found._replace(applied=applied)

    def after_step(
        self, number: int, received: Received, model: torch.Tensor, staleness: tuple[int, ...], absent: tuple[int, ...]
    ) -> None:
        """Set the global model to what the stack's hooks make of it after the server's step.

        Args:
            number: the round.
            received: checked rows.
            model: the new global trainables [parameters]; overwritten.
            staleness: rounds by which each row is late; empty if none is.
            absent: clients of the cohort that did not report.

        Raises:
            ValueError: a plug-in returned something of the wrong shape or type, or non-finite numbers.
        """
        for label, hook in self._stack.model_hooks:
            around = _Around(number, received.clients, received.examples, model, staleness, absent, None, None)
            declared = max(0, self._declared - len(received.rejected))
            found = hook.on_model(model.clone(), self._context(around, declared, f"model {label}"))
            found = self._measurements.of(label, found)
            _check(found, (self._layout.size,), torch.float32, label)
            model.copy_(found)

    def rehearse(
        self, rows: Rows, number: int, current: torch.Tensor, generator: torch.Generator, trusted: torch.Tensor
    ) -> Rehearsal:
        """Return what filters and rule would make of such rows in their present state, which does not change.

        Args:
            rows: what the server would receive, in the order of clients 0, 1, ..., all with equal claims.
            number: the round.
            current: the broadcast trainables [parameters].
            generator: replaces the server's randomness, which only the server knows.
            trusted: stands for the server's own update, and for the slope of its loss [parameters].
        """
        count = len(rows)
        own = _guessed(trusted, current, self._training) if self._trusts else None
        around = _Around(number, tuple(range(count)), (1,) * count, current, (), (), own, generator)
        remembered = deepcopy(self._stack.state())
        try:
            found = self._decide(around, rows.as_sent(), self._declared, Measurements())
        finally:
            self._stack.load_state(remembered)
        if found.plus is None:
            return Rehearsal(found.weights, None)
        return Rehearsal(None, found.plus if found.weights is None else rows.weighted_sum(found.weights) + found.plus)

    def _decide(self, around: "_Around", rows: Rows, declared: int, measured: Measurements) -> "_Decision":
        """Return what filters and rule make of the rows; their mean where there is neither.

        A mechanism of differential privacy is asked without rows too: a round that left the model as it was would tell
        everybody that no client was in it.
        """
        rule = self._stack.rule
        if not len(rows) and not (rule is not None and implements(rule, CALIBRATE)):
            return _Decision(skipped="no client sent a usable update")
        mixing = torch.eye(len(rows), dtype=torch.float64)  # [kept, clients]
        for label, step in self._stack.filters if len(rows) else ():
            refusal = self._stack.refusal(label, self._population(rows, declared))
            if refusal:
                return _Decision(skipped=refusal)
            mixed = measured.of(label, step.mix(rows, self._context(around, declared, label)))
            if not isinstance(mixed, Mixed):
                raise ValueError(f"{label} returned {type(mixed).__name__}, a filter returns Mixed")
            rows, mixing, declared = rows.mixed(mixed.mixing), mixed.mixing @ mixing, mixed.declared_malicious
            if len(rows) == 0:
                return _Decision(skipped=f"{label} dropped every row")
        if rule is None:
            return _Decision(self._plain(around, mixing) @ mixing)
        label = self._stack.rule_label
        refusal = self._stack.refusal(label, self._population(rows, declared)) if len(rows) else None
        if refusal:
            return _Decision(skipped=refusal)
        context = self._context(around, declared, label)
        if implements(rule, "vector"):
            returned: Any = rule.vector(rows, context)  # type: ignore[union-attr]
            spent = None
            if isinstance(returned, Measured):
                spent, returned = returned.spent, replace(returned, spent=None)
            vector = measured.of(label, returned)
            _check(vector, (self._layout.size,), torch.float32, label)
            return _Decision(plus=vector, spent=spent)
        found = measured.of(label, rule.weights(rows, context))  # type: ignore[union-attr]
        weights, plus = (found.weights, found.plus) if isinstance(found, Weighted) else (found, None)
        _check(weights, (len(rows),), torch.float64, label)
        if plus is not None:
            _check(plus, (self._layout.size,), torch.float32, label)
        return _Decision(weights @ mixing, plus)

    def _applied(self, received: Received, rows: Rows, decision: "_Decision") -> Aggregate:
        """Return the update of a decision; the plain mean is that of the rows as they were sent."""
        if decision.skipped is not None:
            return self._skip(received, decision.skipped)
        norms = None
        if decision.weights is None:
            assert decision.plus is not None  # noqa: S101 - a coordinate-wise rule's
            return Aggregate(decision.plus, decision.plus, None, None, received.upload_bytes, 0, spent=decision.spent)
        if self._stack.rule is None and not self._stack.filters:
            vector = weighted_sum(received.rows, decision.weights)
        else:
            vector = rows.weighted_sum(decision.weights)
            vector = vector if decision.plus is None else vector + decision.plus
            norms = rows.squared_norms().sqrt()
        return Aggregate(vector, vector, decision.weights, None, received.upload_bytes, 0, norms)

    def _exchange(self, around: "_Around", received: Received, declared: int, wire: InProcessWire) -> Aggregate:
        assert self._stack.exchange is not None  # noqa: S101 - the caller looked
        label, protocol = self._stack.exchange
        count = len(received.clients)
        refusal = self._stack.refusal(label, Population(clients=count, declared_malicious=declared))
        if refusal:
            return self._skip(received, refusal)
        weights = self._plain(around, torch.eye(count, dtype=torch.float64))
        known = self._context(around, declared, label)
        context = ExchangeContext(**{f.name: getattr(known, f.name) for f in fields(known)}, **_services(wire))
        done = self._measurements.of(label, protocol.exchange(received.rows, weights.clone(), context))
        if not isinstance(done, Exchanged):
            raise ValueError(f"{label} returned {type(done).__name__}, an exchange returns Exchanged")
        upload = wire.most_sent if done.upload_bytes is None else done.upload_bytes
        download = wire.most_received if done.download_bytes is None else done.download_bytes
        dropped = tuple(
            Rejection(client, done.dropped[client]) for client in received.clients if client in done.dropped
        )
        if done.skipped is not None:
            found = self._skip(received, done.skipped)._replace(upload_bytes=upload, download_bytes=download)
            left = tuple(client for client in received.clients if client not in done.dropped)
            return found._replace(sends_model=done.sends_model, summed=left, dropped=dropped)
        _check(done.vector, (self._layout.size,), torch.float32, label)
        assert done.vector is not None  # noqa: S101 - checked
        if done.clients is None:
            summed = torch.ones(count, dtype=torch.bool)
        else:
            summed = torch.tensor([client in done.clients for client in received.clients])
        if int(summed.sum()) != len(done.clients or received.clients) or not bool(summed.any()):
            raise ValueError(f"{label} names clients in its sum that put nothing in, or none at all")
        if not bool(summed.all()):
            weights = weights[summed] / weights[summed].sum()
        names = None if done.clients is None else tuple(sorted(done.clients))
        found = Aggregate(done.vector, done.vector, weights, None, upload, download, summed=names)
        inside = set(received.clients if names is None else names)
        return found._replace(
            sends_model=done.sends_model,
            dropped=tuple(one for one in dropped if one.client not in inside),
            lost=tuple(one for one in dropped if one.client in inside),
            rows=done.rows,
        )

    def _population(self, rows: Rows, declared: int) -> Population:
        return Population(clients=len(rows), declared_malicious=declared, trusted=self._trusts)

    def _context(self, around: "_Around", declared: int, label: str) -> RoundContext:
        generator = around.generator
        if generator is None:
            generator = self._seeds.torch(f"server {label}", round_number=around.number)
        return RoundContext(
            round=around.number,
            clients=around.clients,
            absent=around.absent,
            examples=around.examples,
            staleness=around.staleness,
            declared_malicious=declared,
            layout=self._layout,
            training=self._training,
            global_parameters=around.current.clone(),
            trusted=None if around.trusted is None else around.trusted.update,
            loss=None if around.trusted is None else around.trusted.loss,
            generator=generator,
        )

    def _plain(self, around: "_Around", mixing: torch.Tensor) -> torch.Tensor:
        """Return the weights of the plain mean [kept]; a mixed row has the weight of the updates that it is made of.

        A late row counts less, by 1 / sqrt(1 + rounds late), and the others no more for that: Nguyen et al., FedBuff,
        AISTATS 2022, section 5.
        """
        parts = mixing.abs() / mixing.abs().sum(dim=1, keepdim=True).clamp_min(1e-300)  # a scaled row is one row
        if self._weighting == "examples":
            claims = parts @ torch.tensor(around.examples, dtype=torch.float64)
            weights = claims / claims.sum()
        else:
            weights = torch.full((len(mixing),), 1.0 / len(mixing), dtype=torch.float64)
        if around.staleness:
            weights = weights * (parts @ (1 + torch.tensor(around.staleness, dtype=torch.float64)).rsqrt())
        return weights

    def _skip(self, received: Received, reason: str) -> Aggregate:
        nothing = torch.zeros(self._layout.size)
        upload = received.upload_bytes if self._stack.exchange is None else 0  # no message of a protocol was sent
        return Aggregate(nothing, nothing, None, reason, upload, 0)


def _services(wire: InProcessWire) -> dict[str, Any]:
    return {"wire": wire, "secrets": wire.secrets, "lasting": wire.lasting, "seeded": wire.seeded}


def _guessed(update: torch.Tensor, current: torch.Tensor, training: TrainingSettings) -> OfRound:
    """Return what colluders take the server's samples for: a loss that falls along the update that they expect."""
    slope = update.double() * weight_step(training)

    def loss(parameters: torch.Tensor) -> float:
        return -float((parameters - current).double() @ slope) / (training.learning_rate * training.local_steps)

    return OfRound(update.clone, loss)


class _Around(NamedTuple):
    """The round that is aggregated."""

    number: int
    clients: tuple[int, ...]
    examples: tuple[int, ...]
    current: torch.Tensor
    staleness: tuple[int, ...]
    absent: tuple[int, ...]
    trusted: OfRound | None
    generator: torch.Generator | None
    """A stand-in for the server's generator in rehearsals; None otherwise."""


class _Decision(NamedTuple):
    """What filters and rule decided."""

    weights: torch.Tensor | None = None
    """Weights over the received updates [clients], fp64."""
    plus: torch.Tensor | None = None
    """The vector that is added to their weighted sum [parameters]; the whole update where there are no weights."""
    skipped: str | None = None
    spent: GaussianMechanism | None = None
    """What the rule spent of privacy."""


def _check(values: object, shape: tuple[int, ...], dtype: torch.dtype, label: str) -> None:
    if not isinstance(values, torch.Tensor):
        raise ValueError(f"{label} returned {type(values).__name__}, expected a tensor")
    if tuple(values.shape) != shape or values.dtype != dtype:
        raise ValueError(f"{label} returned {values.dtype} {list(values.shape)}, expected {dtype} {list(shape)}")
    if not bool(values.isfinite().all()):
        raise ValueError(f"{label} returned NaN or infinity")
