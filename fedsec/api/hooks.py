"""The steps of a round that a plug-in can take part in: one small protocol each, one method each.

A plug-in implements those that it needs; the engine calls them in the order of DESIGN section 3 and never asks who
is malicious. Malicious clients are ordinary clients with more hooks. A plug-in is recognised by its methods; one
that has none of them is refused. Any hook that returns a value may return `Measured` in its place, to have something
recorded.

One with memory beyond its parameters also has `state()` and `load_state()`: what `state()` returns is checkpointed
after a round, and a new instance that is given it goes on as if nothing had happened.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from fedsec.api.privacy import Calibrated, PrivacyTerms
from fedsec.api.threat import Behaviour, Position, ThreatModel
from fedsec.api.views import (
    BroadcastView,
    Candidate,
    ClientView,
    Evidence,
    Exchanged,
    Mixed,
    ModelSetup,
    Probe,
    QueryView,
    ReleasedView,
    ReleaseView,
    RoundContext,
    RoundView,
    Sample,
    StepView,
    Tokens,
    Triggered,
    TriggerView,
    Update,
    Weighted,
)
from fedsec.api.work import Reconstruction

if TYPE_CHECKING:
    import torch

    from fedsec.maths.rows import Rows


class ModelHook(Protocol):
    """Step 0: change what is trainable or how it trains."""

    def setup_model(self, setup: ModelSetup) -> ModelSetup:
        """The setup to use instead; must not add parameters that `setup.parameters` does not list."""
        ...


class BroadcastHook(Protocol):
    """Step 1: a malicious server sends a client something else than the global model."""

    def on_broadcast(self, parameters: "torch.Tensor", view: BroadcastView) -> "torch.Tensor":
        """What this client receives [parameters], fp32, finite; `parameters` is a copy of the global model."""
        ...


class DataHook(Protocol):
    """Step 2: a client takes its data; a poisoner alters them, a client-side defense cleans them.

    Every client has an instance of its own.
    """

    def on_data(self, samples: tuple[Sample, ...], view: ClientView) -> tuple[Sample, ...]:
        """The samples to train on instead, at least one; all that the client holds are given in every round."""
        ...


class StepHook(Protocol):
    """Step 3: wraps a local training step (DP-SGD, FedProx, a constrained backdoor).

    Every client has an instance of its own. In a stack, a later plug-in wraps the earlier ones.
    """

    def on_step(self, view: StepView) -> "torch.Tensor":
        """The gradient to step along [parameters], fp32; `view.gradient()` is what lies beneath."""
        ...


class PrivateHook(Protocol):
    """A step hook that is a mechanism of differential privacy: it says before training what each step will spend.

    Every call of its `on_step` then returns `Measured` with what it spent, and the engine's ledger composes that.
    """

    def calibrate(self, terms: PrivacyTerms) -> Calibrated:
        """Choose the noise for a client, before the first round and again where a run is resumed."""
        ...


class UpdateHook(Protocol):
    """Step 4: an update leaves a client; an honest protection or a malicious client's forging.

    Every client has an instance of its own.
    """

    def on_update(self, update: Update, view: ClientView) -> Update:
        """The update to send instead; a malicious client's view is a `ColluderView`."""
        ...


class Exchange(Protocol):
    """Steps 5 and 6: clients and server add updates up so that the server reads the sum, or nothing.

    Plays every party of a protocol. The card's `aggregation` says what the server can read, and the engine hands out
    views by that; rules and filters that need rows do not apply beside it.
    """

    def exchange(self, rows: "torch.Tensor", weights: "torch.Tensor", context: RoundContext) -> Exchanged:
        """The weighted sum of the rows, as whoever can read it reads it.

        Args:
            rows: what the clients put in, fp32 [clients, parameters]. Look, do not change.
            weights: fp64 [clients].
            context: of the round.
        """
        ...


class Filter(Protocol):
    """Step 6a: mix, weigh or drop rows before the rule."""

    def mix(self, rows: "Rows", context: RoundContext) -> Mixed:
        """What is left for the next filter, or for the rule."""
        ...


class WeightRule(Protocol):
    """Step 6b: the rule that turns rows into one update, by weights."""

    def weights(self, rows: "Rows", context: RoundContext) -> "torch.Tensor | Weighted":
        """Weights over the rows [kept], fp64, finite; the update is their weighted sum, or more than that."""
        ...


