"""Adaptive: the step from the honest mean that does most harm under the server's own filters and rule."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch

from fedsec.api import ColluderView, Update

from .alie import unsuspicious
from .known_rows import collude
from .stage import Stage

REACH = 100.0
"""Length of the longest vector tried, in median norms of the known rows; distance rules scale longer ones down."""
MOST = 1e6
"""Largest factor tried."""
DECADES = 4.0
"""The grid of factors starts at this fraction of the largest."""
PLAIN_EPSILON = 0.1
"""The default of `ipm`, which is tried as well, as is the z of `alie`."""

Factors = tuple[float, float, float]
"""Factors of mu, sigma and sign(mu) sigma in the crafted vector."""
Direction = Callable[[float], Factors]
"""Maps the attack's own factor to these factors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptive:
    """All colluders send mu - g mu (IPM), mu - z sigma (ALIE) or mu - z sign(mu) sigma with the worst factor.

    IPM's -epsilon mu is g = 1 + epsilon; a g below 1 leaves a part of mu, which rules that look for neighbours take for
    an honest row. Every factor is tried on the server's filters and rule as they are in this round, and the one with
    the largest objective is sent. A skipped round counts as F = 0. Ties go to IPM, then to the smaller factor. mu and
    sigma are mean and standard deviation of what honest clients send if `benign-updates` is granted; else of the
    colluders' own honest updates, which then stand for the honest ones in the trials as well.

    Args:
        evaluations: trials per direction, at least 4: half on a grid of four decades, and the others halve the gaps
            around the best.
        objective: `against` is <mu - F, mu> / |mu|, how far F moved back; `distance` is |F - mu|, whichever way it
            moved, as ByzFL has it.

    Raises:
        ValueError: the scenario does not grant the defense's settings.

    Source: ByzFL's Optimal_InnerProductManipulation and Optimal_ALittleIsEnough (Allouah et al., "Fixing by Mixing",
        AISTATS 2023, experiments); the attacks are Xie et al., UAI 2019, and Baruch et al., NeurIPS 2019.
    Deviations: the worst of three directions, the third being ours; g below 1; the objective `against`; a grid and
        halved gaps, where ByzFL doubles and halves one step; factors end where the vector is 100 times as long as the
        median row; rules that return weights are evaluated from inner products alone.
    """

    evaluations: int = 24
    objective: str = "against"

    def on_update(self, update: Update, view: ColluderView) -> Update:
        """Return the crafted update; the claimed number of examples stays honest."""
        rehearse = view.rehearse
        if rehearse is None:
            raise ValueError(
                "adaptive tries vectors on the defense: grant it with threat.knowledge: [defense-settings]"
            )

        def craft(rows: torch.Tensor) -> torch.Tensor:
            stage = Stage(rows, view, rehearse)
            return stage.crafted(*_worst(stage, self.evaluations, self.objective))

        return collude(update, view, "adaptive", craft)


def _worst(stage: Stage, evaluations: int, objective: str) -> Factors:
    """Return the factors of the most harmful vector; all 0 if no honest update is known."""
    best, found = -math.inf, (0.0, 0.0, 0.0)
    for direction, plain, most in _directions(stage):
        for factor, harm in search(partial(_harm, stage, objective, direction), plain, most, evaluations).items():
            if harm > best:
                best, found = harm, direction(factor)
    return found


def _harm(stage: Stage, objective: str, direction: Direction, factor: float) -> float:
    harm = stage.harm(*direction(factor))
    return harm.distance if objective == "distance" else harm.against


def _directions(stage: Stage) -> Iterator[tuple[Direction, float, float]]:
    """Yield each direction with its plain attack's factor and the largest to try; one without effect is left out."""
    reach, mean, deviation = REACH * stage.typical, float(stage.mean.norm()), float(stage.deviation.norm())
    if mean > 0:
        yield _ipm, 1.0 + PLAIN_EPSILON, min(1.0 + reach / mean, MOST)
    if deviation > 0 and reach > mean:
        most = min((reach - mean) / deviation, MOST)
        yield _alie, unsuspicious(stage.clients, stage.colluders), most
        yield _opposed, unsuspicious(stage.clients, stage.colluders), most


def _ipm(g: float) -> Factors:
    return 1.0 - g, 0.0, 0.0


def _alie(z: float) -> Factors:
    return 1.0, -z, 0.0


def _opposed(z: float) -> Factors:
    return 1.0, 0.0, -z


def search(harm: Callable[[float], float], plain: float, most: float, evaluations: int) -> dict[float, float]:
    """Return the factors tried and their harm, by ascending factor: a grid, then halved gaps around the best.

    Args:
        harm: of a factor.
        plain: tried first if it is above 0 and below `most`.
        most: the largest factor, tried as well.
        evaluations: factors to try.
    """
    steps = max(evaluations // 2 - 1, 1)
    grid = {most * 10 ** (-DECADES * (1 - step / steps)) for step in range(steps)} | {most}
    tried = {factor: harm(factor) for factor in sorted(grid | ({plain} if 0 < plain < most else set()))}
    while len(tried) < evaluations:
        factors = sorted(tried)
        place = max(range(len(factors)), key=lambda one: tried[factors[one]])
        around = [pair for pair in pairwise(factors) if factors[place] in pair]
        low, high = max(around, key=lambda pair: pair[1] / pair[0])
        middle = math.sqrt(low * high)
        if middle in tried:
            break
        tried[middle] = harm(middle)
    return dict(sorted(tried.items()))
