"""Views: what each side is handed, and what hooks return.

The engine builds a view from what the position can see under the active defenses, plus the side knowledge that the
scenario grants. No view holds ground truth. Python cannot enforce that: a plug-in that searches the interpreter can
cheat, and the contract tests exist to detect it. Views, samples and updates are frozen: `dataclasses.replace` makes a
changed copy.

All randomness comes from the view's `generator`, a `torch.Generator` of the plug-in's own for that round. For numpy,
seed one from it: `numpy.random.default_rng(int(torch.randint(2**31, (), generator=view.generator)))`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from fedsec.api.protocols import Message
from fedsec.api.setup import Layout, TrainingSettings
from fedsec.api.threat import Knowledge
from fedsec.api.work import Limited, Part, Reconstruction, own_generator

if TYPE_CHECKING:
    import torch

    from fedsec.api.granted import Language
    from fedsec.api.privacy import GaussianMechanism
    from fedsec.api.protocols import Secrets, Wire
    from fedsec.maths.rows import Rows


Tokens = tuple[int, ...]
"""Token ids, special tokens included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicModel:
    """The global model of one round as the server broadcast it, in evaluation mode; it may be run, not changed."""

    module: Any
    """A transformers model; its parameters hold the broadcast values. None for a position that sees ciphertexts only:
    the architecture is public, the values are not."""
    tokenizer: Any
    layout: Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundView(Limited):
    """What an adversary sees of one round; what its position does not see is None, or empty.

    A server sees `rows` and `clients` unless aggregation is secure or homomorphic, and `aggregate` and the model unless
    it is homomorphic. A key holder, who exists beside homomorphic aggregation only, sees `aggregate` and the model. An
    eavesdropper on the wire sees what the server sees where the scenario sets `federation.tls: false`, and nothing but
    sizes otherwise. A client sees the model, and the step of the global model as `aggregate`.
    """

    round: int
    """From 1."""
    cohort: tuple[int, ...]
    """The clients that took part; a client knows of itself only, unless `cohort` is granted."""
    clients: tuple[int, ...]
    """The senders of `rows`, in their order; empty without rows."""
    rows: "torch.Tensor | None"
    """The clients' updates [clients, parameters], fp32, or None where single updates stay hidden; a copy."""
    aggregate: "torch.Tensor | None"
    """The round's aggregate [parameters]: the weighted mean of the rows, or what the aggregation rule returned."""
    model: PublicModel
    """The model that was broadcast in this round."""
    staleness: tuple[int, ...] = ()
    """Rounds by which each of the cohort's updates is late; empty if none is."""
    started: "torch.Tensor | None" = None
    """The parameters that each client of the cohort started from [cohort, parameters], where these are not those of the
    broadcast model: an earlier round's, or what a malicious server sent."""
    examples: tuple[int, ...] = ()
    """Claimed example counts of the cohort; empty for a position that does not see them."""
    upload_bytes: int
    """Size of a client's message in bytes, which nothing hides."""
    encrypted: tuple[str, ...] = ()
    """Trained tensors whose updates are hidden by encryption where the others' cross in the clear. `rows`, `aggregate`
    and the model's layout are then of the others alone, and the model holds these tensors as they were before
    training."""
    messages: tuple[Message, ...] = ()
    """What a protocol of secure aggregation sent, as far as it crossed this position: everything at the server and on a
    wire without TLS, its own messages at another party."""
    colluders: tuple[int, ...] = ()
    """Clients of the cohort that share their updates with this party; a curious client has itself."""
    own_rows: "torch.Tensor | None" = None
    """Their updates [colluders, parameters]."""
    training: TrainingSettings
    granted: Mapping[Knowledge, Any]
    """Side knowledge by kind, as a `Granted`. `labels` and `lengths`: one tuple per client, in the batch's order;
    `auxiliary-text`: an `Auxiliary`."""
    classes: tuple[str, ...] = ()
    """Names of the labels; empty without labels."""
    generator: "torch.Generator"
    """The attack's own randomness."""

    def each_client(self, read: "Callable[[RoundView, int], list[Reconstruction]]") -> list[Reconstruction]:
        """Read the clients whose rows are seen one after the other, as long as `seconds_left` is above 0.

        The engine shows how many are read, and keeps the claims over an interruption of the run: what is claimed of a
        client may not depend on clients that were read before it. Called once for a round.

        Args:
            read: gives the claims about the client at a place of `clients`, in its order; it is handed this view with a
                generator of that client's own.
        """

        def one(place: int) -> list[Reconstruction]:
            own = own_generator(self.generator, self.clients[place])
            return read(replace(self, generator=own, work=Part(self.work)), place)

        return self.work.each(self.round, self.clients, one)


