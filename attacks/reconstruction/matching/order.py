"""LAMP's discrete step: the order of a text's tokens that matches and reads best."""

from typing import TYPE_CHECKING

from .descent import Descent
from .moves import sampled_orders
from .objective import Objective, Problem
from .prior import Prior

if TYPE_CHECKING:
    from torch import Tensor


def reorder(
    problem: Problem, objective: Objective, descent: Descent, prior: Prior | None, weight: float, candidates: int
) -> None:
    """Put every text's embeddings into the best of `candidates` orders, the present one among them.

    Args:
        problem: what is matched.
        objective: its distance.
        descent: the optimisation; its memory moves with the embeddings.
        prior: the language model; orders are scored by matching alone without one.
        weight: c_lm, of the model's mean negative log-likelihood.
        candidates: orders per text.

    Source: Balunovic et al., LAMP, NeurIPS 2022, algorithm 2. Deviations: Adam's moments move along, which the
        official code leaves in place; padding is no part of the likelihood.
    """
    ids = problem.read(descent.current)  # [texts, tokens]
    for text, free in enumerate(problem.free):
        orders = sampled_orders(free.nonzero()[:, 0], ids.shape[1], candidates, problem.generator)
        tried: Tensor = descent.current.repeat(len(orders), 1, 1, 1)  # [orders, texts, tokens, width]
        tried[:, text] = descent.current[text][orders]
        scores = problem.scores(objective, tried)
        if prior is not None:
            mask = problem.mask[text].expand(len(orders), -1)
            scores = scores + weight * prior.surprise(ids[text][orders], mask)
        best = int(scores.argmin())
        if best:
            descent.permute(text, orders[best])
            ids[text] = ids[text, orders[best]]
