"""Squared products of every token's input at every position with a matrix, without forming the inputs.

Encoders put LN(word + place) into their first layer. The norm and any product of such a sum fall apart into a word's
part, a place's part and the product of both, so that V tokens at L places cost what V + L rows and one V x L product
do, and not V x L rows.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from fedsec.maths.activations import layer_input

if TYPE_CHECKING:
    from torch import Tensor

_PROBES = (3, 1009, 7919)
"""Tokens that tell whether the inputs are such sums (of the vocabulary's size the rest is taken)."""

_EXACT = 1e-5
"""Largest difference of a true sum, relative to the largest entry: fp32 rounding leaves 1e-6."""


@dataclass(frozen=True, slots=True)
class NormalisedSums:
    """LN(words[token] + places[place]) for every token and place, in fp64."""

    words: "Tensor"
    """Word embeddings less their mean [vocabulary, width]; fp32, since the table is large."""
    places: "Tensor"
    """What each place adds, less its mean [places, width]."""
    weight: "Tensor"
    """[width]."""
    bias: "Tensor"
    """[width]."""
    epsilon: float
    """Added to the variance."""

    def squares(self, ids: "Tensor", matrices: "Sequence[Tensor]") -> "list[Tensor]":
        """Squared norm of each input, then of its product with each matrix [tokens, places], fp64.

        Args:
            ids: [tokens].
            matrices: each [width, any], fp64.
        """
        words = self.words[ids].double()
        variance = _spread(words, self.places) / words.shape[1] + self.epsilon  # [tokens, places]
        scale = variance.rsqrt()
        words, places = words * self.weight, self.places * self.weight
        found = []
        for matrix in (None, *matrices):
            parts = (words, places, self.bias)
            word, place, bias = parts if matrix is None else (part @ matrix for part in parts)
            shift = (word @ bias)[:, None] + place @ bias  # [tokens, places]
            found.append((_spread(word, place) * scale + 2.0 * shift) * scale + bias.square().sum())
        return found


def _spread(words: "Tensor", places: "Tensor") -> "Tensor":
    """|word + place|^2 [tokens, places]."""
    own = words.square().sum(dim=1)[:, None] + places.square().sum(dim=1)
    spread: Tensor = own + 2.0 * words @ places.T
    return spread


def normalised_sums(module: Any, target: str, length: int) -> NormalisedSums | None:
    """The sums that enter a module, at the first places; None where its inputs are no such sums.

    Args:
        module: a transformers model in evaluation mode.
        target: name of the submodule whose inputs are meant.
        length: number of places.
    """
    table: Tensor = module.get_input_embeddings().weight.detach()
    probes = torch.tensor(_PROBES) % len(table)
    with _noted(module) as seen:
        inputs = layer_input(module, target, input_ids=probes[:, None].expand(-1, length))  # [probes, length, width]
    norm, entered = next((one[:2] for one in seen if _same(one[2], inputs)), (None, None))
    if norm is None or entered is None or table.shape[1] != entered.shape[-1]:
        return None
    added = entered - table[probes, None]  # [probes, length, width]
    if float((added - added[0]).abs().max()) > _EXACT * float(entered.abs().max()):
        return None
    places = added[0].double()
    zero = torch.zeros_like(places[0])
    weight, bias = (zero + 1.0 if norm.weight is None else norm.weight, zero if norm.bias is None else norm.bias)
    return NormalisedSums(
        words=table - table.mean(dim=1, keepdim=True),
        places=places - places.mean(dim=1, keepdim=True),
        weight=weight.detach().double(),
        bias=bias.detach().double(),
        epsilon=norm.eps,
    )


def _same(one: "Tensor", other: "Tensor") -> bool:
    return one.shape == other.shape and bool((one == other).all())


@contextmanager
def _noted(module: nn.Module) -> Iterator[list[tuple[nn.LayerNorm, "Tensor", "Tensor"]]]:
    """What enters and leaves every layer norm that runs meanwhile."""
    seen: list[tuple[nn.LayerNorm, Tensor, Tensor]] = []

    def note(norm: Any, given: Any, left: Any) -> None:
        seen.append((norm, given[0], left))

    handles = [part.register_forward_hook(note) for part in module.modules() if isinstance(part, nn.LayerNorm)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
