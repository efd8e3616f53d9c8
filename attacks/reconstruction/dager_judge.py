"""How far a whole text lies from the second layer's row space."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fedsec.maths.activations import layer_input

from .dager_spaces import LayerSpace

if TYPE_CHECKING:
    from torch import Tensor

_CHUNK = 2048
"""Tokens per forward pass through the first layer."""

_DEPTH = 3.0
"""The second layer's gradients carry more rounding than the first's: on tiny-bert 13 times what noise explains."""

_CONTRAST = 3.0
"""A verified text's residual is below every neighbour's by this factor; blurred spans tell no such tale."""


class Judge:
    """Residuals of texts in the second layer, each text computed once.

    Args:
        module: the broadcast model.
        second: the second layer's space.
        tolerance: per-token residual of a true text where nothing but fp32 rounding blurs the span.
        slack: per-token residual of a true text in units of what the span's noise explains.
        ceiling: a text with a token above this is never verified, however blurred the span.
    """

    def __init__(self, module: Any, second: LayerSpace, *, tolerance: float, slack: float, ceiling: float) -> None:
        self._module, self._second = module, second
        self._tolerance, self._slack, self._ceiling = tolerance, slack, ceiling
        self._basis = second.space.basis.float()
        self._known: dict[bytes, float] = {}
        self._explained: dict[int, bool] = {}

    @property
    def evaluated(self) -> int:
        """Distinct texts run through the first layer so far."""
        return len(self._known)

    @property
    def rank(self) -> int:
        """The second layer's rank: the number of the batch's tokens, specials included, equal texts counted once."""
        return self._second.space.rank

    def mean_residuals(self, texts: "Tensor") -> "Tensor":
        """Mean residual over each text's tokens [texts], fp32, for ids [texts, length]."""
        keys = [line.tobytes() for line in texts.numpy().astype(np.int32)]
        fresh: dict[bytes, int] = {}
        for index, key in enumerate(keys):
            if key not in self._known:
                fresh.setdefault(key, index)
        for part in torch.tensor(list(fresh.values()), dtype=torch.long).split(max(1, _CHUNK // texts.shape[1])):
            if len(part) == 0:
                continue
            vectors = layer_input(self._module, self._second.query, input_ids=texts[part])  # [part, length, width]
            rest = vectors - (vectors @ self._basis) @ self._basis.T
            means = (rest.norm(dim=-1) / vectors.norm(dim=-1)).mean(dim=1)  # [part]
            self._known.update((keys[index], value) for index, value in zip(part.tolist(), means.tolist(), strict=True))
        return torch.tensor([self._known[key] for key in keys])

    def verified(self, ids: Sequence[int], mean: float, options: Sequence["Tensor"]) -> bool:
        """Whether every token lies in the span as closely as the span is known, and no neighbour comes near.

        Args:
            ids: the text.
            mean: its mean residual.
            options: the candidates at each position; a neighbour differs in one of them.
        """
        if mean > self._ceiling:
            return False
        neighbours = [
            (*ids[:place], int(token), *ids[place + 1 :])
            for place, choice in enumerate(options)
            for token in choice.tolist()
            if token != ids[place]
        ]
        if neighbours and float(self.mean_residuals(torch.tensor(neighbours)).min()) < _CONTRAST * mean:
            return False
        vectors = self._inputs([ids])
        blurred = _DEPTH * self._slack * self._second.space.expected(vectors)
        allowed = blurred.clamp(_DEPTH * self._tolerance, max(self._ceiling, _DEPTH * self._tolerance))
        return bool((self._second.space.residuals(vectors) <= allowed).all())

    def explained(self, texts: Sequence[Sequence[int]]) -> bool:
        """Whether the inputs of these verified texts already span all that the update shows."""
        count = len(texts)
        if count not in self._explained:
            self._explained[count] = count > 0 and self._spans(texts)
        return self._explained[count]

    def _spans(self, texts: Sequence[Sequence[int]]) -> bool:
        space = self._second.space
        vectors = self._inputs(texts)  # [tokens, width]
        if len(vectors) < space.rank:
            return False
        inside = (vectors / vectors.norm(dim=1, keepdim=True)) @ space.basis  # [tokens, rank]
        return int(torch.linalg.matrix_rank(inside, rtol=1e-5)) >= space.rank

    def _inputs(self, texts: Sequence[Sequence[int]]) -> "Tensor":
        """The second layer's inputs of all tokens [tokens, width], fp64."""
        parts = [layer_input(self._module, self._second.query, input_ids=torch.tensor([list(ids)]))[0] for ids in texts]
        return torch.cat(parts).double()
