"""Quantization: every entry of an update is rounded at random to one of a few levels."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from fedsec.api import ClientView, Update

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
        """The rounded update."""
        vector = update.vector.clone()
        for info in view.layout.parameters:
            tensor = view.layout.tensor(vector, info.name)
            tensor.copy_(self._rounded(tensor, view.generator))
        return replace(update, vector=vector)

    def _rounded(self, tensor: "Tensor", generator: "Generator") -> "Tensor":
        drawn = torch.rand(tensor.shape, generator=generator)  # in [0, 1)
        if not bool(tensor.isfinite().all()):  # for the server to refuse
            return tensor
        if self.bits == 1:
            upward = torch.where(tensor == 0.0, drawn < 0.5, tensor > 0.0)
            return (2.0 * upward - 1.0) * tensor.abs().mean()
        levels = 2 ** (self.bits - 1) - 1
        step = tensor.abs().max() / levels
        if not bool(step > 0.0):  # nothing but 0, or magnitudes below what fp32 divides
            return torch.zeros_like(tensor)
        rounded: Tensor = (tensor / step + drawn).floor_().clamp_(-levels, levels) * step
        return rounded
