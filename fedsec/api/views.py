"""What each side is handed: the only doors through which a plug-in sees a federation.

A view is built by the engine from what the adversary's position can see under the active defenses, plus the side
knowledge that the scenario grants. It holds no ground truth. Python cannot seal it: a plug-in that goes looking
through the interpreter can cheat, and the contract tests are there to notice.
"""

from collections.abc import Callable, ItemsView, Iterator, Mapping, Sequence, ValuesView
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from fedsec.api.threat import Knowledge
from fedsec.api.work import Limited, Part, Reconstruction, own_generator

if TYPE_CHECKING:
    import torch

    from fedsec.api.privacy import GaussianMechanism
    from fedsec.maths.rows import Rows


Tokens = tuple[int, ...]
"""Token ids."""


class Role(StrEnum):
    """What a trainable tensor is for, so that nobody has to match names."""

    WORD_EMBEDDING = "word-embedding"
    POSITION_EMBEDDING = "position-embedding"
    EMBEDDING = "embedding"
    """The rest of the embedding block: token types, its normalisation."""
    QUERY = "query"
    KEY = "key"
    VALUE = "value"
    QUERY_KEY_VALUE = "query-key-value"
    """One matrix for all three: their outputs stand side by side in this order, a third each in GPT-2."""
    ADAPTER = "adapter"
    """A LoRA factor; `ParameterInfo.factor` and `adapts` say which."""
    HEAD = "head"
    """What stands on top: a classifier, or a causal model's output layer unless it is the word embedding itself."""
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class ParameterInfo:
    """One tensor of the model."""

    name: str
    shape: tuple[int, ...]
    role: Role
    layer: int | None = None
    """Its transformer layer, from 0; None outside the layers."""
    factor: str | None = None
    """Of an adapter: `A` [rank, inputs] or `B` [outputs, rank]; the weight it adapts changes by B A times a scale."""
    adapts: Role | None = None
    """Of an adapter: the role of the weight that it adapts."""
    inputs_first: bool = False
    """Whether a matrix is stored [inputs, outputs], as GPT-2's are; torch's Linear stores [outputs, inputs]."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each trainable tensor lies in the flat vector."""

    parameters: tuple[ParameterInfo, ...]
    offsets: tuple[int, ...]
    size: int
    """Length of the flat vector."""

    def tensor(self, vector: "torch.Tensor", name: str) -> "torch.Tensor":
        """The named tensor as a view into `vector` [parameters]; KeyError if it is not trainable."""
        for info, start in zip(self.parameters, self.offsets, strict=True):
            if info.name == name:
                stop = start + _size(info.shape)
                return vector[start:stop].view(info.shape)
        raise KeyError(f"{name} is not among the trainable parameters")

    def find(self, role: Role, layer: int | None = None) -> tuple[ParameterInfo, ...]:
        """The trainable tensors with that role (in that layer), in the model's order."""
        return tuple(p for p in self.parameters if p.role == role and (layer is None or p.layer == layer))