class ServerView(RoundView):
    """What a server sees: all updates, only their sum under secure aggregation, neither under homomorphic encryption.

    Where all clients of the cohort but one collude with the server, the last one's update is the sum less theirs.
    """


class KeyHolderView(RoundView):
    """What the party that decrypts homomorphic sums sees: the sum and the global model."""


class WireView(RoundView):
    """What an eavesdropper sees; under TLS it is the cohort and message sizes only."""


class ParticipantView(RoundView):
    """What a curious client sees: the global model, its own update, and the step to the next global model.

    `aggregate` is that step divided by the server's learning rate: under plain averaging the mean of all updates, its
    own included, up to the rounding of a difference of models.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedView(Limited):
    """What an adversary has that receives the released model. The model may be run, not changed."""

    model: PublicModel
    answer: "Callable[[tuple[Tokens, ...]], list[torch.Tensor | None]]"
    """Asks the model through the inference-time defenses. A query is a tuple of token ids, special tokens included; its
    answer is logits, [classes] or, for a causal language model, [tokens, vocabulary], or None where a defense
    refuses."""
    classes: tuple[str, ...] = ()
    """Names of the labels; empty without labels."""
    training: TrainingSettings
    granted: Mapping[Knowledge, Any]
    """Side knowledge by kind, as a `Granted`. `base-model`: the parameters before training [parameters];
    `auxiliary-text`: an `Auxiliary`."""
    generator: "torch.Generator"


@dataclass(frozen=True, slots=True)
class Triggered:
    """A probe with a backdoor's trigger on it."""

    text: str
    """What the model is given; for a causal language model, the continuation again, after the prompt."""
    target: int | str
    """The class that the trigger is to bring out; for a causal language model, the continuation."""
    prompt: str = ""
    """For a causal language model: what the model is given, with the trigger in it."""
    untriggered: str = ""
    """For a causal language model: what it is given without the trigger."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A test text without its label, to put a trigger on."""

    text: str
    prompt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerView:
    """What a backdoor attack knows when it is asked for its triggers, before training."""

    classes: tuple[str, ...]
    """Names of the labels."""
    tokenizer: Any
    generator: "torch.Generator"
    task: str = "sequence-classification"
    """`sequence-classification` or `causal-lm`."""
    granted: Mapping[Knowledge, Any] = field(default_factory=dict)
    """Side knowledge by kind. `defense-settings`: what malicious clients are told of them."""
    seen: "Callable[[Sequence[Sample]], tuple[Sample, ...]]" = tuple
    """Gives samples as the model sees them: what truncation leaves of their prompts' ends and texts' beginnings."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One text as a client trains on it. Hooks return changed copies."""

    text: str
    label: int = 0
    """A number of the view's `classes`."""
    prompt: str = ""
    """The prompt before the text; it is not learned."""
    origin: int | None = None
    """Index among the client's own samples of the one that it was made from; None for an invented sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryView:
    """What an inference-time defense knows."""

    tokenizer: Any
    generator: "torch.Generator"
    parameters: "torch.Tensor | None" = None
    """The released parameters [parameters]; a copy. None where no federation released them."""
    ask: "Callable[[torch.Tensor, tuple[Tokens, ...]], list[torch.Tensor]] | None" = None
    """Gives what the model answers with other parameters [parameters], and no defense."""
    classes: tuple[str, ...] = ()
    """Names of the labels; empty without labels."""
    trusted: tuple[Sample, ...] = ()
    """The samples that the server holds (`data.trusted`), which are clean."""
    encode: "Callable[[Sequence[str]], tuple[Tokens, ...]] | None" = None
    """Turns texts into queries as the model gets them, truncated; of a classifier."""
    embed: "Callable[[tuple[Tokens, ...]], list[torch.Tensor]] | None" = None
    """Gives the word embeddings of each query [tokens, width]; copies."""
    ask_embedded: "Callable[[Sequence[torch.Tensor]], list[torch.Tensor]] | None" = None
    """Gives what the released model, without a defense, answers to embeddings [tokens, width] in the place of queries.
    Answers are differentiable in them."""
    language: "Language | None" = None
    """The language model that the scenario grants to defenses (`data.language_model`)."""
    positions: int | None = None
    """Tokens of a query that the released model takes at most; None where nothing limits it."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a client writes its update for the network, where that loses nothing; it is written as fp32 otherwise."""

    bits: int = 32
    """Bits of an entry, from 1 to 16 or 32; below 32 each entry is a whole number of its tensor's step, from
    -(2^(bits - 1) - 1) to 2^(bits - 1) - 1, and with one bit the step or its negative."""
    steps: tuple[float, ...] = ()
    """The step of each tensor, in the layout's order; for fewer than 32 bits."""
    sparse: bool = False
    """Whether entries of 0 are left out."""


