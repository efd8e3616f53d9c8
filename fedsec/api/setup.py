"""What is trained and how: the model's tensors, their places in the flat vector, and the training protocol."""

from dataclasses import dataclass
from enum import StrEnum
from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


class Role(StrEnum):
    """What a trainable tensor is for, so that plug-ins need not match names."""

    WORD_EMBEDDING = "word-embedding"
    POSITION_EMBEDDING = "position-embedding"
    EMBEDDING = "embedding"
    """The rest of the embedding block: token types and the normalisation."""
    QUERY = "query"
    KEY = "key"
    VALUE = "value"
    QUERY_KEY_VALUE = "query-key-value"
    """One matrix for all three, whose outputs stand side by side in this order, a third each in GPT-2."""
    ADAPTER = "adapter"
    """A LoRA factor; `ParameterInfo.factor` and `adapts` say which."""
    HEAD = "head"
    """The classifier, or a causal model's output layer unless it is tied to the word embedding."""
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class ParameterInfo:
    """One tensor of the model."""

    name: str
    shape: tuple[int, ...]
    role: Role
    layer: int | None = None
    """The number of its transformer layer, from 0; None outside the layers."""
    factor: str | None = None
    """For an adapter: `A` [rank, inputs] or `B` [outputs, rank]; the adapted weight changes by B A times a scale."""
    adapts: Role | None = None
    """For an adapter: the role of the weight that it adapts."""
    inputs_first: bool = False
    """Whether a matrix is stored [inputs, outputs], as GPT-2's are; torch's Linear stores [outputs, inputs]."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The position of each trainable tensor in the flat vector."""

    parameters: tuple[ParameterInfo, ...]
    offsets: tuple[int, ...]
    size: int
    """Length of the flat vector."""

    def tensor(self, vector: "torch.Tensor", name: str) -> "torch.Tensor":
        """Return the named tensor as a view into `vector` [parameters]; KeyError if it is not trainable."""
        for info, start in zip(self.parameters, self.offsets, strict=True):
            if info.name == name:
                stop = start + prod(info.shape)
                return vector[start:stop].view(info.shape)
        raise KeyError(f"{name} is not among the trainable parameters")

    def first(self, share: float) -> int:
        """Return the number of entries in the first whole tensors that fit into a share of the vector, at least one.

        Args:
            share: from 0 to 1; all entries at 1, and never all of them below where there is a second tensor.
        """
        fitting = [start for start in self.offsets[1:] if start <= share * self.size]
        return self.size if share >= 1.0 else max([*self.offsets[1:2], *fitting], default=self.size)

    def after(self, start: int) -> "Layout":
        """Return the layout of the vector from `start` on, where a tensor begins."""
        place = len(self.parameters) if start == self.size else self.offsets.index(start)
        offsets = tuple(offset - start for offset in self.offsets[place:])
        return Layout(self.parameters[place:], offsets, self.size - start)

    def find(self, role: Role, layer: int | None = None) -> tuple[ParameterInfo, ...]:
        """Return the trainable tensors with that role (in that layer), in the model's order."""
        return tuple(p for p in self.parameters if p.role == role and (layer is None or p.layer == layer))


@dataclass(frozen=True, slots=True)
class ModelSetup:
    """What is trained and how, before a federation starts; a `ModelHook` returns a changed copy."""

    parameters: tuple[ParameterInfo, ...]
    """Every tensor of the model, trainable or not, each once (tied weights too)."""
    trainable: frozenset[str]
    """Names of the tensors that are trained and sent."""
    dropout: bool
    """Whether the model's own dropout is active in local training."""
    task: str = "sequence-classification"
    """`sequence-classification` or `causal-lm`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """The training protocol, which the server itself hands out and so knows."""

    update: str
    """`gradient` or `delta`."""
    optimizer: str
    learning_rate: float
    local_steps: int
    batch_size: int
    cohort: int = 0
    """Clients in a round; 0 where unknown."""
    rounds: int = 0
    """Rounds of training; 0 where unknown."""
    sampling: str = "fixed"
    """`fixed`: batches of `batch_size` examples and cohorts of `cohort` clients; `poisson`: these sizes on average,
    each example and each client drawn independently."""
