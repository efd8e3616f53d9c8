"""Embedding algebra: read a text off the word and position embeddings' gradients, in closed form."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from fedsec.api import ParameterInfo, Reconstruction, Role, RoundView
from fedsec.maths.row_space import rounding_noise

from ..shared.texts import content, only, single_rows, texts_per_client
from .assignment import Assignment, agreement

if TYPE_CHECKING:
    from torch import Tensor

_MARGIN = 3.0
"""Nats by which a position's best word has to beat what the best of unrelated words reaches on average."""

_SIGNS = 1.001
"""Where the largest entry is no more than this times the smallest, a table holds nothing but signs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingAlgebra:
    """Solves G = S P for the binary token-by-position matrix S.

    In a model with trainable absolute positions and an untied head, word and position embedding are summed, so both
    receive the same gradient g per token. A token's row G_t sums g over where the token stands, a position's row P_p
    over who stands there. With one text P_p is g itself: S = G P^+, ordered, whatever the label, depth or dropout.
    Of several texts the rows tell who stands where, but not who stands together. Where a defense leaves rows that do
    not add up (masks, few levels, signs), or none untouched (noise, signs), the rows of one text are matched by how
    well they agree.

    Args:
        zero_norm: rows of a norm below this times the largest count as not touched.
        tolerance: relative fp32 error of a gradient's entries, for the verification.
        significance: how much better than any other placement (chi-square units) a verified one has to fit.
        noise_factor: where several texts leave most rows non-zero, those below this times the median norm are noise.

    Source: this project (gradient_inversion.md, 1.9); nearest published: FET, COLING 2025, which searches.
    Deviations: none; there is no paper. Several texts per client are only read position by position, unverified.
    """

    zero_norm: float = 1e-7
    tolerance: float = 1e-5
    significance: float = 30.0
    noise_factor: float = 1.5

    def reconstruct(self, view: RoundView) -> list[Reconstruction]:
        """Claims for every client; ValueError if the view lacks rows or an embedding's part of them."""
        rows = single_rows(view)
        tables = [only(view.model.layout, role) for role in (Role.WORD_EMBEDDING, Role.POSITION_EMBEDDING)]
        return view.each_client(lambda own, place: self._one_client(own, own.clients[place], rows[place], tables))

    def _one_client(
        self, view: RoundView, client: int, row: "Tensor", tables: Sequence[ParameterInfo]
    ) -> list[Reconstruction]:
        word_table, place_table = (view.model.layout.tensor(row, table.name) for table in tables)
        limit = texts_per_client(view)
        additive = view.training.optimizer != "adamw" or view.training.update == "gradient"
        if limit == 1 and additive and all(bool(table.any(dim=1).all()) for table in (word_table, place_table)):
            return _blurred(view, client, word_table, place_table)
        (words, word_rows), (places, place_rows) = (self._touched(table) for table in (word_table, place_table))
        if len(words) == 0 or len(places) == 0:
            return []
        word_noise, place_noise = (
            self._variance(view, table, kept, values)
            for table, kept, values in zip(tables, (words, places), (word_rows, place_rows), strict=True)
        )
        fit = Assignment(word_rows, place_rows, word_noise, place_noise)
        tokens = fit.solve(additive=additive)
        contiguous = int(places[-1] - places[0]) + 1 == len(places)
        verified = contiguous and fit.certain(tokens, self.significance)
        if verified or limit == 1:
            ids = content(words[tokens].tolist(), view.model.tokenizer)
            notes = {
                "misfit": fit.misfit(tokens),
                "positions": float(len(places)),
                "words": float(len(words)),
            }
            return [Reconstruction(client=client, tokens=ids, score=notes["misfit"], verified=verified, notes=notes)]
        return self._by_position(view, client, words, word_rows, place_rows)

    def _touched(self, table: "Tensor") -> tuple["Tensor", "Tensor"]:
        """Which rows of an embedding's update [count, width] are non-zero, and those rows in fp64."""
        norms = table.norm(dim=1, dtype=torch.float64)  # [count]
        kept = norms > self.zero_norm * norms.max()
        if int(kept.sum()) > 0.5 * len(norms):  # noise on every row
            kept = norms > self.noise_factor * norms.median()
        index = kept.nonzero()[:, 0]
        return index, table[index].double()

    def _variance(self, view: RoundView, table: ParameterInfo, index: "Tensor", values: "Tensor") -> "Tensor":
        """Variance of the error of an update's touched rows, same shape as `values`, fp64."""
        norms = values.norm(dim=1, keepdim=True)  # [rows, 1]
        floor: Tensor = norms.square() * (self.tolerance**2 / values.shape[1])
        if view.training.update == "gradient":
            return floor.expand_as(values)
        stored = view.model.module.get_parameter(table.name)[index] + values.float()
        return rounding_noise(stored).square() * view.training.local_steps + floor

    def _by_position(
        self, view: RoundView, client: int, words: "Tensor", word_rows: "Tensor", place_rows: "Tensor"
    ) -> list[Reconstruction]:
        """Best effort for several texts: P = S^T G holds where no token occurs twice; rank tokens at each position."""
        weights = place_rows @ torch.linalg.pinv(word_rows, rcond=1e-10)  # [positions, words]
        order = weights.argsort(dim=1, descending=True)  # [positions, words]
        claims = []
        for rank in range(min(texts_per_client(view), order.shape[1])):
            chosen = order[:, rank]
            strength = weights.gather(1, chosen[:, None])[:, 0]
            ids = content(words[chosen[strength > 0.5]].tolist(), view.model.tokenizer)
            if ids:
                doubt = float((1.0 - strength[strength > 0.5]).abs().mean())
                claims.append(Reconstruction(client=client, tokens=ids, score=doubt))
        return claims


def _blurred(view: RoundView, client: int, words: "Tensor", places: "Tensor") -> list[Reconstruction]:
    """One text under noise on every row, or signs of every entry: which rows agree says what was touched.

    Args:
        view: the round.
        client: whose update it is.
        words: the word embedding's update [vocabulary, width], no row at 0.
        places: the position embedding's update [positions, width], no row at 0.
    """
    best, tokens = agreement(words, places).max(dim=1)  # [positions]
    # The best of so many unrelated words reaches about log(words); a text's positions go on from the first.
    evidence = (best - math.log(len(words)) - _MARGIN).cumsum(dim=0)
    length = int(evidence.argmax()) + 1
    if float(evidence[length - 1]) <= 0.0:
        return []
    tokens = tokens[:length]
    sizes = places.abs()
    if float(sizes.max()) > _SIGNS * float(sizes.min()):  # signs do not add up
        used, start = tokens.unique(return_inverse=True)
        noise = places.square().mean(dim=1).median().double()  # of most rows, which are noise alone
        found, there = words[used].double(), places[:length].double()
        fit = Assignment(found, there, noise.expand_as(found), noise.expand_as(there))
        tokens = used[fit.refine(start)]
    ids = content(tokens.tolist(), view.model.tokenizer)
    notes = {"evidence": float(evidence[length - 1]), "positions": float(length)}
    return [Reconstruction(client=client, tokens=ids, score=-notes["evidence"], notes=notes)]
