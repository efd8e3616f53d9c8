"""What an update tells of the inputs of a layer's attention: the span of what entered its projections."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from fedsec.api import Layout, ParameterInfo, Role, RoundView
from fedsec.maths.row_space import CLEAR_GAP, RowSpace, rounding_noise, row_space

from .recovery import recovered

if TYPE_CHECKING:
    from torch import Tensor

_SEPARATE = (Role.QUERY, Role.KEY, Role.VALUE)
_ATTENTION = frozenset({*_SEPARATE, Role.QUERY_KEY_VALUE})

_SILENT = 1e-5
"""A matrix below this times the largest one's norm holds only rounding: the queries of texts of one token, say."""

_DEPENDENT = 1e-6
"""Directions of a trained factor below this times its largest pass nothing on that fp32 keeps."""

_ROUNDING = 1e-5
"""Singular values of fp32 gradients' rounding are below this times the largest (measured: 2e-8 to 4e-8)."""

_PRODUCT = 2e-7
"""Rounding of a gradient's entries over their root mean square."""

_EXACT = 1e-9
"""Relative noise of a matrix's entries that leaves every direction that fp32 holds above it."""


@dataclass(frozen=True, slots=True)
class LayerSpace:
    """The inputs of one layer's attention, as far as the update tells."""

    query: str
    """Name of a module that they enter: the query projection, or the one that holds it."""
    space: RowSpace
    whole: bool = True
    """Whether the update had room for more directions than it shows; if not, they need not be all that there are."""
    updates: "Mapping[str, Tensor]" = field(default_factory=dict)
    """Whole projections' updates [outputs, inputs] by name, as far as known; outputs of which that cannot be told are
    0."""


def layer_space(view: RoundView, row: "Tensor", layer: int) -> LayerSpace | None:
    """The span of what entered a layer's query, key and value projections; None if the update says nothing.

    Reads separate matrices, a fused one, or the factors A of LoRA adapters on any of them: dL/dA = s (D B)^T X has its
    rows in the span of the inputs X too, but at most as many as the trained factors B have directions.

    Args:
        view: what the attacker sees.
        row: an update [parameters], or a weighted sum of several.
        layer: transformer layer, from 0.

    Raises:
        ValueError: the update has neither of these in that layer.
    """
    infos = projections(view.model.layout, layer)
    named = [(info.name, piece) for info in infos for piece in _pieces(view, row, info)]
    largest = max(float(piece[0].norm()) for _, piece in named)
    named = [(name, piece) for name, piece in named if float(piece[0].norm()) > _SILENT * largest]
    if not named:
        return None
    noise = None
    if view.training.update == "delta":
        noise = [_rounding(*piece, view.training.local_steps) for _, piece in named]
    updates, noise, values = recovered(view, row, [piece[0] for _, piece in named], noise)
    space, whole = row_space(updates, noise), True
    if adapted(infos):
        sharp = noise is not None or _ends_in_rounding(space)
        if not sharp and 4 * space.rank > sum(map(len, updates)):  # too few rows are left to call them noise
            space = row_space(updates, [_EXACT * float(update.norm()) for update in updates])
        whole = sharp and space.rank < sum(_room(view.model.module, info) for info in infos)
    module = infos[0].name.split(".lora_")[0].removesuffix(".weight")
    known = {name: value for (name, _), value in zip(named, values, strict=True)} if separate(infos) else {}
    return LayerSpace(query=module, space=space, whole=whole, updates=known)


def matrix_space(view: RoundView, row: "Tensor", name: str) -> RowSpace | None:
    """The span of what entered one linear map; None if the update does not hold its weights, or nothing of them.

    Args:
        view: what the attacker sees.
        row: an update [parameters], or a weighted sum of several.
        name: the weights' name; they are stored [outputs, inputs].
    """
    if all(info.name != name for info in view.model.layout.parameters):
        return None
    update = view.model.layout.tensor(row, name)
    if not bool(update.any()):
        return None
    stored = view.model.module.get_parameter(name).detach() + update
    rounding = [_rounding(update, stored, view.training.local_steps)] if view.training.update == "delta" else None
    return row_space([update], rounding)


