"""The kinds of layers whose gradients follow from what entered and left them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional


def is_linear(part: nn.Module) -> bool:
    """Whether it multiplies by one matrix: torch's Linear, GPT-2's Conv1D, a LoRA factor."""
    return isinstance(part, nn.Linear) or inputs_first(part)


def inputs_first(part: nn.Module) -> bool:
    """Whether its matrix is stored [inputs, outputs]."""
    return type(part).__name__ == "Conv1D"


def is_norm(part: nn.Module) -> bool:
    """Whether it scales what it normalised, over the last dimension: a layer norm or an RMS norm."""
    if isinstance(part, nn.LayerNorm):
        return len(part.normalized_shape) == 1
    return type(part).__name__.endswith("RMSNorm")


def normalised(part: Any, inputs: torch.Tensor) -> torch.Tensor:
    """What a normalisation multiplies its weight with."""
    if isinstance(part, nn.LayerNorm):
        return functional.layer_norm(inputs, part.normalized_shape, eps=part.eps)
    epsilon = getattr(part, "variance_epsilon", getattr(part, "eps", 1e-6))
    return inputs * torch.rsqrt(inputs.square().mean(dim=-1, keepdim=True) + epsilon)


@contextmanager
def hooked(hooks: Sequence[tuple[nn.Module, Any]]) -> Iterator[None]:
    """Forward hooks on modules, for as long as the context lasts."""
    handles = [part.register_forward_hook(hook) for part, hook in hooks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
