"""LAMP: gradient matching over embeddings, alternated with moves of tokens that a language model judges too."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from fedsec.api import Knowledge, Reconstruction, RoundView

from .claims import Reading, solved
from .descent import Descent, Schedule, best_start
from .objective import Objective, Problem
from .order import reorder
from .polish import Judge, polish
from .prior import Prior
from .seats import seated

if TYPE_CHECKING:
    from torch import Tensor

_WEIGHTS = {"cosine": (0.2, 1.0), "l1+l2": (60.0, 25.0)}
"""c_lm and c_reg of each loss, as in the paper."""

_TAG_FACTOR = 0.01
_BURN_IN = 0.1
"""Share of the steps before the first discrete one."""

_EVERY = 75
"""Steps between discrete ones."""

_STALLED = 0.9
"""A descent that a whole pause betters by less than this factor is started again."""

_HOPELESS = 0.3
"""Cosine distance of a reading above which no search among tokens is worth its time."""

_CHOICES = 8
"""Words near the embeddings that the search among tokens tries at each place; with a prior, as many that read well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lamp:
    """Descends on embeddings towards the observed gradient, alternated with discrete changes that a prior judges too.

    Free embeddings make up for wrong positions, so that gradients match in any order and the nearest words are wrong
    ones. Words are therefore read by what enters the first layer, slots assigned to positions (`matching_seats`), and
    the reading is bettered among tokens themselves (`matching_polish`), where only the truth matches to the last
    digits. The descent goes on from there if that is not reached.

    Args:
        steps: of the descent at most, each a double backward.
        loss: `cosine` or `l1+l2`.
        optimizer: `lbfgs` or `adam`.
        rate: Adam's learning rate.
        decay: factor on it every 50 steps.
        starts: gaussian candidates of which the best is taken.
        candidates: orders per text in a discrete step without a search.
        search: candidates per text that each search among tokens scores; 0 does as the paper does: reads the nearest
            words, and tries orders of the embeddings instead.
        pause: steps between searches.

    Source: Balunovic et al., "LAMP: Extracting Text from Gradients with Language Model Priors", NeurIPS 2022,
        algorithms 1 and 2; L-BFGS: Liu and Nocedal, Mathematical Programming 1989.
    Deviations: L-BFGS, reading by assignment and the search among tokens are this project's (`optimizer` and `search`
        turn them off); Adam's moments move with the embeddings; parameters whose gradient is rounding (key biases) are
        not matched; padding is masked; starts are not permuted; the embeddings' mean norm is the vocabulary's, which is
        the paper's 1.4 in BERT; labels that are not granted are read off the head's bias.
    """

    steps: int = 500
    loss: str = "cosine"
    optimizer: str = "lbfgs"
    rate: float = 0.01
    decay: float = 0.89
    starts: int = 32
    candidates: int = 200
    search: int = 300
    pause: int = 120

    def reconstruct(self, view: RoundView) -> list[Reconstruction]:
        """Claims for every client, or for the sum; ValueError if the view shows no update."""
        prior = None
        if Knowledge.AUXILIARY_TEXT in view.granted:
            prior = Prior(view.granted[Knowledge.AUXILIARY_TEXT].language_model())
        return solved(view, lambda problem: self._solve(problem, prior))

    def _solve(self, problem: Problem, prior: Prior | None) -> Reading:
        objective = Objective(self.loss, _TAG_FACTOR)
        norm = problem.vocabulary.mean_norm
        schedule = Schedule(self.optimizer, self.rate, self.decay, 50, _WEIGHTS[self.loss][1], norm)
        descent = Descent(problem, objective, schedule, best_start(problem, objective, self.starts, norm))
        if self.search:
            return self._with_search(problem, descent, prior)
        while descent.taken < self.steps and problem.seconds_left() > 0.0:
            descent.run(min(_EVERY, self.steps - descent.taken))
            if _BURN_IN * self.steps < descent.taken < self.steps:
                reorder(problem, objective, descent, prior, _WEIGHTS[self.loss][0], self.candidates)
        return Reading.of(problem, problem.read(descent.best))

    def _with_search(self, problem: Problem, descent: Descent, prior: Prior | None) -> Reading:
        best: Reading | None = None
        while descent.taken < self.steps:
            before, left = descent.best_value, self.steps - descent.taken
            descent.run(self.pause if left > 1.5 * self.pause else left)
            reading = self._searched(problem, descent.best, prior)
            best = reading if best is None or reading.value < best.value else best
            if best.exact or problem.seconds_left() <= 0.0:
                break
            if descent.best_value > _STALLED * before:
                descent.restart(_shaken(problem, best.ids))
        assert best is not None  # noqa: S101  # steps is at least 1
        return best

    def _searched(self, problem: Problem, embeddings: "Tensor", prior: Prior | None) -> Reading:
        """The reading of an iterate, bettered among tokens."""
        seats = seated(problem, embeddings, _CHOICES)
        found = Reading.of(problem, seats.ids)
        if found.value > _HOPELESS:
            return found
        choices = seats.choices
        if prior is not None:
            likely = prior.likely(seats.ids, problem.mask, _CHOICES, problem.vocabulary.allowed)
            choices = torch.cat([choices, likely], dim=-1)
        judge = Judge(problem, prior, _WEIGHTS["cosine"][0])
        return Reading.of(problem, polish(judge, seats.ids, choices, self.search * len(problem.mask)))


def _shaken(problem: Problem, ids: "Tensor") -> "Tensor":
    """Embeddings of tokens with half of the places drawn anew [texts, tokens, width]."""
    known = problem.embed(ids)
    drawn = torch.randn(known.shape, generator=problem.generator)
    drawn = drawn * (problem.vocabulary.mean_norm / drawn.norm(dim=-1, keepdim=True))
    kept = torch.rand(ids.shape, generator=problem.generator) < 0.5
    return torch.where(kept[..., None], known, drawn)
