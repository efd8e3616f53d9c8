"""From tokens to claims, and when they count as verified."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedsec.api import Reconstruction, RoundView

from ..shared.texts import content
from .known import problem_of
from .objective import EXACT, Objective, Problem

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Reading:
    """Tokens of a batch and how well they explain the update.

    Args:
        ids: [texts, tokens].
        value: cosine distance of their gradient.
        residual: |g - G| / |G| of it.
    """

    ids: "Tensor"
    value: float
    residual: float

    @classmethod
    def of(cls, problem: Problem, ids: "Tensor") -> "Reading":
        """Judge tokens [texts, tokens]."""
        value = float(problem.scores(Objective("cosine"), problem.embed(ids)[None])[0])
        return cls(ids, value, problem.residual(ids))

    @property
    def exact(self) -> bool:
        """Whether nothing but rounding is left between their gradient and the observed one."""
        return self.residual < EXACT


def solved(view: RoundView, solve: Callable[[Problem], Reading]) -> list[Reconstruction]:
    """Claims for every client, or for the sum where single updates stay hidden.

    Args:
        view: what the attacker sees.
        solve: finds the tokens of a batch.

    Raises:
        ValueError: the view shows no update, or no linear layer is trained.
    """

    def one(own: RoundView, place: int | None) -> list[Reconstruction]:
        problem = problem_of(own, place)
        return [] if problem is None else claims(problem, solve(problem), own.model.tokenizer)

    return one(view, None) if view.rows is None else view.each_client(one)


def claims(problem: Problem, reading: Reading, tokenizer: Any) -> list[Reconstruction]:
    """One claim per text; verified if the batch as a whole is exact and the text is told apart from its neighbours."""
    notes = {"residual": reading.residual, "distance": reading.value}
    return [
        Reconstruction(
            client=problem.client,
            tokens=content(ids[mask.bool()].tolist(), tokenizer),
            score=reading.value,
            verified=reading.exact and problem.told_apart(reading.ids, text, reading.residual),
            notes=notes,
        )
        for text, (ids, mask) in enumerate(zip(reading.ids, problem.mask, strict=True))
    ]
