"""Several sets of a module's trainables in one pass: each set meets rows of its own, and frozen weights meet all.

The rows of the sets stand one after another in the batch. A layer without trainables sees one larger batch; one with
trainables multiplies each set's rows by that set's values.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from fedsec.maths.layers import inputs_first, is_linear, is_norm, normalised


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A module that holds trainables, and the number of each among them, by its own name."""

    part: Any
    places: Mapping[str, int]


class StackedSets:
    """Runs a module with several sets of its trainables at once.

    Args:
        module: a transformers model.
        names: of its trainable parameters, in the order of the flat vector.
    """

    def __init__(self, module: nn.Module, names: tuple[str, ...]) -> None:
        named = dict(module.named_parameters())
        self._shapes = [tuple(named[name].shape) for name in names]
        places = {id(named[name]): place for place, name in enumerate(names)}
        holders = [
            _Leaf(part, {own: places[id(p)] for own, p in part.named_parameters(recurse=False) if id(p) in places})
            for part in module.modules()
        ]
        self._leaves = [leaf for leaf in holders if leaf.places]
        self.covers = all(_known(leaf) for leaf in self._leaves)
        """Whether every trainable's layer can be run with several sets."""

    @contextmanager
    def running(self, values: torch.Tensor, rows: int) -> Iterator[None]:
        """While it lasts, the module takes batches of `sets * rows` rows, those of the first set first.

        Args:
            values: the sets [sets, parameters], which gradients reach.
            rows: rows of each set.
        """
        sets = len(values)
        split = values.split([prod(shape) for shape in self._shapes], dim=1)
        parts = [part.view(sets, *shape) for part, shape in zip(split, self._shapes, strict=True)]
        for leaf in self._leaves:
            leaf.part.forward = _forward(leaf, {own: parts[place] for own, place in leaf.places.items()}, rows)
        try:
            yield
        finally:
            for leaf in self._leaves:
                del leaf.part.forward


def _known(leaf: _Leaf) -> bool:
    part = leaf.part
    plain = "forward" not in vars(part) and set(leaf.places) <= {"weight", "bias"}
    table = isinstance(part, nn.Embedding) and part.max_norm is None
    return plain and (is_linear(part) or is_norm(part) or table)


def _forward(leaf: _Leaf, own: Mapping[str, torch.Tensor], rows: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """The layer's forward pass with the sets' values [sets, *shape] in place of its trainables."""
    part = leaf.part
    fixed = {name: value for name, value in part.named_parameters(recurse=False) if name not in own}
    weight: Any = own.get("weight", fixed.get("weight"))
    bias: Any = own.get("bias", fixed.get("bias"))
    sets = len(next(iter(own.values())))

    def linear(inputs: torch.Tensor) -> torch.Tensor:
        apart = inputs.reshape(sets, -1, inputs.shape[-1])  # [sets, rows * tokens, inputs]
        left: torch.Tensor = apart @ (weight if inputs_first(part) else weight.mT)
        left = left if bias is None else left + (bias[:, None] if bias.dim() == 2 else bias)
        return left.view(*inputs.shape[:-1], left.shape[-1])

    def norm(inputs: torch.Tensor) -> torch.Tensor:
        left: torch.Tensor = normalised(part, inputs).reshape(sets, -1, inputs.shape[-1])
        left = left * (weight[:, None] if weight.dim() == 2 else weight)
        left = left if bias is None else left + (bias[:, None] if bias.dim() == 2 else bias)
        return left.view(inputs.shape)

    def table(ids: torch.Tensor) -> torch.Tensor:
        if len(ids) == 1 < sets * rows:  # one for all rows, as position embeddings are
            ids = ids.expand(sets * rows, *ids.shape[1:])
        words = weight.shape[1]
        first = torch.arange(sets, device=ids.device).repeat_interleave(rows) * words  # [sets * rows]
        return functional.embedding(ids + first.view(-1, *[1] * (ids.dim() - 1)), weight.reshape(sets * words, -1))

    return table if isinstance(part, nn.Embedding) else linear if is_linear(part) else norm
