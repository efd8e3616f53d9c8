"""The honest mean pushed along a fixed direction, as far as honest updates are from each other."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from .known_rows import mean_and_deviation, slices

DIRECTIONS = ("unit-vec", "std", "sign")
"""Minus the mean, minus the standard deviation, minus the sign of the mean; names of the official code."""

_SLACK = 1e-12
"""Tolerance of a bound for fp64 rounding in its two sides."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The known rows x_i around their mean mu, and the direction p to push along; fp64 throughout."""

    mean: torch.Tensor
    """[parameters]."""
    direction: torch.Tensor
    """p [parameters]."""
    between: torch.Tensor
    """|x_i - x_j|^2 [known, known]."""
    to_mean: torch.Tensor
    """|mu - x_i|^2 [known]."""
    along: torch.Tensor
    """<p, mu - x_i> [known]."""
    square: float
    """|p|^2."""


def spread(rows: torch.Tensor, direction: str) -> Spread:
    """Compute the spread in one pass over the columns for the mean, and one for the products.

    Args:
        rows: fp32 [known, parameters], at least one.
        direction: one of `DIRECTIONS`.
    """
    known = len(rows)
    mean, deviation = mean_and_deviation(rows)
    towards = {"unit-vec": mean, "std": deviation, "sign": mean.sign()}[direction]
    size = towards.norm()
    push = -towards / size if size > 0 else torch.zeros_like(towards)  # a longer p is met by a smaller factor
    centred, along = torch.zeros(known, known, dtype=torch.float64), torch.zeros(known, dtype=torch.float64)
    for columns in slices(rows):
        block = mean[columns] - rows[:, columns].double()  # [known, columns]
        centred.addmm_(block, block.T)
        along.addmv_(block, push[columns])
    squares = centred.diagonal()
    between = (squares[:, None] + squares[None, :] - centred - centred.T).clamp_min_(0.0).fill_diagonal_(0.0)
    return Spread(mean, push, between, squares.clone(), along, float(push @ push))


def pushed(
    rows: torch.Tensor,
    direction: str,
    measure: Callable[[torch.Tensor], torch.Tensor],
    farthest: Callable[[Spread, float], float],
) -> torch.Tensor:
    """Return the mean plus gamma p [parameters], fp32, with the largest gamma that honest distances allow.

    The bound holds for the rounded vector: gamma gives way where fp32 would break it.

    Args:
        rows: fp32 [known, parameters], at least one.
        direction: one of `DIRECTIONS`.
        measure: how far out a vector is, from its squared distances to the rows [..., known].
        farthest: gamma from the spread and the largest `measure` of an honest row.
    """
    found = spread(rows, direction)
    bound = float(measure(found.between).max()) * (1 - _SLACK)
    gamma = farthest(found, bound)
    for less in (0.0, *(2.0**-power for power in range(24, -1, -1))):
        crafted = (found.mean + gamma * (1 - less) * found.direction).float()
        if float(measure(_squared_distances(rows, crafted))) <= bound:
            return crafted
    return rows[0].clone()  # rows within a rounding of each other: one of them keeps the bound by itself


def _squared_distances(rows: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    """Return squared distances from the vector [parameters] to each row [known], fp64."""
    total = torch.zeros(len(rows), dtype=torch.float64)
    for columns in slices(rows):
        total += (rows[:, columns].double() - vector[columns].double()).square_().sum(dim=1)
    return total
