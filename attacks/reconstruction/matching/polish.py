"""Search among tokens themselves: at the batch's own the distance is nothing but rounding."""

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import torch

from .moves import sampled_orders
from .objective import Objective, Problem
from .prior import Prior

if TYPE_CHECKING:
    from torch import Tensor

_COSINE = Objective("cosine")
_FLOOR = 16 * torch.finfo(torch.float32).eps
"""Cosine distance, 1 less a number near 1, that rounding alone explains: of three long products and of the model."""


@dataclass(frozen=True, slots=True)
class Judge:
    """Scores batches of tokens: by matching, and by a prior in proportion to what matching leaves open.

    Args:
        problem: what is matched, by cosine.
        prior: the language model, if there is one.
        weight: what a nat per token counts for, as a share of the distance. At the truth, where the distance is
            nothing but rounding, the prior is silent.
    """

    problem: Problem
    prior: Prior | None
    weight: float

    def scores(self, ids: "Tensor") -> "Tensor":
        """Of each candidate [candidates], for ids [candidates, texts, tokens]."""
        problem = self.problem
        distances = problem.scores(_COSINE, problem.embed(ids))
        if self.prior is None:
            return distances
        mask = problem.mask.expand(len(ids), -1, -1).flatten(0, 1)
        surprise = self.prior.surprise(ids.flatten(0, 1), mask).view(len(ids), -1).mean(dim=1)
        return distances * (1 + self.weight * surprise)


def polish(judge: Judge, start: "Tensor", choices: "Tensor", budget: int) -> "Tensor":
    """Better the reading wave by wave, until nothing helps, or budget or time is spent; ids [texts, tokens].

    A wave scores changes of one word and moves; of those that help, the best is taken, or as many as help together.

    Args:
        judge: scores candidates.
        start: ids [texts, tokens].
        choices: words to try at each place [texts, tokens, choices].
        budget: candidates in all; a wave takes at most half.

    Source: this project; the moves are LAMP's. Deviations: none.
    """
    ids, value = start, float(judge.scores(start[None])[0])
    spent = 1
    while spent < budget and value > _FLOOR and judge.problem.seconds_left() > 0.0:
        changed = _neighbours(judge.problem, ids, choices, min(budget // 2 + 1, budget - spent))
        if len(changed) == 0:
            break
        found = judge.scores(changed)
        order = found.argsort()
        better = changed[order[found[order] < value]]
        if len(better) == 0:
            break
        joint = _together(ids, better)  # the first is the best change alone
        values = judge.scores(joint)
        spent += len(changed) + len(joint)
        ids, value = joint[int(values.argmin())], float(values.min())
    return ids


def _neighbours(problem: Problem, ids: "Tensor", choices: "Tensor", count: int) -> "Tensor":
    """At most `count` batches that differ in one word or one move [candidates, texts, tokens], drawn of more."""
    found = []
    for text, free in enumerate(problem.free):
        places = free.nonzero()[:, 0]
        for place in places.tolist():
            for word in choices[text, place].unique().tolist():
                if word != int(ids[text, place]):
                    changed = ids.clone()
                    changed[text, place] = word
                    found.append(changed)
        for order in _orders(problem, places, ids.shape[1]):
            if not torch.equal(ids[text, order], ids[text]):
                changed = ids.clone()
                changed[text] = ids[text, order]
                found.append(changed)
    if not found:
        return ids.new_empty(0, *ids.shape)
    stacked = torch.stack(found)
    return stacked[torch.randperm(len(stacked), generator=problem.generator)[:count]]


def _orders(problem: Problem, places: "Tensor", length: int) -> "Tensor":
    """Every swap of two, every token moved elsewhere, and some moves of spans [orders, length]."""
    orders = [torch.arange(length)[None]]
    for one, other in combinations(places.tolist(), 2):
        swapped, ahead, behind = (torch.arange(length) for _ in range(3))
        swapped[[one, other]] = swapped[[other, one]]
        ahead[one : other + 1] = ahead[one : other + 1].roll(1)
        behind[one : other + 1] = behind[one : other + 1].roll(-1)
        orders.append(torch.stack([swapped, ahead, behind]))
    return torch.cat([*orders, sampled_orders(places, length, 4 * len(places), problem.generator)])


def _together(ids: "Tensor", better: "Tensor") -> "Tensor":
    """The changes that help, the best first, each added to those before where their places are free [joint, ..]."""
    joint, touched = ids.clone(), torch.zeros_like(ids, dtype=torch.bool)
    found = []
    for changed in better:
        places = changed != ids
        if not bool((places & touched).any()):
            joint = torch.where(places, changed, joint)
            touched |= places
            found.append(joint)
    return torch.stack(found)
