"""Gradient pruning: a part of every tensor's entries is set to 0 before an update leaves the client."""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from fedsec.api import ClientView, Encoding, Update
from fedsec.maths.blocks import blocks

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientPruning:
    """Keeps a fraction of each tensor's entries as they are and sends 0 for the others.

    Of each tensor and not of the whole update: where a full model is trained, about half of all entries are embedding
    rows of absent words, exactly 0, and a threshold over everything would prune little else.

    Args:
        keep: fraction of a tensor's entries to keep.
        kind: `top-k` keeps those of largest magnitude (and all that equal the last of them); `random` keeps each
            with probability `keep`, drawn anew for each client and round.

    Source: `top-k`: Lin et al., "Deep Gradient Compression", ICLR 2018, algorithm 1, as a defense in Zhu et al., "Deep
        Leakage from Gradients", NeurIPS 2019, section 5.2. `random`: Balunovic et al., LAMP, NeurIPS 2022, table 8.
    Deviations: what is left out is not kept for later rounds (DGC accumulates it); kept entries are not scaled up.
    """

    keep: float = 0.9
    kind: str = "top-k"

    def on_update(self, update: Update, view: ClientView) -> Update:
        """Return the update with the other entries set to 0."""
        vector = update.vector.detach().clone()
        for info in view.layout.parameters:
            tensor = view.layout.tensor(vector, info.name)
            self._prune(tensor, view.generator)
        return replace(update, vector=vector, encoding=Encoding(sparse=True))

    def _prune(self, tensor: "Tensor", generator: "Generator") -> None:
        """Prune a tensor in place; non-finite values stay, for the server to refuse."""
        if self.kind == "random":
            for part in blocks(tensor):
                part.mul_(torch.rand(part.shape, generator=generator) < self.keep)
            return
        count = math.ceil(self.keep * tensor.numel())
        if int(tensor.count_nonzero()) <= count:
            return
        magnitude = tensor.abs().flatten()
        threshold = magnitude.kthvalue(tensor.numel() - count + 1).values
        for part in blocks(tensor):
            part.masked_fill_(part.abs() < threshold, 0.0)
