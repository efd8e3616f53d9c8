"""Which token stands where, judged by what enters the first layer instead of by the bare word embedding.

An encoder knows the order of its tokens only through position vectors that are added to word embeddings. Embeddings
that are free can make up for a wrong position: at position i, x + p_j - p_i is the word x at position j to everything
behind it. Gradients match perfectly in any order, and reading each slot by its nearest word embedding gets order and
words wrong. So every slot is compared with every word at every position, and slots are assigned to positions together.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from scipy.optimize import linear_sum_assignment

from fedsec.maths.activations import layer_input
from fedsec.maths.factored_gradients import first_linear

from .objective import Problem

if TYPE_CHECKING:
    from torch import Tensor

_WORDS = 1024
"""Words per pass through the embedding block."""

_NEAR = 3
"""Words that are remembered for each slot at each position; where an iterate is any good, the first is the one."""


@dataclass(frozen=True, slots=True)
class Seats:
    """What the slots of a batch could be.

    Args:
        ids: the reading [texts, tokens].
        choices: for each position the words that any slot comes nearest to there, nearest first
            [texts, tokens, choices].
    """

    ids: "Tensor"
    choices: "Tensor"


def seated(problem: Problem, embeddings: "Tensor", choices: int) -> Seats:
    """Read a batch from its embeddings [texts, tokens, width], each text's slots assigned to its positions.

    Args:
        problem: what is matched.
        embeddings: of an iterate.
        choices: alternatives per position.

    Source: this project. The assignment: Kuhn, Naval Research Logistics 1955. Deviations: none.
    """
    texts, length = problem.mask.shape
    target = first_linear(problem.module)
    slots = layer_input(problem.module, target, inputs_embeds=embeddings, attention_mask=problem.mask)
    slots = slots.reshape(texts * length, -1)  # [slots, width]
    distance, nearest = _nearest(problem, target, slots, length)  # [length, slots, near] both
    ids, options = problem.frame.clone(), problem.frame.clamp_min(0)[..., None].repeat(1, 1, choices)
    for text, free in enumerate(problem.free):
        places = free.nonzero()[:, 0]
        own = places + text * length
        costs, words = distance[places][:, own], nearest[places][:, own]  # [places, slots of this text, near]
        taken, chosen = linear_sum_assignment(costs[..., 0].numpy())
        ids[text, places[taken]] = words[taken, chosen, 0]
        # Behind what came nearest of all: first by how near, whichever slot it came from.
        costs[taken, chosen, 0] = -1.0
        ranked = words.flatten(1).gather(1, costs.flatten(1).argsort(dim=1))  # [places, slots * near]
        for place, row in zip(places.tolist(), ranked.tolist(), strict=True):
            distinct = list(dict.fromkeys(row))[:choices]
            options[text, place] = torch.tensor(distinct + distinct[:1] * (choices - len(distinct)))
    return Seats(ids, options)


def _nearest(problem: Problem, target: str, slots: "Tensor", length: int) -> tuple["Tensor", "Tensor"]:
    """For each position and slot the squared distances of the nearest words there, and the words [.., near]."""
    allowed = problem.vocabulary.allowed.nonzero()[:, 0]
    best = torch.full((length, len(slots), _NEAR), torch.inf)
    words = torch.zeros(best.shape, dtype=torch.long)
    for part in allowed.split(_WORDS):
        entered = layer_input(problem.module, target, input_ids=part[:, None].expand(-1, length))
        entered = entered.transpose(0, 1)  # [length, words, width]
        products = slots @ entered.transpose(1, 2)  # [length, slots, words]
        far = entered.square().sum(dim=-1)[:, None] - 2 * products + slots.square().sum(dim=-1)[:, None]
        least, place = far.topk(min(_NEAR, len(part)), dim=-1, largest=False)
        both = torch.cat([best, least], dim=-1)
        best, order = both.topk(_NEAR, dim=-1, largest=False)
        words = torch.cat([words, part[place]], dim=-1).gather(-1, order)
    return best, words
