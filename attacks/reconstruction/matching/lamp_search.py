"""Gradient matching read by assignment and bettered by a search among tokens, from LAMP's objective and moves."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from fedsec.api import Reconstruction, RoundView

from .claims import Reading, solved
from .descent import Descent, Schedule, best_start
from .known import Matching
from .lamp import WEIGHTS, granted_prior
from .objective import Objective, Problem
from .polish import Judge, polish
from .prior import Prior
from .seats import seated

if TYPE_CHECKING:
    from torch import Tensor

_COSINE = Objective("cosine")


@dataclass(frozen=True, slots=True, kw_only=True)
class LampSearch(Matching):
    """Descends on embeddings towards the observed gradient, and ends the reading among tokens themselves.

    Free embeddings make up for wrong positions, so that gradients match in any order and the nearest words are wrong
    ones. Words are therefore read by what enters the first layer, slots assigned to positions (`seats`), and the
    reading is bettered among tokens themselves (`polish`), where only the truth matches to the last digits. The descent
    goes on from there if that is not reached.

    Args:
        steps: of the descent at most, each a double backward.
        starts: gaussian candidates of which the best is taken.
        pause: steps between searches.
        search: candidates per text that each search among tokens scores.
        choices: words near the embeddings that a search tries at each place; with a prior, as many that read well.
        hopeless: cosine distance of a reading above which no search among tokens is worth its time.
        stalled: a descent that a whole pause betters by less than this factor is started again.

    Source: this project; the objective and the moves: Balunovic et al., LAMP, NeurIPS 2022; L-BFGS: Liu and Nocedal,
        Mathematical Programming 1989.
    Deviations: from LAMP: L-BFGS, reading by assignment, and the search among tokens in place of moves of embeddings;
        the prior counts in proportion to the distance; the gradients of position and token type embeddings are not
        matched; else as `Lamp`.
    """

    steps: int = 500
    starts: int = 32
    pause: int = 120
    search: int = 300
    choices: int = 8
    hopeless: float = 0.3
    stalled: float = 0.9

    def reconstruct(self, view: RoundView) -> list[Reconstruction]:
        """Claims for every client, or for the sum; ValueError if the view shows no update."""
        prior = granted_prior(view)
        return solved(view, self, lambda problem: self._solve(problem, prior), tables=False)

    def _solve(self, problem: Problem, prior: Prior | None) -> Reading:
        norm = problem.vocabulary.mean_norm
        schedule = Schedule("lbfgs", c_reg=WEIGHTS["cosine"][1], norm=norm)
        descent = Descent(problem, _COSINE, schedule, best_start(problem, _COSINE, self.starts, norm))
        best: Reading | None = None
        while descent.taken < self.steps:
            before, left = descent.best_value, self.steps - descent.taken
            descent.run(self.pause if left > 1.5 * self.pause else left)
            reading = self._searched(problem, descent.best, prior)
            best = reading if best is None or reading.value < best.value else best
            if best.exact or problem.seconds_left() <= 0.0:
                break
            if descent.best_value > self.stalled * before:
                descent.restart(_shaken(problem, best.ids))
        assert best is not None  # noqa: S101  # steps is at least 1
        return best

    def _searched(self, problem: Problem, embeddings: "Tensor", prior: Prior | None) -> Reading:
        """The reading of an iterate, bettered among tokens."""
        seats = seated(problem, embeddings, self.choices)
        found = Reading.of(problem, seats.ids)
        if found.value > self.hopeless:
            return found
        choices = seats.choices
        if prior is not None:
            likely = prior.likely(seats.ids, problem.mask, self.choices, problem.vocabulary.allowed)
            choices = torch.cat([choices, likely], dim=-1)
        judge = Judge(problem, prior, WEIGHTS["cosine"][0])
        return Reading.of(problem, polish(judge, seats.ids, choices, self.search * len(problem.mask)))


def _shaken(problem: Problem, ids: "Tensor") -> "Tensor":
    """Embeddings of tokens with half of the places drawn anew [texts, tokens, width]."""
    known = problem.embed(ids)
    drawn = torch.randn(known.shape, generator=problem.generator)
    drawn = drawn * (problem.vocabulary.mean_norm / drawn.norm(dim=-1, keepdim=True))
    kept = torch.rand(ids.shape, generator=problem.generator) < 0.5
    return torch.where(kept[..., None], known, drawn)