def projections(layout: Layout, layer: int) -> tuple[ParameterInfo, ...]:
    """The tensors that a layer's attention inputs enter first: factors A, a fused matrix, or query, key and value."""
    factors = [p for p in layout.find(Role.ADAPTER, layer) if p.factor == "A" and p.adapts in _ATTENTION]
    found = tuple(factors) or layout.find(Role.QUERY_KEY_VALUE, layer)
    return found or tuple(one for role in _SEPARATE for one in layout.find(role, layer))


def trained(layout: Layout, layer: int) -> bool:
    """Whether the update holds what `projections` looks for in a layer, or part of it."""
    roles = (Role.ADAPTER, Role.QUERY_KEY_VALUE, *_SEPARATE)
    return any(info.role != Role.ADAPTER or info.adapts in _ATTENTION for r in roles for info in layout.find(r, layer))


def separate(infos: tuple[ParameterInfo, ...]) -> bool:
    """Whether these are whole query, key and value projections, each a matrix of its own."""
    return all(info.role in _SEPARATE for info in infos)


def adapted(infos: tuple[ParameterInfo, ...]) -> bool:
    """Whether these are LoRA factors, not the projections themselves."""
    return infos[0].factor is not None


def by_input(gradient: "Tensor", view: RoundView, info: ParameterInfo) -> "Tensor":
    """A projection's update as [outputs, inputs] (Conv1D of GPT-2 stores it the other way round)."""
    module = view.model.module.get_submodule(info.name.removesuffix(".weight"))
    return gradient.T if type(module).__name__ == "Conv1D" else gradient


def _pieces(view: RoundView, row: "Tensor", info: ParameterInfo) -> list[tuple["Tensor", "Tensor"]]:
    """A tensor's update and its values after it, [outputs, inputs]; a fused matrix as its three parts.

    The parts' norms differ by orders of magnitude, and row spaces are cut after scaling each matrix to the same norm.
    """
    update = by_input(view.model.layout.tensor(row, info.name), view, info)
    stored = by_input(view.model.module.get_parameter(info.name).detach(), view, info) + update
    if info.role != Role.QUERY_KEY_VALUE:
        return [(update, stored)]
    sizes = _thirds(view.model.module.config, *update.shape)
    return list(zip(update.split(sizes), stored.split(sizes), strict=True))


def _thirds(config: Any, outputs: int, width: int) -> list[int]:
    """Outputs for queries, keys and values; grouped heads have fewer keys and values than queries."""
    heads = config.num_attention_heads
    each = getattr(config, "head_dim", None) or width // heads
    queries = min(heads * each, outputs)
    rest = (outputs - queries) // 2
    return [queries, rest, outputs - queries - rest] if rest else [outputs]


def _ends_in_rounding(space: RowSpace) -> bool:
    """Whether nothing but fp32 rounding lies behind the kept directions, with a gap between."""
    if not 0 < space.rank < len(space.singular):
        return False
    first, last, after = (float(space.singular[place]) for place in (0, space.rank - 1, space.rank))
    return last >= CLEAR_GAP * after and after <= _ROUNDING * first


def _room(module: Any, info: ParameterInfo) -> int:
    """Directions that a factor A's gradient can have: as many as the factor B beside it passes on."""
    other = module.get_parameter(info.name.replace(".lora_A.", ".lora_B.")).detach()
    return int(torch.linalg.matrix_rank(other.double(), rtol=_DEPENDENT))


def _rounding(update: "Tensor", stored: "Tensor", steps: int) -> float:
    """Standard deviation of the rounding of a matrix's difference over the local steps, and of the gradients in it."""
    stored_in = float(rounding_noise(stored).square().mean().mul(steps).sqrt())
    return math.hypot(stored_in, _PRODUCT * float(update.square().mean(dtype=torch.float64).sqrt()))
