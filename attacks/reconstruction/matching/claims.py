"""From tokens to claims, and when they count as verified."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedsec.api import Reconstruction, RoundView

from ..shared.texts import content
from .known import Matching, problem_of
from .objective import Objective, Problem

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Reading:
    """Tokens of a batch and how well they explain the update.

    Args:
        ids: [texts, tokens].
        value: cosine distance of their gradient.
        residual: |g - G| / |G| of it.
        exact: whether nothing but rounding is left between their gradient and the observed one.
    """

    ids: "Tensor"
    value: float
    residual: float
    exact: bool

    @classmethod
    def of(cls, problem: Problem, ids: "Tensor") -> "Reading":
        """Judge tokens [texts, tokens]."""
        value = float(problem.scores(Objective("cosine"), problem.embed(ids)[None])[0])
        residual = problem.residual(ids)
        return cls(ids, value, residual, residual < problem.exact)


def solved(
    view: RoundView, settings: Matching, solve: Callable[[Problem], Reading], *, tables: bool = True
) -> list[Reconstruction]:
    """Claims for every client, or for the sum where single updates stay hidden.

    Args:
        view: what the attacker sees.
        settings: the attack's.
        solve: finds the tokens of a batch.
        tables: whether the gradients of embeddings that are added to the words' are matched, where they are trained.

    Raises:
        ValueError: the view shows no update, or no linear layer is trained.
    """

    def one(own: RoundView, place: int | None) -> list[Reconstruction]:
        problem = problem_of(own, place, settings, tables=tables)
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
