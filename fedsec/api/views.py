"""What each side is handed: the only doors through which a plug-in sees a federation.

A view is built by the engine from what the adversary's position can see under the active defenses, plus the side
knowledge that the scenario grants. It holds no ground truth. Python cannot seal it: a plug-in that goes looking
through the interpreter can cheat, and the contract tests are there to notice.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from fedsec.api.threat import Knowledge

if TYPE_CHECKING:
    import torch


class Role(StrEnum):
    """What a trainable tensor is for, so that nobody has to match names."""

    WORD_EMBEDDING = "word-embedding"
    POSITION_EMBEDDING = "position-embedding"
    EMBEDDING = "embedding"
    """The rest of the embedding block: token types, its normalisation."""
    QUERY = "query"
    KEY = "key"
    VALUE = "value"
    ADAPTER = "adapter"
    HEAD = "head"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class ParameterInfo:
    """One tensor of the model."""

    name: str
    shape: tuple[int, ...]
    role: Role
    layer: int | None = None
    """Its transformer layer, from 0; None outside the layers."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """The protocol that the server itself hands out, and hence knows."""

    update: str
    """`gradient` or `delta`."""
    optimizer: str
    learning_rate: float
    local_steps: int
    batch_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicModel:
    """The global model of one round as the server broadcast it, in evaluation mode. Look, do not change."""

    module: Any
    """A transformers model for sequence classification; its parameters hold the broadcast values."""
    tokenizer: Any
    layout: Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerView:
    """What a curious server sees of one round."""

    round: int
    """From 1."""
    clients: tuple[int, ...]
    """Who sent the rows, in their order."""
    rows: "torch.Tensor | None"
    """fp32 updates [clients, parameters], or None where single rows stay hidden; a copy."""
    aggregate: "torch.Tensor"
    """What the rule made of them [parameters]."""
    model: PublicModel
    training: TrainingSettings
    granted: Mapping[Knowledge, Any]
    """Side knowledge by kind. `labels` and `lengths`: one tuple per client, in the batch's order."""
    generator: "torch.Generator"
    """The attack's own randomness."""


@dataclass(frozen=True, slots=True)
class Update:
    """What a client contributes in a round. A hook returns a changed copy."""

    vector: "torch.Tensor"
    """fp32 [parameters]: the gradient, or weights after minus before."""
    examples: int
    """Claimed number of examples; the server clamps it to what was enrolled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientView:
    """What a client sees when its update is about to leave. Its tensors are copies."""

    client: int
    round: int
    global_parameters: "torch.Tensor"
    """[parameters], as broadcast."""
    layout: Layout
    training: TrainingSettings
    generator: "torch.Generator"
    """This hook's own randomness in this round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColluderView(ClientView):
    """What a malicious client sees: its own side, and what its fellows share with it."""

    colluders: tuple[int, ...]
    """Malicious clients of this round's cohort, itself included."""
    own_rows: "torch.Tensor"
    """The colluders' honest updates [colluders, parameters], in that order."""
    blackboard: dict[str, Any]
    """Shared by the colluders over all rounds."""
    granted: Mapping[Knowledge, Any]
    """Side knowledge by kind. `benign-updates`: what the honest clients send this round [honest, parameters]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundContext:
    """What a server-side defense knows about the round that it decides on."""

    round: int
    clients: tuple[int, ...]
    """Senders of the rows before any filter."""
    examples: tuple[int, ...]
    """Their claims, clamped."""
    declared_malicious: int
    """f among the rows that are left, as the defense believes."""
    layout: Layout
    global_parameters: "torch.Tensor"
    """[parameters], as broadcast; a copy."""
    generator: "torch.Generator"


@dataclass(frozen=True, slots=True)
class Mixed:
    """What a filter leaves of a round's rows."""

    mixing: "torch.Tensor"
    """fp64 [kept, rows]: each kept row as a combination of the rows."""
    declared_malicious: int
    """f among the kept rows: buckets spread a malicious row, dropping removes it."""


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

    def __contains__(self, kind: object) -> bool:
        return kind in self._content

    def __iter__(self) -> Iterator[Knowledge]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconstruction:
    """One text that an attack claims a client trained on."""

    client: int
    tokens: tuple[int, ...]
    """Token ids without special tokens and padding, in order."""
    score: float
    """The attack's own measure of doubt; lower is surer."""
    verified: bool = False
    """The attack checked it against the update and found it at the numerical floor."""
    notes: Mapping[str, float] = field(default_factory=dict)
    """Diagnostics that the attack wants in the record."""


def _size(shape: Sequence[int]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
