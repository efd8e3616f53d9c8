"""Detects whether frozen tensors of a model were changed."""

import torch
from torch import nn


def fingerprint(module: nn.Module) -> tuple[float, ...]:
    """Sums over every parameter and buffer that is not trained, which no attack may change; cheap to compare."""
    frozen = [p for p in module.parameters() if not p.requires_grad]
    return tuple(float(t.sum(dtype=torch.float64)) for t in (*frozen, *module.buffers()))