@dataclass(frozen=True, slots=True)
class ModelSetup:
    """What is trained and how, before a federation starts; a `ModelHook` returns a changed copy."""

    parameters: tuple[ParameterInfo, ...]
    """Every tensor of the model, trainable or not, each once (tied weights stand once)."""
    trainable: frozenset[str]
    """Names of those that are trained and sent."""
    dropout: bool
    """Whether the model's own dropout is active in local training."""
    task: str = "sequence-classification"
    """Or `causal-lm`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """The protocol that the server itself hands out, and hence knows."""

    update: str
    """`gradient` or `delta`."""
    optimizer: str
    learning_rate: float
    local_steps: int
    batch_size: int
    cohort: int = 0
    """Clients in a round; 0 where nobody said."""
    rounds: int = 0
    """Rounds of training; 0 where nobody said."""
    sampling: str = "fixed"
    """`fixed`: batches of `batch_size` rows and cohorts of `cohort` clients; `poisson`: so many on average, each row
    and each client by a coin of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicModel:
    """The global model of one round as the server broadcast it, in evaluation mode. Look, do not change."""

    module: Any
    """A transformers model; its parameters hold the broadcast values. None for a position that sees ciphertexts only:
    the architecture is public, the values are not."""
    tokenizer: Any
    layout: Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundView(Limited):
    """What a curious party sees of one round; what its position does not see is None."""

    round: int
    """From 1."""
    cohort: tuple[int, ...]
    """Who took part; a client knows of itself only, unless `cohort` is granted."""
    clients: tuple[int, ...]
    """Whose rows are seen, in the rows' order; empty without rows."""
    rows: "torch.Tensor | None"
    """fp32 updates [clients, parameters], or None where single rows stay hidden; a copy."""
    aggregate: "torch.Tensor | None"
    """What the round's rows became [parameters]: their weighted mean, or what the rule made of them."""
    model: PublicModel
    """The model that was broadcast in this round."""
    staleness: tuple[int, ...] = ()
    """Rounds by which each of the cohort's updates is late; empty if none is."""
    started: "torch.Tensor | None" = None
    """The trainables that each of the cohort started from [cohort, parameters], where these are not the broadcast
    model's: in an earlier round, or from what a malicious server sent."""
    examples: tuple[int, ...] = ()
    """Claimed example counts of the cohort; empty for a position that does not see them."""
    upload_bytes: int
    """Size of a client's message, which nothing hides."""
    colluders: tuple[int, ...] = ()
    """Clients of the cohort that share with this party what they sent; for a client, itself."""
    own_rows: "torch.Tensor | None" = None
    """Their updates [colluders, parameters]."""
    training: TrainingSettings
    granted: Mapping[Knowledge, Any]
    """Side knowledge by kind. `labels` and `lengths`: one tuple per client, in the batch's order; `auxiliary-text`: an
    `Auxiliary`."""
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
    """What a server sees: rows in the clear, only the sum under secure aggregation, neither under ciphertexts.

    Where all clients of the cohort but one collude with it, that one's row is the sum less theirs.
    """


class KeyHolderView(RoundView):
    """What the party that decrypts homomorphic sums sees: the sum and the global model."""


class WireView(RoundView):
    """What an eavesdropper sees; under TLS the cohort and sizes only."""


class ParticipantView(RoundView):
    """What a curious client sees: the global model, its own row, and the step that the next model makes of the round.

    `aggregate` is that step over the server's learning rate: under plain averaging the mean of the rows, its own
    among them, with the rounding of a difference of models.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedView(Limited):
    """What an adversary has that got the trained model."""

    model: PublicModel
    answer: "Callable[[tuple[Tokens, ...]], list[torch.Tensor | None]]"
    """Asks the model through the inference-time defenses: logits [classes] or [tokens, vocabulary] per query, None
    where one refuses to answer."""
    classes: tuple[str, ...] = ()
    """Names of the labels; empty without labels."""
    training: TrainingSettings
    granted: Mapping[Knowledge, Any]
    """Side knowledge by kind. `base-model`: the trainables before training [parameters]; `auxiliary-text`: an
    `Auxiliary`."""
    generator: "torch.Generator"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A record about which membership is asked: dealt to a client by a coin, or withheld."""

    text: str
    label: int
    """The record's own: who asks about a record has all of it."""
    prompt: str
    tokens: Tokens
    """As the model gets it, special tokens included, cut to `data.max_tokens`."""
    learned_from: int | None = None
    """Of a causal language model: the place in `tokens` of the first learned one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence(Limited):
    """Everything that an attack has when it is asked after training.

    There is one resident model: `at`, `released` and `ask` each set it anew, so that of two views the later one's
    module holds.
    """

    rounds: tuple[int, ...]
    """The rounds that may be seen, in their order."""
    at: Callable[[int], RoundView]
    """What the position sees of one of them; read from disk, so hold on to no more than one."""
    released: Callable[[], ReleasedView] | None
    """The released model; None for a position that does not get it."""
    ask: "Callable[[torch.Tensor, tuple[Tokens, ...]], list[torch.Tensor]] | None"
    """What the model would answer with other trainables [parameters] and no defense: a global model's that was seen,
    or `base-model`. None for a position that sees no model."""
    question: Any
    """What the goal asks about: candidates, properties; None for texts."""
    classes: tuple[str, ...]
    """Names of the labels; empty without labels."""
    tokenizer: Any
    training: TrainingSettings
    granted: Mapping[Knowledge, Any]
    """Side knowledge that belongs to no single round."""
    generator: "torch.Generator"


@dataclass(frozen=True, slots=True)
class Triggered:
    """A probe with a backdoor's trigger on it."""

    text: str
    target: int
    """The class that the trigger is to bring out."""
    prompt: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """A test text, without its label."""

    text: str
    prompt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerView:
    """What a poisoner knows when it is asked for its triggers, before training."""

    classes: tuple[str, ...]
    """Names of the labels."""
    tokenizer: Any
    generator: "torch.Generator"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryView:
    """What an inference-time defense knows."""

    tokenizer: Any
    generator: "torch.Generator"


