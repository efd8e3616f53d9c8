"""What follows attention in an encoder's layer, found by what flows through it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from fedsec.maths.activations import layer_input

if TYPE_CHECKING:
    from torch import Tensor

_PROBES = ((3, 1009, 7919, 31), (523, 4093, 11, 6007))
"""Texts whose tokens (of the vocabulary's size the rest is taken) show what flows where."""

_SAME = 1e-5
"""Largest difference between equal tensors, relative to the largest entry: fp32 rounding leaves 1e-6."""


class Call(NamedTuple):
    """One module's work in a forward pass."""

    name: str
    module: nn.Module
    entered: "Tensor"
    left: "Tensor"


@dataclass(frozen=True, slots=True)
class Block:
    """A layer in which LN(input + output projection) enters a feed-forward pair of linear maps."""

    project: str
    """Name of attention's output projection."""
    norm: str
    """Name of the layer norm that its outputs, with the layer's inputs added, enter."""
    expand: str
    """Name of the linear map that the norm's outputs enter."""
    shrink: str
    """Name of the linear map that the activations enter."""
    activation: str
    """Name of what stands between the two."""


def block_between(module: Any, first: str, second: str) -> Block | None:
    """The block between two layers' query projections; None if what flows there is not of this kind.

    Args:
        module: a transformers model in evaluation mode.
        first: name of the first layer's query projection.
        second: that of the second layer's.
    """
    ids = torch.tensor(_PROBES) % module.get_input_embeddings().weight.shape[0]
    with noted(module) as calls:
        layer_input(module, second, input_ids=ids)
    start = next((at for at, call in enumerate(calls) if call.name == first), None)
    if start is None:
        return None
    inputs, calls = calls[start].entered, calls[start:]
    norm = next((call for call in calls if isinstance(call.module, nn.LayerNorm)), None)
    if norm is None or norm.module.weight is None or norm.module.bias is None:
        return None
    linear = [call for call in calls if isinstance(call.module, nn.Linear)]
    project = next((call for call in linear if _same(inputs + call.left, norm.entered)), None)
    expand = next((call for call in linear if _same(call.entered, norm.left)), None)
    if project is None or expand is None:
        return None
    activation = next((call for call in calls if call is not expand and _same(call.entered, expand.left)), None)
    shrink = activation and next((call for call in linear if _same(call.entered, activation.left)), None)
    if activation is None or shrink is None:
        return None
    return Block(project.name, norm.name, expand.name, shrink.name, activation.name)


@contextmanager
def noted(module: nn.Module) -> Iterator[list[Call]]:
    """What enters and leaves every module without parts that runs meanwhile, in order."""
    seen: list[Call] = []

    def hook(name: str) -> Callable[[Any, Any, Any], None]:
        return lambda part, given, left: seen.append(Call(name, part, given[0], left))

    parts = [(name, part) for name, part in module.named_modules() if not any(part.children())]
    handles = [part.register_forward_hook(hook(name)) for name, part in parts]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _same(one: "Tensor", other: "Tensor") -> bool:
    if one.shape != other.shape:
        return False
    return bool((one - other).abs().max() <= _SAME * other.abs().max())
