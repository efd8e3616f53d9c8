"""Hooks: the steps of a round that a plug-in can take part in, one small protocol with one method each.

A plug-in implements the hooks that it needs, one or several, and the engine recognises it by these methods. It need not
inherit from anything. A plug-in without a hook is refused, and so is a method that the plug-in's position or goal is
never asked for. One attack may both act and read: a malicious client that sends with `on_update` and then answers
`score`, say. Malicious clients are ordinary clients with more hooks; the engine never asks who is malicious.

All tensors are flat fp32 vectors on the CPU, `[parameters]`: all trainable tensors end to end, unless stated otherwise.
Any hook may return `Measured` in place of its value, which records measurements. A plug-in with memory beyond its
parameters implements `Stateful`. Malicious clients skip client-side defenses unless the scenario sets
`threat.obeys_client_defenses: true`.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from fedsec.api.evidence import Candidate, Evidence
from fedsec.api.privacy import Calibrated, PrivacyTerms
from fedsec.api.protocols import Message
from fedsec.api.setup import ModelSetup
from fedsec.api.supply import SupplierView
from fedsec.api.threat import Behaviour, Position, ThreatModel
from fedsec.api.views import (
    BroadcastView,
    ClientView,
    ColluderView,
    ExchangeContext,
    Exchanged,
    Mixed,
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


class BaseModelHook(Protocol):
    """Before step 0: a malicious supplier alters the base model that the federation starts from."""

    def on_base_model(self, parameters: "torch.Tensor", view: SupplierView) -> "torch.Tensor":
        """Return the base model to supply instead [parameters], fp32, finite; `parameters` is a copy.

        These are all parameters, whatever the federation trains. A classification head is the federation's own, and
        stays as it was.
        """
        ...


class PublicDataHook(Protocol):
    """Before step 0: a malicious supplier alters the public rows that the start is trained on (`model.start`)."""

    def on_public_data(self, samples: tuple[Sample, ...], view: SupplierView) -> tuple[Sample, ...]:
        """Return the rows to publish instead, at least one; the label of each is a number of `view.classes`."""
        ...


class ModelHook(Protocol):
    """Step 0: a defense changes what is trained, or turns dropout on or off."""

    def setup_model(self, setup: ModelSetup) -> ModelSetup:
        """Return the setup to use instead; it must not add parameters that `setup.parameters` does not list."""
        ...


class BroadcastHook(Protocol):
    """Step 1: a malicious server sends a client another model than the global one."""

    def on_broadcast(self, parameters: "torch.Tensor", view: BroadcastView) -> "torch.Tensor":
        """Return what this client receives [parameters], fp32, finite; `parameters` is a copy of the global model."""
        ...


class DataHook(Protocol):
    """Step 2: a client takes its data. A client-side defense cleans them, a malicious client poisons them.

    Every client has an instance of its own.
    """

    def on_data(self, samples: tuple[Sample, ...], view: ClientView) -> tuple[Sample, ...]:
        """Return the samples to train on instead, at least one; the label of each is a number of `view.classes`.

        All samples that the client holds are given in every round.
        """
        ...


class StepHook(Protocol):
    """Step 3: a defense or a malicious client wraps a local training step (DP-SGD, FedProx, a constrained backdoor).

    Every client has an instance of its own. In a stack, a later plug-in wraps the earlier ones.
    """

    def on_step(self, view: StepView) -> "torch.Tensor":
        """Return the gradient to step along [parameters], fp32; `view.gradient()` is that of the hook it wraps."""
        ...


class PrivateHook(Protocol):
    """Steps 3 and 6: a step hook or rule that is a mechanism of differential privacy states beforehand what it spends.

    Every call of its `on_step`, or of a rule's `vector`, then returns `Measured(value, measurements,
    spent=GaussianMechanism(...))`. The engine's ledger composes that into an epsilon, or states what voids the
    guarantee ([privacy.md](privacy.md)).
    """

    def calibrate(self, terms: PrivacyTerms) -> Calibrated:
        """Choose the noise for a client, or the server's, before the first round and again where a run is resumed."""
        ...


class UpdateHook(Protocol):
    """Step 4: an update leaves a client. A client-side defense protects it, a malicious client crafts another one.

    Every client has an instance of its own.
    """

    def on_update(self, update: Update, view: ClientView) -> Update:
        """Return the update to send instead; a malicious client's view is a `ColluderView`."""
        ...


class MessageHook(Protocol):
    """Step 5: a malicious client or server alters what it says in a protocol of secure aggregation.

    The party's own message follows the protocol. It has no hold over the network: others know that it said this.
    """

    def on_message(self, message: Message, view: "ColluderView | BroadcastView") -> bytes:
        """Return what the party says instead of `message.content`; the view of a server names the receiver."""
        ...


class Exchange(Protocol):
    """Steps 5 and 6: a defense is a protocol by which clients and server add updates up and nobody reads single rows.

    The plug-in makes every party of the protocol, and the engine carries their messages (`context.wire`). The card's
    `aggregation` states what the server can read, and the engine hands out views by that. Rules and filters that need
    rows do not apply beside it.
    """

    def exchange(self, rows: "torch.Tensor", weights: "torch.Tensor", context: ExchangeContext) -> Exchanged:
        """Return the weighted sum of the rows, as the party that can read it reads it.

        Args:
            rows: what the clients put in, fp32 [clients, parameters]; must not be changed. Nobody but the client has
                seen a row: a malicious one may hold anything, NaN included, which the client's encoder bounds.
            weights: fp64 [clients].
            context: of the round.
        """
        ...


class Filter(Protocol):
    """Step 6a: a defense mixes, weighs or drops rows before the aggregation rule; its card says `needs_rows`.

    A filter drops a row by leaving its line out of the mixing matrix, scales or mixes rows by the coefficients, and may
    keep none: then the round is skipped. With filters and no rule, the rows that are left are averaged, equally or by
    examples, as `federation.weighting` says.
    """

    def mix(self, rows: "Rows", context: RoundContext) -> Mixed:
        """Return what is left for the next filter, or for the rule."""
        ...


class WeightRule(Protocol):
    """Step 6b: an aggregation rule turns rows into one update by weights; its card says `is_rule`, one per stack.

    The rule's weights take the place of the average, so it uses `context.examples` itself where examples are to count.
    Weights are used as they are: negative and zero weights are allowed, and weights that sum to 2 double the step. A
    precondition is checked when a scenario is planned, and again in every round with the rows that are left.
    """

    def weights(self, rows: "Rows", context: RoundContext) -> "torch.Tensor | Weighted":
        """Return weights over the rows [kept], fp64, finite; the update is their weighted sum, or `Weighted`."""
        ...


class VectorRule(Protocol):
    """Step 6b: an aggregation rule turns rows into one update coordinate by coordinate; its card says `is_rule`."""

    def vector(self, rows: "Rows", context: RoundContext) -> "torch.Tensor":
        """Return the update itself [parameters], fp32, finite."""
        ...


class AggregateHook(Protocol):
    """Step 7: a defense changes the aggregate before the server's step, by central noise or a norm bound."""

    def on_aggregate(self, vector: "torch.Tensor", context: RoundContext) -> "torch.Tensor":
        """Return the update to apply instead [parameters], fp32, finite; `vector` is a copy."""
        ...


class GlobalModelHook(Protocol):
    """Step 7: a defense changes the new global model after the server's step (CRFL's clipping and noise)."""

    def on_model(self, parameters: "torch.Tensor", context: RoundContext) -> "torch.Tensor":
        """Return the global model to go on with instead [parameters], fp32, finite; `parameters` is a copy."""
        ...


class ReleaseHook(Protocol):
    """Step 9: a defense changes the trained model before its release: fine-tuning on the server's samples, pruning."""

    def on_release(self, parameters: "torch.Tensor", view: ReleaseView) -> "torch.Tensor":
        """Return the model to release instead [parameters], fp32, finite; `parameters` is a copy."""
        ...


class QueryHook(Protocol):
    """Step 9: an inference-time defense stands between the released model and its queries."""

    def on_query(
        self,
        queries: tuple[Tokens, ...],
        answer: "Callable[[tuple[Tokens, ...]], list[torch.Tensor | None]]",
        view: QueryView,
    ) -> "list[torch.Tensor | None]":
        """Return one answer per query; `answer` asks the model, or the defense before it, as often as needed.

        An answer holds logits: [classes], or [tokens, vocabulary] of a causal language model. None refuses to answer: a
        refused test row counts as wrong, and attacks get the None as well.
        """
        ...


class Observer(Protocol):
    """An attack that looks at each attacked round as it happens, for updates that are too large to store.

    It needs `state()` and `load_state()`, and sees the rounds of `threat.attack_rounds`. Its goal then asks the same
    instance, with evidence that has no rounds.
    """

    def observe(self, view: RoundView) -> None:
        """Look at one round as the position sees it; must not change the view."""
        ...


class Reconstructor(Protocol):
    """An attack of the goal `reconstruction`: server, key holder, eavesdropper or client claims clients' texts."""

    def reconstruct(self, view: RoundView) -> list[Reconstruction]:
        """Return the texts that are claimed of one attacked round; must not change the view.

        Of more claims per client than its batch holds texts, only the surest count.
        """
        ...


class Extractor(Protocol):
    """An attack of the goal `extraction`: an adversary claims training texts from the released model."""

    def extract(self, view: ReleasedView) -> list[Reconstruction]:
        """Return the texts that are claimed, with `client=None`; must not change the view."""
        ...


class MembershipScorer(Protocol):
    """An attack of the goal `membership`: an adversary tells records that were trained on from withheld ones."""

    def score(self, candidates: tuple[Candidate, ...], evidence: Evidence) -> "torch.Tensor":
        """Return how much each candidate looks like a member, fp64, higher for a member; no NaN.

        [candidates]: whether any client holds it. [candidates, clients], of an attack on updates: whether each of
        `evidence.clients` trained on it in a round that is seen, or all of them together, in one column, where only
        sums are seen. All scores are held against one threshold, so those about different clients have to be on one
        scale.
        """
        ...


class Poisoner(Protocol):
    """An attack of the goal `backdoor`: asked for its triggers once before training, beside the hooks that poison."""

    def triggered(self, probes: tuple[Probe, ...], view: TriggerView) -> tuple[Triggered, ...]:
        """Return each probe with the trigger on it, and the class or continuation that it is to bring out."""
        ...


class Stateful(Protocol):
    """A plug-in with memory beyond its parameters, in fields with `init=False`.

    The state is checkpointed after a round. A new instance that loads it goes on as if the run had not been stopped.
    """

    def state(self) -> Mapping[str, Any]:
        """Return all of the memory: tensors and JSON values, in mappings with text keys (`str(client)`) and lists."""
        ...

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take the memory up in a new instance; tuples come back as lists."""
        ...


METHODS = (
    "on_base_model",
    "on_public_data",
    "setup_model",
    "on_broadcast",
    "on_data",
    "on_step",
    "on_update",
    "on_message",
    "exchange",
    "mix",
    "weights",
    "vector",
    "on_aggregate",
    "on_model",
    "on_release",
    "on_query",
)
"""The hooks' method names, in the order of a round. An attack also has the method that its goal's card names."""
OBSERVE = "observe"
CALIBRATE = "calibrate"
CLIENT_SIDE = ("on_data", "on_step", "on_update", "on_message")
"""Hooks of which every client has an instance of its own."""
SUPPLIES = ("on_base_model", "on_public_data")
"""Hooks of whoever supplies what a federation starts from."""


def acting(threat: ThreatModel) -> tuple[str, ...]:
    """Return the hooks by which an adversary of that position and behaviour can act; none for a curious one."""
    if threat.behaviour != Behaviour.MALICIOUS:
        return ()
    acts = {Position.CLIENT: CLIENT_SIDE, Position.SERVER: ("on_broadcast", "on_message"), Position.SUPPLIER: SUPPLIES}
    return acts.get(threat.position, ())


def implements(plugin: object, method: str) -> bool:
    """Return whether a plug-in has that hook: a method of its class, not a field of the same name."""
    return callable(getattr(type(plugin), method, None))