@dataclass(frozen=True, slots=True)
class Sample:
    """One text as a client trains on it. A hook returns changed copies."""

    text: str
    label: int = 0
    prompt: str = ""
    """What stands before the text of an instruction."""
    origin: int | None = None
    """Position among the client's own samples of the one that it was made from; None for an invented one."""


@dataclass(frozen=True, slots=True)
class Update:
    """What a client contributes in a round. A hook returns a changed copy."""

    vector: "torch.Tensor"
    """fp32 [parameters]: the gradient, or weights after minus before."""
    examples: int
    """Claimed number of examples; the server clamps it to what was enrolled."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What any hook may return in place of its value: the value, and what it measured on the way."""

    value: Any
    measurements: Mapping[str, float] = field(default_factory=dict)
    """Finite numbers by kebab-case name, such as the share of clipped updates; the round's record has their means over
    the clients. Of what happens after training nothing is recorded."""
    spent: "GaussianMechanism | None" = None
    """What a step hook spent of privacy; the engine's ledger adds it up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseView:
    """What a defense has that acts on the model before it is released."""

    layout: Layout
    training: TrainingSettings
    classes: tuple[str, ...]
    tokenizer: Any
    trusted: tuple[Sample, ...]
    """The rows that the server holds (`data.trusted`)."""
    train: "Train"
    """Trains on samples by the clients' protocol, from any trainables."""
    generator: "torch.Generator"


class Train(Protocol):
    """Local training of one's own, on the resident model and by the clients' protocol."""

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
        """The trainables afterwards [parameters].

        Args:
            samples: to train on, at least one.
            start: trainables to start from [parameters], fp32.
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
    """What the attack's goal asks about: candidates, say; None for texts."""
    granted: Mapping[Knowledge, Any]
    generator: "torch.Generator"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientView:
    """What a client sees of its round. Its tensors are copies."""

    client: int
    round: int
    global_parameters: "torch.Tensor"
    """[parameters], as this client received them."""
    layout: Layout
    training: TrainingSettings
    classes: tuple[str, ...] = ()
    """Names of the labels; empty without labels."""
    tokenizer: Any = None
    examples: int = 0
    """Rows that this client enrolled with."""
    generator: "torch.Generator"
    """This hook's own randomness in this round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColluderView(ClientView):
    """What a malicious client sees: its own side, and what its fellows share with it."""

    colluders: tuple[int, ...]
    """Malicious clients of this round's cohort, itself included."""
    own_rows: "torch.Tensor"
    """What local training made of the colluders' data, a data hook's changes included [colluders, parameters], in that
    order; [0, parameters] before they are trained."""
    blackboard: dict[str, Any]
    """Shared by the colluders over all rounds; holds tensors and what JSON can hold, since it is checkpointed."""
    granted: Mapping[Knowledge, Any]
    """Side knowledge by kind. `benign-updates`: what the honest clients send this round [honest, parameters]."""
    question: Any = None
    """What the attack's goal asks about: candidates, say; None for texts."""
    train: "Train | None" = None
    """Trains on samples of one's own by a schedule of one's own."""
    gradient: "Callable[[Sequence[Sample], torch.Tensor], torch.Tensor] | None" = None
    """Gradient of the mean loss on samples, at any trainables [parameters]: this round's, or a past global model's."""
    rehearse: "Callable[[Rows], Rehearsal] | None" = None
    """What the server's filters and rule, as they are in this round, would make of such rows; no state of theirs
    changes. Calling it uses `defense-settings`; None where these are not granted, and before step 4."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What an aggregation would come to, for a colluder that tries rows out before it sends them."""

    weights: "torch.Tensor | None"
    """What each row would get [rows], fp64; None where it is no weighted sum of them alone."""
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
    """The local trainables before the step [parameters]. Look, do not change."""
    gradient: "Callable[[], torch.Tensor]"
    """Of the batch's mean loss, or what the hook beneath makes of it [parameters]; may be changed in place, and holds
    until the next call only: keep a copy."""
    example_gradients: "Callable[[], torch.Tensor]"
    """Of each row's loss [rows, parameters], a new tensor; no rows where a Poisson batch is empty. For the lowest hook
    of a client alone: what hooks beneath make of the gradient would be lost."""
    expected_rows: float = 0.0
    """Rows that a batch holds on average, by which a sum over rows is divided: how many there are this time is as
    private as the rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundContext:
    """What a server-side defense knows about the round that it decides on."""

    round: int
    clients: tuple[int, ...]
    """Senders of the rows before any filter."""
    examples: tuple[int, ...]
    """Their claims, clamped."""
    staleness: tuple[int, ...] = ()
    """Rounds by which each of these rows is late; empty if none is."""
    absent: tuple[int, ...] = ()
    """Clients of the cohort that did not report."""
    declared_malicious: int
    """f among the rows that are left, as the defense believes."""
    layout: Layout
    training: TrainingSettings
    global_parameters: "torch.Tensor"
    """[parameters], as broadcast; a copy."""
    trusted: "Callable[[], torch.Tensor] | None" = None
    """Computes the update that the server makes from rows of its own (`data.trusted`) by the clients' protocol
    [parameters]; None where it holds none."""
    generator: "torch.Generator"


@dataclass(frozen=True, slots=True)
class Weighted:
    """What a rule returns whose update is more than a weighted sum of the round's rows."""

    weights: "torch.Tensor"
    """Over the rows [kept], fp64."""
    plus: "torch.Tensor"
    """What is added to the rows' weighted sum [parameters], fp32: a share of an earlier aggregate, say."""