class VectorRule(Protocol):
    """Step 6b: the rule that turns rows into one update, coordinate by coordinate."""

    def vector(self, rows: "Rows", context: RoundContext) -> "torch.Tensor":
        """The update itself [parameters], fp32, finite."""
        ...


class AggregateHook(Protocol):
    """Step 7: after aggregation, before the server's step: central noise, a norm bound."""

    def on_aggregate(self, vector: "torch.Tensor", context: RoundContext) -> "torch.Tensor":
        """The update to apply instead [parameters], fp32, finite; `vector` is a copy."""
        ...


class GlobalModelHook(Protocol):
    """Step 7: after the server's step, on the new global model: CRFL's clipping and noise."""

    def on_model(self, parameters: "torch.Tensor", context: RoundContext) -> "torch.Tensor":
        """The global model to go on with instead [parameters], fp32, finite; `parameters` is a copy."""
        ...


class ReleaseHook(Protocol):
    """Step 9: on the trained model before it is released: fine-tuning on the server's own rows, pruning."""

    def on_release(self, parameters: "torch.Tensor", view: ReleaseView) -> "torch.Tensor":
        """The model to release instead [parameters], fp32, finite; `parameters` is a copy."""
        ...


class QueryHook(Protocol):
    """Step 9: the released model answers queries; an inference-time defense stands before it."""

    def on_query(
        self,
        queries: tuple[Tokens, ...],
        answer: "Callable[[tuple[Tokens, ...]], list[torch.Tensor | None]]",
        view: QueryView,
    ) -> "list[torch.Tensor | None]":
        """One answer per query; `answer` asks what lies beneath, as often as it likes.

        An answer holds logits: [classes], or [tokens, vocabulary] of a causal language model; None refuses to answer.
        """
        ...


class Observer(Protocol):
    """A reading attack that looks at each round as it happens, and keeps what it needs of updates too large to keep.

    It needs `state()` and `load_state()`, and sees the rounds of `threat.attack_rounds`; its goal then asks the same
    instance.
    """

    def observe(self, view: RoundView) -> None:
        """One round as the position sees it; must not change the view."""
        ...


class Reconstructor(Protocol):
    """A party that reads clients' texts out of a round: server, key holder, eavesdropper or client."""

    def reconstruct(self, view: RoundView) -> list[Reconstruction]:
        """Claimed texts, at most as many per client as its batch holds; must not change the view."""
        ...


class Extractor(Protocol):
    """Step 9: an adversary that has the released model and reads training texts out of it."""

    def extract(self, view: ReleasedView) -> list[Reconstruction]:
        """Claimed texts with `client=None`; must not change the view."""
        ...


class MembershipScorer(Protocol):
    """An adversary that tells records that were trained on from records of the same kind that were not."""

    def score(self, candidates: tuple[Candidate, ...], evidence: Evidence) -> "torch.Tensor":
        """How much each candidate looks like a member [candidates], fp64, higher for a member; no NaN."""
        ...


class Poisoner(Protocol):
    """A backdoor: asked for its triggers once before training, beside the hooks by which it poisons."""

    def triggered(self, probes: tuple[Probe, ...], view: TriggerView) -> tuple[Triggered, ...]:
        """Each probe with the trigger on it, and the class that it is to bring out."""
        ...


class Stateful(Protocol):
    """A plug-in with memory beyond its parameters."""

    def state(self) -> Mapping[str, Any]:
        """All of its memory: tensors, and what JSON can hold, in mappings and lists."""
        ...

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from there; tuples come back as lists."""
        ...


METHODS = (
    "setup_model",
    "on_broadcast",
    "on_data",
    "on_step",
    "on_update",
    "exchange",
    "mix",
    "weights",
    "vector",
    "on_aggregate",
    "on_model",
    "on_release",
    "on_query",
)
"""The hooks' method names, in the order of a round. What an attack is asked beside them is its goal's `method`."""
OBSERVE = "observe"
CALIBRATE = "calibrate"
CLIENT_SIDE = ("on_data", "on_step", "on_update")
"""Hooks of which every client has an instance of its own."""


def acting(threat: ThreatModel) -> tuple[str, ...]:
    """The hooks by which an adversary of that position and behaviour can act; none for one that only looks."""
    if threat.behaviour != Behaviour.MALICIOUS:
        return ()
    return {Position.CLIENT: CLIENT_SIDE, Position.SERVER: ("on_broadcast",)}.get(threat.position, ())


def implements(plugin: object, method: str) -> bool:
    """Whether a plug-in has that hook: a method of its class, not a field of the same name."""
    return callable(getattr(type(plugin), method, None))
