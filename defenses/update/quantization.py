"""Quantization: every entry of an update is rounded at random to one of a few levels."""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from fedsec.api import ClientView, Encoding, Update
from fedsec.maths.blocks import blocks

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """Rounds each tensor to 2^bits - 1 evenly spaced levels between minus and plus its largest magnitude.

    An entry goes to one of the two levels around it, with probabilities that keep its expectation. With one bit it
    becomes its sign times the tensor's mean magnitude; an exact 0 then gets either sign, since one bit has no third.

    Args:
        bits: per entry.

    Source: Alistarh et al., "QSGD", NeurIPS 2017, section 3.1 (stochastic rounding) and 4 (scaling by the largest
        entry); one bit: Bernstein et al., "signSGD", ICML 2018, with the scale of Karimireddy et al., ICML 2019,
        algorithm 1.
    Deviations: one scale per tensor instead of buckets; no error feedback; no entropy coding.
    """

    bits: int = 8

    def on_update(self, update: Update, view: ClientView) -> Update:
        """Return the rounded update."""
        vector = update.vector.detach().clone()
        tensors = (view.layout.tensor(vector, info.name) for info in view.layout.parameters)
        steps = tuple(self._round(tensor, view.generator) for tensor in tensors)
        return replace(update, vector=vector, encoding=Encoding(bits=self.bits, steps=steps))

    def _round(self, tensor: "Tensor", generator: "Generator") -> float:
        """Round a tensor in place, and return the step between two levels, or the one magnitude under one bit."""
        if not tensor.numel():
            return 0.0
        low, high = (float(bound) for bound in torch.aminmax(tensor))
        largest, levels = max(-low, high), 2 ** (self.bits - 1) - 1
        if not math.isfinite(low + high):
            return 0.0  # for the server to refuse
        if self.bits == 1:
            scale = sum(float(part.abs().sum(dtype=torch.float64)) for part in blocks(tensor)) / tensor.numel()
            for part in blocks(tensor):
                upward = torch.where(part == 0.0, torch.rand(part.shape, generator=generator) < 0.5, part > 0.0)
                part.copy_(upward).mul_(2.0 * scale).sub_(scale)
            return scale
        step = float(torch.tensor(largest) / levels)
        if step == 0.0:  # nothing but 0, or magnitudes below what fp32 divides
            tensor.zero_()
            return 0.0
        for part in blocks(tensor):
            drawn = torch.rand(part.shape, generator=generator)  # in [0, 1)
            part.div_(step).add_(drawn).floor_().clamp_(-levels, levels).mul_(step)
        return step
