"""Beam search that writes one text after another, until they cover the tokens of a batch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import log
from typing import TYPE_CHECKING

import torch

from .language import BagModel, Written, begin_token

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Covering:
    """Width and penalties of the search."""

    beams: int
    groups: int
    diversity: float
    found_penalty: float
    unused_bonus: float
    longest: int
    """Tokens of a text at most."""


@dataclass(slots=True)
class CoveringWriter:
    """Writes texts one after another; what stands in one is less welcome in the next.

    Groups of beams choose in turn among all continuations, each paying for tokens that groups before it chose at the
    same place. No pair of neighbours stands twice in a text.

    Args:
        model: of the batch's tokens.
        settings: of the search.

    Source: this project, after Vijayakumar et al., AAAI 2018 (diverse beams), and Wu et al., arXiv:1609.08144, section
        7 (scores by length, and for coverage). Deviations: coverage is a bonus for tokens that no text before holds.
    """

    model: BagModel
    settings: Covering
    _pairs: list[tuple[int, int]] = field(default_factory=list)
    _begun: list[int] = field(default_factory=list)
    _used: set[int] = field(default_factory=set)

    @torch.no_grad()
    def write(self) -> list[Written]:
        """The best texts of one search, the surest first; the best one's pairs are penalised from now on."""
        found = self._search()
        if found:
            best = found[0].places
            self._pairs += list(pairwise(best))
            self._begun.append(best[0])
            self._used.update(best)
        return found

    def _search(self) -> list[Written]:
        begin = begin_token(self.model.tokenizer)
        starts = torch.arange(len(self.model.bag)) if begin is not None else self.model.starts()
        places = starts[:, None]  # [texts, 1]
        score = torch.full((len(starts),), -log(len(starts)))
        past, finished = None, list[Written]()
        if begin is not None:
            past, log_p = self.model.step(torch.tensor([begin]), None)
            score = log_p[0, starts]
            past.batch_repeat_interleave(len(starts))
        score = score + self._bonus()[starts]
        begun = torch.bincount(torch.tensor(self._begun, dtype=torch.long), minlength=len(self.model.bag))  # [bag]
        score -= self.settings.found_penalty * begun[starts]
        while len(places):
            past, log_p = self.model.step(self.model.bag[places[:, -1]], past)  # [texts, bag + 1]
            finished += self._ended(places, score, log_p[:, -1], whole=places.shape[1] >= self.settings.longest)
            if places.shape[1] >= self.settings.longest or self.model.seconds_left() <= 0.0:
                break
            parents, tokens, score = self._grow(score, self._allowed(places, log_p[:, :-1]))
            places = torch.cat([places[parents], tokens[:, None]], dim=1)
            past.batch_select_indices(parents)
            if not torch.isfinite(score).any() or self._settled(finished, score, places.shape[1]):
                break
        best: dict[tuple[int, ...], Written] = {}
        for one in sorted(finished, key=lambda one: (one.doubt, one.places)):
            best.setdefault(one.places, one)
        return list(best.values())[: self.settings.beams]

    def _settled(self, finished: Sequence[Written], score: "Tensor", length: int) -> bool:
        """Whether enough texts are done that no growing one is surer than."""
        if len(finished) < self.settings.beams:
            return False
        worst = sorted(one.doubt for one in finished)[self.settings.beams - 1]
        return float(-score.max()) / length > worst

    def _allowed(self, places: "Tensor", log_p: "Tensor") -> "Tensor":
        """Log probabilities [texts, bag] less penalties; pairs that a text holds already are out."""
        last = places[:, -1:]  # [texts, 1]
        fresh = torch.ones_like(log_p).scatter_(1, places, 0.0)  # a bonus is had once in a text
        log_p = log_p + self._bonus() * fresh
        if self._pairs:
            first, second = torch.tensor(self._pairs).T
            before = torch.zeros_like(log_p).index_add_(1, second, (last == first).to(log_p.dtype))
            log_p -= self.settings.found_penalty * before.clamp_max(1.0)
        return log_p.masked_fill(self.model.repeated(places), -torch.inf)

    def _bonus(self) -> "Tensor":
        """For each token of the bag that no text before holds [bag]."""
        unused = torch.full((len(self.model.bag),), self.settings.unused_bonus)
        unused[list(self._used)] = 0.0
        return unused

    def _grow(self, score: "Tensor", log_p: "Tensor") -> tuple["Tensor", "Tensor", "Tensor"]:
        """The next beams: parents, tokens and scores [beams], group by group."""
        total = (score[:, None] + log_p).flatten()  # [texts * bag]
        size, words = self.settings.beams // self.settings.groups, log_p.shape[1]
        used = torch.zeros(words)
        chosen: list[Tensor] = []
        taken = torch.zeros(len(total), dtype=torch.bool)
        for _ in range(self.settings.groups):
            offered = (total - self.settings.diversity * used.repeat(len(log_p))).masked_fill(taken, -torch.inf)
            picks = offered.topk(min(size, len(offered))).indices
            taken[picks] = True
            used += torch.bincount(picks % words, minlength=words)
            chosen.append(picks)
        picks = torch.cat(chosen)
        picks = picks[torch.isfinite(total[picks])]
        return picks // words, picks % words, total[picks]

    def _ended(self, places: "Tensor", score: "Tensor", end: "Tensor", *, whole: bool) -> list[Written]:
        """Texts as if they ended here; the longest are whole as they are."""
        total, length = (score, places.shape[1]) if whole else (score + end, places.shape[1] + 1)
        best = total.topk(min(self.settings.beams, len(total))).indices.tolist()
        return [Written(tuple(places[i].tolist()), -float(total[i]) / length) for i in best]
