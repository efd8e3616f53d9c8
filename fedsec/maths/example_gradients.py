"""The gradient of every row of a batch by a model's trainables, from one forward and one backward pass.

What a layer adds to the gradient of row b follows from what entered the layer (X_b) and from the loss's derivative by
what left it (D_b): D_b^T X_b for a matrix, a sum over tokens for a bias or a norm's scale, a sum over a word's places
for an embedding. No gradient of the whole batch is formed, and nothing runs once per row.

Source: Goodfellow, "Efficient Per-Example Gradient Computations", 2015, section 4. Deviations: gradients are formed
    instead of their norms alone, since adapters and heads are small (Bu et al., "Differentially Private Optimization
    on Large Model at Small Cost", ICML 2023, section 3.2).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fedsec.maths.layers import hooked, inputs_first, is_linear, is_norm, normalised


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A module that holds trainables, and where each begins in the flat vector, by its own name."""

    part: Any
    offsets: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Call:
    """What entered a leaf, and what left it: [rows, ..]."""

    leaf: _Leaf
    entered: torch.Tensor
    left: torch.Tensor


class ExampleGradients:
    """Computes the gradients of rows' losses by a module's trainables.

    Args:
        module: a transformers model; left as it is.
        offsets: where each trainable parameter begins in the flat vector, by name.
        size: the flat vector's length.
    """

    def __init__(self, module: nn.Module, offsets: Mapping[str, int], size: int) -> None:
        named = dict(module.named_parameters())
        places = {id(named[name]): offset for name, offset in offsets.items()}
        holders = [
            _Leaf(part, {own: places[id(p)] for own, p in part.named_parameters(recurse=False) if id(p) in places})
            for part in module.modules()
        ]
        self._leaves = [leaf for leaf in holders if leaf.offsets]
        self._size = size
        self.covers = all(_has_factors(leaf) for leaf in self._leaves)
        """Whether every trainable's layer gives factors."""

    def of(self, losses: Callable[[], torch.Tensor], count: int) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Gradients [rows, parameters] and losses [rows], or None where rows have to be run one by one.

        Args:
            losses: runs the module on a batch, once, and gives each row's loss [rows], which no other row enters.
            count: rows of the batch, at least 1.
        """
        if not self.covers:
            return None
        calls: list[_Call] = []

        def note(leaf: _Leaf) -> Any:
            def hook(_: nn.Module, given: tuple[torch.Tensor, ...], left: torch.Tensor) -> torch.Tensor:
                if len(left) == 1 < count:  # one for all rows, as position embeddings are: each row gets its own
                    left = left.expand(count, *left.shape[1:])
                calls.append(_Call(leaf, given[0].detach(), left))
                return left

            return hook

        with torch.enable_grad(), hooked([(leaf.part, note(leaf)) for leaf in self._leaves]):
            found = losses()
            if any(len(call.left) != count for call in calls):
                return None
            deltas = torch.autograd.grad(found.sum(), [call.left for call in calls], allow_unused=True)
        rows = torch.zeros(count, self._size, device=found.device)  # [rows, parameters]
        for call, delta in zip(calls, deltas, strict=True):
            if delta is not None:
                _add(call, delta.float(), rows)
        return rows, found.detach()


def _has_factors(leaf: _Leaf) -> bool:
    part = leaf.part
    known = is_linear(part) or is_norm(part) or (isinstance(part, nn.Embedding) and part.max_norm is None)
    return known and set(leaf.offsets) <= {"weight", "bias"}


def _add(call: _Call, delta: torch.Tensor, rows: torch.Tensor) -> None:
    """Add what one call of a leaf gives to the rows.

    Args:
        call: the call.
        delta: derivative of the summed losses by what left it [rows, .., outputs].
        rows: [rows, parameters], changed in place.
    """
    part, count = call.leaf.part, len(rows)
    entered = call.entered.expand(count, *call.entered.shape[1:])
    delta = delta.reshape(count, -1, delta.shape[-1])  # [rows, tokens, outputs]
    for own, offset in call.leaf.offsets.items():
        shape = getattr(part, own).shape
        place = rows[:, offset : offset + shape.numel()].unflatten(1, shape)  # [rows, *shape]
        if own == "bias":
            place += delta.sum(dim=1)
        elif isinstance(part, nn.Embedding):
            ids = entered.reshape(count, -1, 1)  # [rows, tokens, 1]
            learnt = delta if part.padding_idx is None else delta * (ids != part.padding_idx)
            place.scatter_add_(1, ids.expand(learnt.shape), learnt)
        elif is_linear(part):
            inputs = entered.reshape(count, -1, entered.shape[-1]).float()  # [rows, tokens, inputs]
            place += inputs.mT @ delta if inputs_first(part) else delta.mT @ inputs
        else:
            inputs = entered.reshape(count, -1, entered.shape[-1]).float()
            place += (delta * normalised(part, inputs)).sum(dim=1)