@dataclass(frozen=True, slots=True)
class Mixed:
    """What a filter leaves of a round's rows."""

    mixing: "torch.Tensor"
    """fp64 [kept, rows]: each kept row as a combination of the rows."""
    declared_malicious: int
    """f among the kept rows: buckets spread a malicious row, dropping removes it."""


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What an exchange of updates came to."""

    vector: "torch.Tensor | None"
    """The weighted sum [parameters], fp32, finite; None if the protocol gave up."""
    upload_bytes: int
    """Of a client's messages in the round, all steps of the protocol together."""
    download_bytes: int = 0
    """Of what a client received beside the model."""
    skipped: str | None = None
    """Why there is no sum, if there is none: the global model is kept for that round."""


@dataclass(frozen=True, slots=True)
class Auxiliary:
    """Public text that an attack is granted as `auxiliary-text`, and a language model that learnt from it."""

    texts: tuple[str, ...]
    """No row shares a run of 8 words with a text that a client, the test set or the server holds."""
    learn: "Callable[[], Any]" = field(repr=False, compare=False)
    """The engine's way to the model."""

    def language_model(self) -> Any:
        """A transformers causal language model over the victim's tokenizer, in evaluation mode. Look, do not change.

        It is trained once on `texts`, framed by special tokens as the victim frames its own ([CLS] ... [SEP]), and
        kept; the first call may take minutes. `logits` [rows, tokens, vocabulary]; position i predicts token i + 1.
        """
        return self.learn()


class Granted(Mapping[Knowledge, Any]):
    """Side knowledge that a scenario grants; remembers what an attack looked up."""

    def __init__(self, content: Mapping[Knowledge, Any]) -> None:
        self._content = dict(content)
        self.used: set[Knowledge] = set()

    def __getitem__(self, kind: Knowledge) -> Any:
        value = self._content[kind]
        self.used.add(kind)
        return value

    def provide(self, kind: Knowledge, value: Any) -> None:
        """Set what a kind of knowledge is now; the engine's, round by round."""
        self._content[kind] = value

    def withdraw(self, kind: Knowledge) -> None:
        """Take a kind of knowledge back until it is provided again; the engine's."""
        self._content.pop(kind, None)

    def items(self) -> ItemsView[Knowledge, Any]:
        """Everything at once; only looking one kind up counts as using it."""
        return self._content.items()

    def values(self) -> ValuesView[Any]:
        """Everything at once; only looking one kind up counts as using it."""
        return self._content.values()

    def __contains__(self, kind: object) -> bool:
        return kind in self._content

    def __iter__(self) -> Iterator[Knowledge]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)


def _size(shape: Sequence[int]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
