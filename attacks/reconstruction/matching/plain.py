"""Gradient matching without discrete steps, as the baselines do it."""

from fedsec.api import Reconstruction, RoundView

from .claims import Reading, solved
from .descent import Descent, Schedule, best_start
from .known import Matching
from .objective import Objective, Problem


def matched(
    view: RoundView, settings: Matching, objective: Objective, schedule: Schedule, steps: int
) -> list[Reconstruction]:
    """Descend from one gaussian start, and read the best iterate by the nearest words.

    Args:
        view: what the attacker sees.
        settings: the attack's.
        objective: the distance.
        schedule: Adam's.
        steps: of Adam.
    """

    def solve(problem: Problem) -> Reading:
        descent = Descent(problem, objective, schedule, best_start(problem, objective, 1, 0.0))
        descent.run(steps)
        return Reading.of(problem, problem.read(descent.best))

    return solved(view, settings, solve)
