"""What enters each trained linear map of a model: how active the units before it are."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from fedsec.data.tokens import Tokenised, collate
from fedsec.models.flat import FlatModel

ROWS_PER_BATCH = 64
_LINEAR = ("Linear", "Conv1D")
"""Types of the modules that are linear maps; GPT-2's is of transformers' own."""


@torch.no_grad()
def mean_inputs(model: FlatModel, vector: torch.Tensor, texts: Tokenised, pad_id: int) -> dict[str, torch.Tensor]:
    """Return the mean size of each input of every trained linear map, by its name [inputs], fp32, without dropout.

    The mean is over tokens, padding left out, or over texts where a map gets one input for each.

    Args:
        model: the resident model.
        vector: its trainables [parameters].
        texts: at least one.
        pad_id: padding token.
    """
    model.load(vector)
    model.module.eval()
    mask = torch.empty(0)
    sums: dict[str, torch.Tensor] = {}
    counts: dict[str, float] = {}

    def note(name: str) -> Callable[[nn.Module, Any], None]:
        def hook(_: nn.Module, given: Any) -> None:
            sizes = given[0].detach().abs().double().cpu()  # [rows, length, inputs], or [rows, inputs]
            if sizes.dim() == 3:
                sizes = sizes[mask]  # [tokens, inputs]
            sums[name] = sums.get(name, torch.zeros(sizes.shape[-1], dtype=torch.float64)) + sizes.sum(dim=0)
            counts[name] = counts.get(name, 0.0) + len(sizes)

        return hook

    handles = [part.register_forward_pre_hook(note(name)) for name, part in _linear(model)]
    try:
        for start in range(0, len(texts.ids), ROWS_PER_BATCH):
            batch = collate(texts, range(start, min(start + ROWS_PER_BATCH, len(texts.ids))), pad_id)
            mask = batch.attention_mask.bool()
            model.logits(batch)
    finally:
        for handle in handles:
            handle.remove()
    return {name: (total / counts[name]).float() for name, total in sums.items()}


def _linear(model: FlatModel) -> list[tuple[str, nn.Module]]:
    """Return each linear map whose weight is trained, by the weight's name."""
    parts = dict(model.module.named_modules())
    trained = (info.name for info in model.layout.parameters if len(info.shape) == 2)
    found = ((name, parts.get(name.removesuffix(".weight"))) for name in trained)
    return [(name, part) for name, part in found if part is not None and type(part).__name__ in _LINEAR]
