"""FILM's second stage: diverse beam search with the victim's own language model over a batch's tokens."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch

from .language import BagModel, Written, begin_token

if TYPE_CHECKING:
    from torch import Tensor

_ENDS = ".?!"
"""Marks that end a sentence, as the official code cuts texts."""


@dataclass(frozen=True, slots=True)
class _Grown:
    """Texts under way, all of one length."""

    places: "Tensor"
    """Of their tokens in the bag [texts, tokens]."""
    group: "Tensor"
    """Of each text [texts]."""
    totals: "Tensor"
    """Summed log probability up to each token; the first has none of its own [texts, tokens]."""


@dataclass(slots=True)
class DiverseWriter:
    """Writes the likeliest texts of a fixed length, group by group, and cuts them behind their first sentence.

    Each group keeps beams of its own and pays for every token that stands in the texts of the groups before it. No
    pair of neighbours stands twice in a text, nor in two texts of different searches.

    Args:
        model: of the batch's tokens.
        beams: of each group.
        groups: of beams.
        diversity: penalty for a token, in nats per time that it stands in a text of an earlier group.
        longest: tokens of a text before it is cut.

    Source: Gupta et al., NeurIPS 2022, section 4.2, and its official code; Vijayakumar et al., AAAI 2018, algorithm 1.
    Deviations: a search ends early where every continuation would repeat a pair; a tokenizer's beginning token stands
    before a text, as the model learnt it.
    """

    model: BagModel
    beams: int
    groups: int
    diversity: float
    longest: int
    _found: set[tuple[int, int]] = field(default_factory=set)

    @torch.no_grad()
    def write(self) -> list[Written]:
        """The best text of each group, the likeliest first; their pairs are barred from the next search."""
        grown = self._search()
        totals = grown.totals[:, -1]
        best = [int(own[totals[own].argmax()]) for own in _by_group(grown.group, self.groups) if len(own)]
        best.sort(key=lambda text: -float(totals[text]))
        for text in best:
            self._found |= set(pairwise(grown.places[text].tolist()))
        return [self._cut(grown.places[text].tolist(), grown.totals[text].tolist()) for text in best]

    def _search(self) -> _Grown:
        starts = self.model.starts()
        places = starts.repeat(self.groups)[:, None]  # [groups * starts, 1]
        group = torch.arange(self.groups).repeat_interleave(len(starts))
        grown, past = _Grown(places, group, torch.zeros(places.shape)), self._begun(len(group))
        banned = torch.zeros(len(self.model.bag), len(self.model.bag), dtype=torch.bool)
        for one, other in self._found:
            banned[one, other] = True
        while grown.places.shape[1] < self.longest and self.model.seconds_left() > 0.0:
            past, log_p = self.model.step(self.model.bag[grown.places[:, -1]], past)
            barred = banned[grown.places[:, -1]] | self.model.repeated(grown.places)
            total = grown.totals[:, -1:] + log_p[:, :-1].masked_fill(barred, -torch.inf)  # [texts, bag]
            parents, tokens = self._chosen(grown, total)
            if not len(parents):
                break
            grown = _Grown(
                torch.cat([grown.places[parents], tokens[:, None]], dim=1),
                grown.group[parents],
                torch.cat([grown.totals[parents], total[parents, tokens][:, None]], dim=1),
            )
            past.batch_select_indices(parents)
        return grown

    def _begun(self, texts: int) -> Any:
        """The cache after the beginning token, if the tokenizer has one."""
        begin = begin_token(self.model.tokenizer)
        if begin is None:
            return None
        past, _ = self.model.step(torch.tensor([begin]), None)
        past.batch_repeat_interleave(texts)
        return past

    def _chosen(self, grown: _Grown, total: "Tensor") -> tuple["Tensor", "Tensor"]:
        """Which texts go on, and with which tokens [beams of all groups], by scores [texts, bag]."""
        words = total.shape[1]
        used = torch.zeros(words)
        parents, tokens = [], []
        for own in _by_group(grown.group, self.groups):
            offered = (total[own] - self.diversity * used).flatten()
            values, picks = offered.topk(min(self.beams, len(offered)))
            picks = picks[torch.isfinite(values)]
            parents.append(own[picks // words])
            tokens.append(picks % words)
            used += torch.bincount(grown.places[parents[-1]].flatten(), minlength=words)
            used += torch.bincount(tokens[-1], minlength=words)
        return torch.cat(parents), torch.cat(tokens)

    def _cut(self, places: list[int], totals: list[float]) -> Written:
        """The text, or its first sentence where that is likelier by its mean."""
        words = [str(self.model.tokenizer.decode([token])) for token in self.model.bag[places].tolist()]
        ends = [count for count, word in enumerate(words, 1) if any(mark in word for mark in _ENDS)]
        lengths = {len(places), *(end for end in ends[:1] if end > 1)}
        doubt, length = min((-totals[count - 1] / max(1, count - 1), count) for count in lengths)
        return Written(tuple(places[:length]), doubt)


def _by_group(group: "Tensor", groups: int) -> list["Tensor"]:
    """The texts of each group [groups][texts]."""
    return [(group == one).nonzero()[:, 0] for one in range(groups)]