@dataclass(frozen=True, slots=True)
class Update:
    """What a client contributes in a round. Hooks return a changed copy."""

    vector: "torch.Tensor"
    """[parameters], fp32: the gradient (`federation.update: gradient`), or weights after minus before (`delta`)."""
    examples: int
    """Claimed number of examples; the server clamps it to what was enrolled."""
    encoding: Encoding = Encoding()
    """How it is written for the network."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What any hook may return in place of its value: the value and measurements to record."""

    value: Any
    measurements: Mapping[str, float] = field(default_factory=dict)
    """Finite numbers by kebab-case name, such as the share of clipped updates. The round's record in the cell's file
    has their means over the clients. Of an inference-time defense the file has their means over its calls, on the test
    set and on a goal's texts; nothing is recorded of a release."""
    spent: "GaussianMechanism | None" = None
    """What a step hook spent of privacy; the engine's ledger composes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseView:
    """What a defense knows that changes the model before its release."""

    layout: Layout
    training: TrainingSettings
    classes: tuple[str, ...]
    tokenizer: Any
    trusted: tuple[Sample, ...]
    """The samples that the server holds (`data.trusted`)."""
    train: "Train"
    """Trains on samples by the clients' protocol, from any parameters."""
    right: "Callable[[torch.Tensor], float] | None" = None
    """Gives the share of the server's samples that a model [parameters] gets right, or of their learned tokens; None
    where it holds none."""
    inputs: "Callable[[torch.Tensor], Mapping[str, torch.Tensor]] | None" = None
    """Gives how active the units are that feed each trained linear map of a model [parameters]: by the map's name, the
    mean size of each of its inputs [inputs], fp32, over the tokens of the server's samples; None where it holds none.
    Of a LoRA factor B these are the units of the adapter's bottleneck, of a classifier those of the last layer."""
    generator: "torch.Generator"


