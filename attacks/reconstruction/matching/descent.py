"""Descent over word embeddings, towards those whose gradient is the observed one."""

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from .objective import Objective, Problem

if TYPE_CHECKING:
    from torch import Tensor

_BETAS, _EPSILON = (0.9, 0.999), 1e-8
"""Adam's, as Kingma and Ba, ICLR 2015, give them and the official code leaves them."""

_HISTORY = 30
"""Pairs of differences that L-BFGS keeps: above the usual 3 to 20, since each step's double backward costs far more."""


class _TimeIsOverError(Exception):
    """Ends a descent in the middle of a line search."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How a descent goes.

    Args:
        optimizer: `adam`, or `lbfgs` with a line search by the strong Wolfe conditions.
        rate: Adam's learning rate.
        decay: factor of the rate at every `every`-th step.
        every: steps.
        c_reg: weight of the squared difference of the mean embedding's norm from `norm`.
        norm: what that norm should be.
    """

    optimizer: str = "adam"
    rate: float = 0.1
    decay: float = 1.0
    every: int = 50
    c_reg: float = 0.0
    norm: float = 1.0


class Descent:
    """One optimisation of the embeddings of a batch; keeps the best iterate.

    Args:
        problem: what is matched.
        objective: its distance.
        schedule: the optimiser's.
        start: embeddings [texts, tokens, width].
    """

    def __init__(self, problem: Problem, objective: Objective, schedule: Schedule, start: "Tensor") -> None:
        self._problem, self._objective, self._schedule = problem, objective, schedule
        self.taken = 0
        """Steps so far, each one double backward."""
        self.restart(start)

    def restart(self, start: "Tensor") -> None:
        """Go on from other embeddings [texts, tokens, width], without memory and best iterate."""
        self.current = self._problem.framed(start)
        self.best, self.best_value = self.current, torch.inf
        self._mean, self._square, self._age = torch.zeros_like(start), torch.zeros_like(start), 0
        self._line: tuple[Tensor, Any] | None = None

    def run(self, steps: int) -> None:
        """Take so many steps; L-BFGS ends the line search that it is in, so that it may take some more.

        Fewer where the attack's time is over.
        """
        with suppress(_TimeIsOverError):
            if self._schedule.optimizer == "lbfgs":
                self._lbfgs(steps)
                return
            for _ in range(steps):
                self._adam()

    def permute(self, text: int, order: "Tensor") -> None:
        """Reorder the embeddings of one text by `order` [tokens], Adam's memory of them included."""
        for name in ("current", "_mean", "_square"):
            changed = getattr(self, name).clone()
            changed[text] = changed[text, order]
            setattr(self, name, changed)
        self._line = None

    def _adam(self) -> None:
        slope = self._slope(self.current)[1]
        self._age += 1
        first, second = _BETAS
        self._mean = first * self._mean + (1 - first) * slope
        self._square = second * self._square + (1 - second) * slope.square()
        size = self._schedule.rate * self._schedule.decay ** ((self.taken - 1) // self._schedule.every)
        mean, square = self._mean / (1 - first**self._age), self._square / (1 - second**self._age)
        self.current = self._problem.framed(self.current - size * mean / (square.sqrt() + _EPSILON))

    def _lbfgs(self, steps: int) -> None:
        free = self._problem.free
        if self._line is None:
            unknown = self.current[free].clone().requires_grad_()  # [free, width]
            self._line = (
                unknown,
                torch.optim.LBFGS(
                    [unknown],
                    history_size=_HISTORY,
                    line_search_fn="strong_wolfe",
                    tolerance_grad=0.0,
                    tolerance_change=0.0,
                ),
            )
        unknown, optimizer = self._line
        optimizer.param_groups[0].update(max_iter=steps, max_eval=steps)

        def closure() -> "Tensor":
            value, slope = self._slope(self._put(unknown.detach()))
            unknown.grad = slope[free]
            return value

        optimizer.step(closure)
        self.current = self._put(unknown.detach())

    def _put(self, unknown: "Tensor") -> "Tensor":
        return self.current.masked_scatter(self._problem.free[..., None], unknown)

    def _slope(self, embeddings: "Tensor") -> tuple["Tensor", "Tensor"]:
        """What is minimised, and its derivative; the best embeddings are kept."""
        if self._problem.seconds_left() <= 0.0:
            raise _TimeIsOverError
        at = embeddings.clone().requires_grad_()
        value = self._problem.distance(self._objective, at[None]).sum()
        value = value + self._schedule.c_reg * self._irregular(at)
        (slope,) = torch.autograd.grad(value, at)
        value = value.detach()
        if float(value) < self.best_value:
            self.best, self.best_value = embeddings, float(value)
        self.taken += 1
        return value, slope

    def _irregular(self, embeddings: "Tensor") -> "Tensor":
        norms = embeddings[self._problem.mask.bool()].norm(dim=-1)
        irregular: Tensor = (norms.mean() - self._schedule.norm).square()
        return irregular


def best_start(problem: Problem, objective: Objective, count: int, norm: float) -> "Tensor":
    """The best of `count` gaussian candidates, scaled to that norm unless it is 0 [texts, tokens, width]."""
    shape = (count, *problem.mask.shape, problem.vocabulary.table.shape[1])
    drawn = torch.randn(shape, generator=problem.generator)
    if norm:
        drawn = drawn * (norm / drawn.norm(dim=-1, keepdim=True))
    drawn = problem.framed(drawn)
    return drawn[int(problem.scores(objective, drawn).argmin())] if count > 1 else drawn[0]
