"""LAMP: gradient matching over embeddings, alternated with moves of tokens that a language model judges too."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from fedsec.api import Knowledge, Reconstruction, RoundView

from .claims import Reading, solved
from .descent import Descent, Schedule, best_start
from .known import Matching
from .objective import Objective, Problem
from .order import reorder
from .prior import Prior

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = {"cosine": (0.2, 1.0), "l1+l2": (60.0, 25.0)}
"""The paper's c_lm and c_reg of each loss."""

_TAG_FACTOR = 0.01
"""The official code's, of the loss l1+l2."""

_BURN_IN = 0.1
"""Share of the steps before the first discrete one, in the official code."""

_EVERY = 75
"""Steps between discrete ones, in the official code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lamp(Matching):
    """Descends on embeddings towards the observed gradient, alternated with moves of tokens that a prior judges too.

    Args:
        steps: of the descent, each a double backward.
        loss: `cosine` or `l1+l2`.
        optimizer: `adam` or `lbfgs`.
        rate: Adam's learning rate.
        decay: factor on it every 50 steps.
        starts: gaussian candidates of which the best is taken, and then orders of it of which the best is.
        candidates: orders per text in a discrete step.

    Source: Balunovic et al., "LAMP: Extracting Text from Gradients with Language Model Priors", NeurIPS 2022,
        algorithms 1 and 2; settings of the official code.
    Deviations: Adam's moments move with the embeddings; gradients that are rounding (key biases) are not matched;
        padding is masked, in the model and in the likelihood; the embeddings' mean norm is the vocabulary's, which is
        the paper's 1.4 in BERT; labels that are not granted are read off the head's bias.
    """

    steps: int = 2000
    loss: str = "cosine"
    optimizer: str = "adam"
    rate: float = 0.01
    decay: float = 0.89
    starts: int = 500
    candidates: int = 200

    def reconstruct(self, view: RoundView) -> list[Reconstruction]:
        """Claims for every client, or for the sum; ValueError if the view shows no update."""
        prior = granted_prior(view)
        return solved(view, self, lambda problem: self._solve(problem, prior))

    def _solve(self, problem: Problem, prior: Prior | None) -> Reading:
        objective = Objective(self.loss, _TAG_FACTOR)
        norm = problem.vocabulary.mean_norm
        schedule = Schedule(self.optimizer, self.rate, self.decay, 50, WEIGHTS[self.loss][1], norm)
        descent = Descent(problem, objective, schedule, self._start(problem, objective, norm))
        while descent.taken < self.steps and problem.seconds_left() > 0.0:
            descent.run(min(_EVERY, self.steps - descent.taken))
            if _BURN_IN * self.steps < descent.taken < self.steps:
                reorder(problem, objective, descent, prior, WEIGHTS[self.loss][0], self.candidates)
        return Reading.of(problem, problem.read(descent.best))

    def _start(self, problem: Problem, objective: Objective, norm: float) -> "Tensor":
        """The best of gaussian candidates, in the best of random orders, scaled only then [texts, tokens, width]."""
        drawn = best_start(problem, objective, self.starts, 0.0)
        tried = drawn.repeat(self.starts, 1, 1, 1)  # [starts, texts, tokens, width]
        for text, free in enumerate(problem.free):
            places = free.nonzero()[:, 0]
            for row in range(1, self.starts):
                tried[row, text, places] = drawn[text, places[torch.randperm(len(places), generator=problem.generator)]]
        best = tried[int(problem.scores(objective, tried).argmin())]
        scaled: Tensor = best * (norm / best.norm(dim=-1, keepdim=True).clamp_min(1e-12))
        return scaled


def granted_prior(view: RoundView) -> Prior | None:
    """The language model of granted auxiliary text, if there is any."""
    auxiliary = view.granted.get(Knowledge.AUXILIARY_TEXT)
    return None if auxiliary is None else Prior(auxiliary.language_model())