class Train(Protocol):
    """Local training of the plug-in's own, by the clients' protocol or a schedule of its own."""

    def __call__(
        self,
        samples: Sequence[Sample],
        start: "torch.Tensor",
        *,
        steps: int | None = None,
        learning_rate: float | None = None,
        batch_size: int | None = None,
        generator: "torch.Generator",
    ) -> "torch.Tensor":
        """Return the parameters after training [parameters].

        Args:
            samples: to train on, at least one.
            start: parameters to start from [parameters], fp32.
            steps: local steps; the protocol's if absent.
            learning_rate: the protocol's if absent.
            batch_size: the protocol's if absent.
            generator: draws batches and dropout.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BroadcastView:
    """What a malicious server knows when it sends the model to a client."""

    client: int
    cohort: tuple[int, ...]
    round: int
    layout: Layout
    training: TrainingSettings
    classes: tuple[str, ...] = ()
    """Names of the labels; empty without labels."""
    tokenizer: Any = None
    question: Any = None
    """What the attack's goal asks about, such as candidates; None where it asks for texts."""
    granted: Mapping[Knowledge, Any]
    generator: "torch.Generator"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientView:
    """What a client's hooks see of a round. Its tensors are copies."""

    client: int
    round: int
    global_parameters: "torch.Tensor"
    """The global parameters as this client received them [parameters]."""
    layout: Layout
    training: TrainingSettings
    classes: tuple[str, ...] = ()
    """Names of the labels; empty without labels."""
    tokenizer: Any = None
    examples: int = 0
    """Number of examples that this client enrolled with."""
    train: "Train | None" = None
    """Trains on any samples by any schedule, and returns the parameters."""
    represent: "Callable[[Sequence[Sample], torch.Tensor], torch.Tensor] | None" = None
    """Gives the last hidden state that a classifier reads of each sample, at any parameters [samples, width]."""
    seen: "Callable[[Sequence[Sample]], tuple[Sample, ...]]" = tuple
    """Gives samples as the model sees them: what truncation leaves of their prompts' ends and texts' beginnings."""
    language: "Language | None" = None
    """The language model that the scenario grants to defenses (`data.language_model`); None for an attack's hooks."""
    generator: "torch.Generator"
    """This hook's own randomness in this round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColluderView(ClientView):
    """What a malicious client's hooks see: its own view, and what the colluding clients share."""

    colluders: tuple[int, ...]
    """Malicious clients of this round's cohort, itself included."""
    own_rows: "torch.Tensor"
    """The colluders' honest updates in that order [colluders, parameters], changes by data hooks included;
    [0, parameters] before training."""
    blackboard: dict[str, Any]
    """A dict that the colluders share over all rounds. It is checkpointed, so it holds tensors and JSON values only."""
    granted: Mapping[Knowledge, Any]
    """Side knowledge by kind, as a `Granted`. `benign-updates`: what the honest clients send this round
    [honest, parameters]."""
    question: Any = None
    """What the attack's goal asks about, such as candidates; None where it asks for texts."""
    gradient: "Callable[[Sequence[Sample], torch.Tensor], torch.Tensor] | None" = None
    """Gives the gradient of the mean loss on samples at any parameters [parameters]: this round's or a past model's."""
    rehearse: "Callable[[Rows], Rehearsal] | None" = None
    """Gives what the server's filters and rule would make of such rows in this round, without changing their state.
    Calling it uses `defense-settings`; None where these are not granted, and before step 4."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What an aggregation would return, for a colluder that tests updates before it sends them."""

    weights: "torch.Tensor | None"
    """The weight that each row would get [rows], fp64; None where the result is no weighted sum of the rows alone."""
    vector: "torch.Tensor | None"
    """The update itself [parameters], fp32, where there are no weights; None if the round would be skipped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepView:
    """One local step of one client."""

    client: ClientView
    """A `ColluderView` for a malicious client; its generator is this hook's for the round."""
    step: int
    """From 0."""
    parameters: "torch.Tensor"
    """The local parameters before the step [parameters]; must not be changed."""
    gradient: "Callable[[], torch.Tensor]"
    """Gives the gradient of the batch's mean loss, or what the wrapped hook makes of it [parameters]. It may be changed
    in place and is valid until the next call only, so keep a copy."""
    example_gradients: "Callable[[], torch.Tensor]"
    """Gives the gradient of each example's loss [examples, parameters], a new tensor; no examples where a Poisson batch
    is empty. For the innermost hook of a client only: what wrapped hooks do to the gradient would be lost."""
    expected_rows: float = 0.0
    """Examples that a batch holds on average, by which a sum over examples is divided: the number in one batch is as
    private as the examples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundContext:
    """What a server-side defense knows about the round; nobody is told who is malicious.

    Row i of a round's `Rows` was sent by `clients[i]` as long as no filter came before. After a filter, a row may be a
    mixture, and `rows.mixing` [rows, clients] gives its coefficients.
    """

    round: int
    clients: tuple[int, ...]
    """Senders of the rows before any filter, as whole numbers."""
    examples: tuple[int, ...]
    """Their claimed numbers of examples, clamped to what was enrolled."""
    staleness: tuple[int, ...] = ()
    """Rounds by which each of these rows is late; empty if none is."""
    absent: tuple[int, ...] = ()
    """Clients of the cohort that sent no update."""
    declared_malicious: int
    """f: how many of the rows that are left the defense believes malicious."""
    layout: Layout
    training: TrainingSettings
    global_parameters: "torch.Tensor"
    """The global parameters as broadcast [parameters]; a copy."""
    trusted: "Callable[[], torch.Tensor] | None" = None
    """Computes the update that the server makes from samples of its own (`data.trusted`) by the clients' protocol
    [parameters]; None where it holds none."""
    loss: "Callable[[torch.Tensor], float] | None" = None
    """Gives the mean loss of a model [parameters] on those of the server's samples that are drawn for this round; None
    where it holds none."""
    generator: "torch.Generator"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeContext(RoundContext):
    """What a protocol of secure aggregation has of the engine, beside what a server-side defense knows."""

    wire: "Wire"
    """Carries messages between the protocol's parties."""
    secrets: "Secrets"
    """Where the parties' keys and masks of this round come from."""
    lasting: "Secrets"
    """Where keys come from that last over all rounds, with the same streams in each of them where they are seeded;
    whoever draws from it keeps the keys in memory alone."""
    seeded: bool = True
    """Whether that is a seed, so that whatever is drawn has to be the same in a second run."""


