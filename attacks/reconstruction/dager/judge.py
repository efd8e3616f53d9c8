"""How far a whole text lies from the second layer's row space."""

from collections.abc import Sequence
from itertools import combinations
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fedsec.maths.activations import layer_input

from .effort import Effort
from .exchange import Exchange
from .settings import Settings
from .spaces import LayerSpace

if TYPE_CHECKING:
    from torch import Tensor

_CHUNK = 2048
"""Tokens per forward pass through the first layer."""


_PROBE = torch.arange(1000, 1008)
"""Ids of the text that shows whether single tokens can be exchanged in the model."""


class Judge:
    """Residuals of texts in the second layer, each text computed once between two finds.

    Args:
        module: the broadcast model.
        second: the second layer's space.
        settings: what a verified text has to show.
        effort: counts what is run through the first layer; once it is over, texts are as far off as can be.
    """

    def __init__(
        self,
        module: Any,
        second: LayerSpace,
        settings: Settings,
        effort: Effort,
    ) -> None:
        self._module, self._second, self._effort = module, second, effort
        probe = _PROBE[: module.config.max_position_embeddings] % module.config.vocab_size
        self._exchange = Exchange.of(module, second.query, probe)
        self._settings = settings
        self._basis = second.space.basis.float()  # [width, rank]; what found texts hold comes first
        self._held = 0
        self._found: list[Tensor] = []
        self._known: dict[bytes, tuple[float, float]] = {}
        self._explained: dict[int, bool] = {}

    @property
    def rank(self) -> int:
        """The second layer's rank: the number of the batch's tokens, specials included, equal texts counted once."""
        return self._second.space.rank

    def scores(self, texts: "Tensor") -> "Tensor":
        """Mean over each text's tokens of the distance to the span over that to the found texts' part of it [texts].

        While nothing is found this is the mean residual. Later it tells how much of what a text adds to the found ones
        is in the batch, so that a copy of a found text is no better than any other.

        Args:
            texts: ids [texts, length].
        """
        return torch.tensor([score for score, _ in self._measured(texts)])

    def likely(self, texts: "Tensor", place: int, tokens: "Tensor", count: int) -> "Tensor":
        """For each text those of some tokens that fit best at a position, best first [texts, count].

        By the score of the token that stands there alone. All of them as given [texts, tokens], where these are no more
        than `count`, or the layer does not tell it for less than the whole text costs.

        Args:
            texts: ids [texts, length].
            place: the position.
            tokens: ids [tokens].
            count: how many.
        """
        choice = tokens.expand(len(texts), -1)
        if self._exchange is None or len(tokens) <= count:
            return choice
        parts = choice.split(max(1, _CHUNK // len(texts)), dim=1)
        scores = torch.cat([self._scored(self._exchange.states(texts, place, part))[0] for part in parts], dim=1)
        self._effort.tokens(scores.numel() + len(parts) * texts.numel())
        return choice.gather(1, scores.topk(count, dim=1, largest=False).indices)

    def residual(self, ids: Sequence[int]) -> float:
        """Mean residual of a text's tokens, whatever is found."""
        return self._measured(torch.tensor([list(ids)]), always=True)[0][1]

    def settle(self, ids: Sequence[int]) -> None:
        """Takes note of a verified text: what it holds of the span counts no more."""
        self._found.append(self._inputs([ids]).float())
        inside = torch.cat(self._found) @ self._basis  # [tokens, rank]
        rotation, _ = torch.linalg.qr(inside.T, mode="complete")  # [rank, rank]
        self._basis = self._basis @ rotation
        self._held = min(len(inside), self._basis.shape[1])
        self._known.clear()

    def verified(self, ids: Sequence[int], options: Sequence["Tensor"]) -> bool:
        """Whether each token lies in the span as closely as that is known, and, if that is blurred, no neighbour does.

        Args:
            ids: the text.
            options: the candidates at each position; a neighbour takes another one at one position, or swaps two.
        """
        mean = self.residual(ids)
        if mean > self._settings.ceiling:
            return False
        excess, allowed = self._excess(ids)
        if excess > 1.0:
            return False
        if allowed <= self._settings.clear:
            return True
        neighbours = _neighbours(ids, options)
        measured = self._measured(torch.tensor(neighbours)) if neighbours else []
        if any(residual == inf for _, residual in measured):  # no effort was left to look at all of them
            return False
        close = self._settings.contrast * mean
        near = [one for one, (_, residual) in zip(neighbours, measured, strict=True) if residual < close]
        return all(self._excess(rival)[0] > self._settings.far for rival in near)

    def _excess(self, ids: Sequence[int]) -> tuple[float, float]:
        """The most by which a token's residual exceeds what is allowed there, as a factor, and the most allowed."""
        vectors = self._inputs([ids])
        least = self._settings.depth * self._settings.tolerance
        blurred = self._settings.depth * self._settings.slack * self._second.space.expected(vectors)
        allowed = blurred.clamp(least, max(self._settings.ceiling, least))
        return float((self._second.space.residuals(vectors) / allowed).max()), float(allowed.max())

    def _measured(self, texts: "Tensor", *, always: bool = False) -> list[tuple[float, float]]:
        """Score and mean residual of each text, for ids [texts, length]; infinite where no effort was left.

        Args:
            texts: ids [texts, length].
            always: whatever effort is left.
        """
        keys = [line.tobytes() for line in texts.numpy().astype(np.int32)]
        fresh: dict[bytes, int] = {}
        for index, key in enumerate(keys):
            if key not in self._known:
                fresh.setdefault(key, index)
        for part in torch.tensor(list(fresh.values()), dtype=torch.long).split(max(1, _CHUNK // texts.shape[1])):
            if len(part) == 0 or (self._effort.over and not always):
                continue
            self._effort.tokens(len(part) * texts.shape[1])
            vectors = layer_input(self._module, self._second.query, input_ids=texts[part])  # [part, length, width]
            score, residual = (one.mean(dim=1) for one in self._scored(vectors))  # [part]
            pairs = zip(score.tolist(), residual.tolist(), strict=True)
            self._known.update((keys[index], pair) for index, pair in zip(part.tolist(), pairs, strict=True))
        return [self._known.get(key, (inf, inf)) for key in keys]

    def _scored(self, vectors: "Tensor") -> "tuple[Tensor, Tensor]":
        """Score and residual of each of the second layer's inputs [..., width]."""
        inside, whole = vectors @ self._basis, vectors.norm(dim=-1)
        rest = (vectors - inside @ self._basis.T).norm(dim=-1)
        off = (whole.square() - inside[..., : self._held].square().sum(dim=-1)).clamp_min(0.0).sqrt()
        return rest / torch.maximum(off, rest), rest / whole

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
        self._effort.tokens(sum(map(len, texts)))
        parts = [layer_input(self._module, self._second.query, input_ids=torch.tensor([list(ids)]))[0] for ids in texts]
        return torch.cat(parts).double()


def _neighbours(ids: Sequence[int], options: Sequence["Tensor"]) -> list[tuple[int, ...]]:
    """The texts that take another of the options at one position, and those that exchange two inner tokens."""
    changed = [
        (*ids[:place], token, *ids[place + 1 :])
        for place, choice in enumerate(options)
        for token in choice.tolist()
        if token != ids[place]
    ]
    swapped = [
        (*ids[:one], ids[other], *ids[one + 1 : other], ids[one], *ids[other + 1 :])
        for one, other in combinations(range(1, len(ids) - 1), 2)
        if ids[one] != ids[other]
    ]
    return changed + swapped
