"""Gradient matching without discrete steps, as the baselines do it."""

from fedsec.api import Reconstruction, RoundView

from .claims import Reading, claims
from .descent import Descent, Schedule, best_start
from .known import problems
from .objective import Objective


def matched(view: RoundView, objective: Objective, schedule: Schedule, steps: int) -> list[Reconstruction]:
    """Descend from one gaussian start, and read the best iterate by the nearest words.

    Args:
        view: what the attacker sees.
        objective: the distance.
        schedule: Adam's.
        steps: of Adam.
    """
    found: list[Reconstruction] = []
    for problem in problems(view):
        descent = Descent(problem, objective, schedule, best_start(problem, objective, 1, 0.0))
        descent.run(steps)
        found += claims(problem, Reading.of(problem, problem.read(descent.best)), view.model.tokenizer)
    return found