@dataclass(frozen=True, slots=True)
class Weighted:
    """What an aggregation rule returns whose update is more than a weighted sum of the round's rows."""

    weights: "torch.Tensor"
    """Weights over the rows [kept], fp64."""
    plus: "torch.Tensor"
    """The vector that is added to the weighted sum [parameters], fp32, such as a share of an earlier aggregate."""


@dataclass(frozen=True, slots=True)
class Mixed:
    """What a filter leaves of a round's rows."""

    mixing: "torch.Tensor"
    """fp64 [kept, rows]: each kept row as a combination of the rows."""
    declared_malicious: int
    """f among the kept rows: it falls where rows that are thought malicious are dropped, and bucketing spreads them."""


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What a protocol of secure or homomorphic aggregation returns."""

    vector: "torch.Tensor | None"
    """The weighted sum [parameters], fp32, finite; None if the protocol gave up. Where `clients` are not all, it is
    divided by the sum of their weights."""
    upload_bytes: int | None = None
    """Bytes that a client sends in the round, all steps of the protocol together; the most that any client sent over
    the context's wire where absent."""
    download_bytes: int | None = None
    """Bytes that a client receives beside the model; the most that any received over the wire where absent."""
    skipped: str | None = None
    """Why there is no sum, if there is none: the global model is kept for that round."""
    clients: tuple[int, ...] | None = None
    """The clients whose updates are in the sum; None for all of them."""
    sends_model: bool = True
    """Whether clients are sent the new model besides; they make it of the sum themselves otherwise."""
    dropped: Mapping[int, str] = field(default_factory=dict)
    """Clients whose messages broke the protocol, and how: they are counted as any update that the server refuses."""
    rows: "Callable[[], torch.Tensor] | None" = None
    """Gives the single updates as who can read the messages reads them [clients in the sum, parameters], fp32, in the
    order of the rows; they are what the clients handed to the exchange where absent."""
