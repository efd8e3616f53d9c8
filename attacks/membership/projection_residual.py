"""Projection residual: what enters a layer lies in the row space of the gradient of that layer's weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from fedsec.api import Candidate, Evidence, Layout, ParameterInfo, Role, RoundView
from fedsec.maths.layers import hooked
from fedsec.maths.threads import one_thread

from .updates import MOST_ROWS, Updates, losses, over_rounds, per_client

LAYERS, FACTORS = ("last", "first"), ("A", "B")
_QUERIES = (Role.QUERY, Role.QUERY_KEY_VALUE)
_LEAST = 1e-12
"""Residuals below this are one: it is the rounding of fp64."""


@dataclass(frozen=True, slots=True)
class ProjectionResidual:
    """Scores a record by how near its hidden states lie to the row space of a client's query gradient.

    The gradient of a matrix is a sum of products with its inputs, so that its rows lie in the span of what entered it.
    States that pass into the loss through the matrix are projected on that space; what is left of them, relative to
    their norm, is about 1e-7 for a record of the batch and some hundredths for another one, as long as the batch does
    not fill the space. In the last layer of a classifier only the state that is classified counts, so that a batch has
    as many directions as records; in the first layer it has as many as tokens. Under LoRA the factor A has the same
    inputs and at most as many directions as its rank, none while B is still zero; the inputs of the factor B are what
    A made of them, of the rank's dimensions, which a batch as large as the rank fills.

    Args:
        layer: `last` or `first`.
        factor: of LoRA, `A` or `B`; the other one where it is not trained. Without LoRA it is the query matrix itself.
        cut: singular values below this share of the largest do not count.

    Source: Wang et al., "ProjRes", IEEE S&P 2026 (arXiv 2604.21197), residual of a record's hidden embedding after its
        projection on the row space of the observed gradient.
    Deviations: the space is that of queries alone; a numerical rank by `cut`; states of which the loss does not depend
        on the query are left out; the score is minus the logarithm of the smallest residual of all rounds, centred on
        the client's median and divided by its spread; where only the sum of updates is seen, it stands in their place.
    """

    layer: str = "last"
    factor: str = "A"
    cut: float = 1e-7

    def score(self, candidates: tuple[Candidate, ...], evidence: Evidence) -> torch.Tensor:
        """Return minus the logarithm of the residuals, normalised per client [candidates, clients], fp64.

        Raises:
            ValueError: the update holds no query matrix and no LoRA factor on one.
        """

        def read(view: RoundView, seen: Updates) -> torch.Tensor:
            return -residuals(view, seen, candidates, self.layer, self.factor, self.cut).clamp_min(_LEAST).log10()

        return per_client(over_rounds(evidence, read, "max", len(candidates)))


def residuals(
    view: RoundView, seen: Updates, candidates: Sequence[Candidate], layer: str, factor: str, cut: float
) -> torch.Tensor:
    """Relative residual of each candidate's states for each update of a round, fp64 [candidates, updates], in 0..1.

    It is 1 where a space says nothing: where it has no direction, or all of them.

    Args:
        view: the round.
        seen: its updates.
        candidates: at least one.
        layer: `last` or `first`.
        factor: of LoRA, `A` or `B`.
        cut: share of the largest singular value below which one does not count.
    """
    info = matrix_of(view.model.layout, layer, factor)
    spaces = [row_basis(_queries(info, view.model.layout.tensor(row, info.name)), cut) for row in seen.rows]
    found = torch.ones(len(candidates), len(spaces), dtype=torch.float64)
    order = sorted(range(len(candidates)), key=lambda place: len(candidates[place].tokens))
    for start in range(0, len(order), MOST_ROWS):
        places = order[start : start + MOST_ROWS]
        states = _states(view, info, [candidates[place] for place in places])
        for column, space in enumerate(spaces):
            if 0 < space.shape[1] < space.shape[0]:
                found[places, column] = torch.stack([_residual(own, space) for own in states])
    return found


def matrix_of(layout: Layout, layer: str, factor: str) -> ParameterInfo:
    """The trained query matrix of a layer, or the LoRA factor on it; ValueError if there is neither.

    Args:
        layout: of the update.
        layer: `last` or `first`.
        factor: `A` or `B`; the other one where that is not trained.
    """
    whole = [p for p in layout.parameters if p.role in _QUERIES and len(p.shape) == 2]
    adapted = [p for p in layout.parameters if p.adapts in _QUERIES]
    chosen = [p for p in adapted if p.factor == factor] or adapted or whole
    layers = sorted({p.layer for p in chosen if p.layer is not None})
    if not layers:
        raise ValueError("the update holds no query matrix and no LoRA factor on one; tune with full or lora")
    wanted = layers[-1] if layer == "last" else layers[0]
    return next(p for p in chosen if p.layer == wanted)


def row_basis(matrix: torch.Tensor, cut: float) -> torch.Tensor:
    """Orthonormal columns [width, rank] that span a matrix's rows [rows, width], fp64; rank 0 for a zero matrix.

    Args:
        matrix: any.
        cut: singular values below this share of the largest do not count.
    """
    with one_thread():
        _, singular, right = torch.linalg.svd(matrix.double(), full_matrices=False)
    basis: torch.Tensor = right[(singular > cut * singular[0]) & (singular > 0)].T
    return basis


def _queries(info: ParameterInfo, matrix: torch.Tensor) -> torch.Tensor:
    """The part of a matrix that queries are made by, [outputs, inputs]."""
    matrix = matrix.T if info.inputs_first else matrix
    return matrix[: len(matrix) // 3] if info.role == Role.QUERY_KEY_VALUE else matrix


def _states(view: RoundView, info: ParameterInfo, candidates: Sequence[Candidate]) -> list[torch.Tensor]:
    """What of each candidate enters a matrix and passes through it into the loss, fp64 [states, width] each."""
    module, kept = view.model.module, list[Any]()
    part = module.get_submodule(info.name.removesuffix(".weight"))

    def note(_: Any, given: tuple[torch.Tensor, ...], left: torch.Tensor) -> None:
        kept[:] = [given[0].detach(), left]

    with torch.enable_grad(), hooked([(part, note)]):
        total = losses(view, candidates).sum()
        inputs, outputs = kept
        (slopes,) = torch.autograd.grad(total, [outputs])  # [candidates, length, outputs]
    if info.role == Role.QUERY_KEY_VALUE:
        slopes = slopes[..., : slopes.shape[-1] // 3]
    passed = slopes.abs().amax(dim=-1) > 0  # [candidates, length]
    return [own[through].double() for own, through in zip(inputs, passed, strict=True)]


def _residual(states: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """Norm of what a projection leaves of the states [states, width], relative to theirs, []; 1 if there are none."""
    whole: torch.Tensor = states.norm()
    left: torch.Tensor = (states - (states @ basis) @ basis.T).norm()
    return left / whole if whole > 0 else torch.ones_like(whole)
