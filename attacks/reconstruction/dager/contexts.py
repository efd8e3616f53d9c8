"""Which candidates stand in the batch, each by itself: what attention gave it is solved for, and the rest must fit.

Behind attention a layer works token by token. The gradients of its output projection and of the first feed-forward map
name the spans of what attention gave the tokens, o, and of the states behind it, y = LN(x + A o + a). For a candidate's
own x, y times the norm's standard deviation s is linear in o and s, so that "y in its span" is a linear system. While
the tokens are fewer than half of the hidden size, it has more equations than unknowns and leaves o and s open only
along a few directions, as many as the batch has tokens more than its inputs have dimensions. Any x in the first
layer's span solves it; that s is the standard deviation, and that the activations of y lie in their span, holds for
true tokens alone: a few Gauss-Newton steps tell.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from fedsec.api import RoundView
from fedsec.maths.activations import layer_input
from fedsec.maths.row_space import RowSpace

from .block import Block, block_between
from .candidates import Candidates
from .effort import Effort
from .settings import Settings
from .spaces import LayerSpace, matrix_space

if TYPE_CHECKING:
    from torch import Tensor

_OPEN = 2e-5
"""A direction that changes the states off their span by less than this (relative) is open: the bases' rounding leaves
1e-6 of a direction that changes nothing."""


_SPARE = 64
"""Random directions off the activations' span, beyond the open ones: equations that a solution has to satisfy."""


_DAMPING = 1e-7
"""On the diagonal of the normal equations, relative to its mean: fp32's rounding."""

_SMALL = 2
"""Multiply-adds of large products that one of many small ones takes as long as."""

_CHUNK = 256
"""Candidates at once: 25 MB of Jacobians at 16 open directions and 1,536 activations."""


@dataclass(frozen=True, slots=True)
class Told:
    """Candidates that stand in the batch, and what attention gave each of them."""

    ids: "Tensor"
    """Of all candidates [candidates]."""
    places: "Tensor"
    """Of all candidates [candidates]."""
    inputs: "Tensor"
    """What all candidates put into the first layer [candidates, width], fp64."""
    passed: "Tensor"
    """Which candidates stand in the batch [count]."""
    attended: "Tensor"
    """What enters attention's output projection [count, width], fp64."""


def told(
    view: RoundView,
    row: "Tensor",
    spaces: Sequence[LayerSpace],
    candidates: Candidates,
    settings: Settings,
    effort: Effort,
) -> Told | None:
    """The candidates that pass; None where the update or the model leaves the test undetermined, or all fail.

    Args:
        view: the server's view.
        row: the update [parameters].
        spaces: of the first and the second layer.
        candidates: what the first layer's span admits.
        settings: how far steps go, and the largest residual in the second layer of what passes.
        effort: counts the steps; once it is over, candidates that did not pass before are left out.

    Source: this project.
    """
    first, second = spaces
    module = view.model.module
    block = block_between(module, first.query, second.query)
    if block is None:
        return None
    names = (f"{name}.weight" for name in (block.project, block.expand, block.shrink))
    given, entered, active = (matrix_space(view, row, name) for name in names)
    if given is None or entered is None or active is None:
        return None
    equations = _Equations.of(module, block, given, entered)
    if len(equations.open) > settings.open_directions:
        return None
    ids, places = candidates.pairs()
    inputs = _inputs(module, first.query, ids, places)
    steps = _Steps(module, block, active, equations, view.generator, settings, effort)
    passed = _passed(steps, inputs, settings)
    if len(passed.which) == 0:
        return None
    off = second.space.residuals(_through(module, block.norm, second.query, passed.behind).double())
    kept = passed.which[off <= settings.ceiling]
    if len(kept) == 0:
        return None
    attended = passed.unknowns[off <= settings.ceiling, :-1] @ given.basis.T
    return Told(ids, places, inputs, kept, attended)


class _Solved(NamedTuple):
    """Candidates whose equations were solved."""

    which: "Tensor"
    """Their indices [count]."""
    moved: "Tensor"
    """How far along the open directions their solutions lie [count, open]."""
    unknowns: "Tensor"
    """[count, span + 1]"""
    behind: "Tensor"
    """States behind the norm [count, width]."""


def _passed(steps: "_Steps", inputs: "Tensor", settings: Settings) -> _Solved:
    """The candidates of a misfit up to the ceiling.

    Those that came nearest of the others go on from where these ended on average: what attention gives differs less
    from token to token than it differs from nothing.
    """
    start = inputs.new_zeros(steps.open)
    solved, misfits = steps.solved(inputs, torch.arange(len(inputs)), start, patience=1)
    found = _picked(solved, misfits <= settings.ceiling)
    for _ in range(settings.retries):
        rest = solved.which[~torch.isin(solved.which, found.which)]
        if len(found.which) == 0 or len(rest) == 0:
            break
        nearest = rest[misfits[rest].argsort(stable=True)[:_CHUNK]]
        more, fits = steps.solved(inputs, nearest, found.moved.mean(dim=0), patience=settings.patience)
        fresh = _picked(more, fits <= settings.ceiling)
        if len(fresh.which) == 0:
            break
        found = _Solved(*(torch.cat(pair) for pair in zip(found, fresh, strict=True)))
    return found


def _picked(solved: _Solved, which: "Tensor") -> _Solved:
    return _Solved(*(part[which] for part in solved))


@dataclass(frozen=True, slots=True)
class _Equations:
    """The linear system of a candidate's unknowns: what attention gave it, in its span, and a standard deviation."""

    projection: "Tensor"
    """From the span of what attention gave to centred states [span, width], fp64."""
    solve: "Tensor"
    """From a candidate's scaled inputs to the least-squares unknowns [width, span + 1], fp64."""
    open: "Tensor"
    """Orthonormal unknowns that nothing linear tells [open, span + 1], fp64."""
    shift: "Tensor"
    """What the projection adds whatever attention gave [width], fp64."""
    weight: "Tensor"
    """Of the norm [width], fp64."""

    @classmethod
    def of(cls, module: Any, block: Block, given: RowSpace, entered: RowSpace) -> "_Equations":
        """The system of one layer, whatever the candidate.

        Args:
            module: the broadcast model.
            block: names its parts.
            given: span of what enters the output projection.
            entered: span of what enters the feed-forward part.
        """
        project, norm = module.get_submodule(block.project), module.get_submodule(block.norm)
        weight, bias = norm.weight.detach().double(), norm.bias.detach().double()
        projection = _centred((project.weight.detach().double() @ given.basis).T)
        unknown = torch.cat([projection * weight, bias[None]])  # [span + 1, width]
        left, singular, right = torch.linalg.svd(_off(unknown, entered).T, full_matrices=True)
        strong = int((singular > _OPEN * singular[0]).sum())
        solve = (left[:, :strong] / singular[:strong]) @ right[:strong]
        shift = torch.zeros_like(bias) if project.bias is None else project.bias.detach().double()
        return cls(projection, -_off(solve.T, entered).T, right[strong:], shift, weight)


class _Steps:
    """Gauss-Newton steps along the open directions, for many candidates at once.

    Args:
        module: the broadcast model.
        block: names the layer's parts.
        active: span of the activations.
        equations: the linear ones.
        generator: source of the directions off that span in which activations are looked at.
        settings: how far steps go.
        effort: counts the steps, and ends them.
    """

    def __init__(
        self,
        module: Any,
        block: Block,
        active: RowSpace,
        equations: _Equations,
        generator: torch.Generator,
        settings: Settings,
        effort: Effort,
    ) -> None:
        self._norm, self._expand = module.get_submodule(block.norm), module.get_submodule(block.expand)
        self._activation = module.get_submodule(block.activation)
        self._equations, self._settings, self._effort = equations, settings, effort
        count = _SPARE + len(equations.open)
        raw = torch.randn(active.basis.shape[0], count, generator=generator, dtype=torch.float64)
        self._outside = (raw - active.basis @ (active.basis.T @ raw)).float() / count**0.5  # [activations, directions]
        self._moves = (equations.open[:, :-1] @ equations.projection).float()  # [open, width]
        self._spreads = equations.open[:, -1].float()  # [open]
        with torch.no_grad():
            self._swept = (self._moves * self._norm.weight) @ self._expand.weight.T  # [open, activations]
            self._rest = self._expand(self._norm.bias)  # [activations]

    @property
    def open(self) -> int:
        """Directions that the linear equations leave open."""
        return len(self._moves)

    def solved(self, inputs: "Tensor", which: "Tensor", start: "Tensor", *, patience: int) -> tuple[_Solved, "Tensor"]:
        """Where the steps of some candidates end, and the misfits there [count], large where they were given up.

        Args:
            inputs: of all candidates [candidates, width].
            which: indices of those to solve for [count].
            start: where on the open directions to start from [open], fp64.
            patience: steps before the first candidate is given up.
        """
        parts = [self._run(inputs[part], start, patience) for part in which.split(_CHUNK)]
        moved, unknowns, behind, misfits = (torch.cat(kind) for kind in zip(*parts, strict=True))
        return _Solved(which, moved, unknowns, behind), misfits

    def _run(self, inputs: "Tensor", start: "Tensor", patience: int) -> "tuple[Tensor, Tensor, Tensor, Tensor]":
        """What `_Solved` holds of inputs [count, width], and misfits."""
        shifted = _centred(inputs + self._equations.shift)
        unknowns = (shifted * self._equations.weight) @ self._equations.solve + start @ self._equations.open
        sums = (shifted + unknowns[:, :-1] @ self._equations.projection).float()
        spreads = unknowns[:, -1].float()
        misfits = torch.full((len(inputs),), torch.inf)
        live, moved = torch.arange(len(inputs)), torch.zeros(len(inputs), self.open)
        for step in range(self._settings.steps + 1):
            residual, jacobian = self._linearised(sums[live], spreads[live])
            now = residual.norm(dim=1)
            falls = (now < self._settings.fall * misfits[live]) | (step <= patience)
            misfits[live] = torch.minimum(now, misfits[live])
            live, residual, jacobian = (part[falls] for part in (live, residual, jacobian))
            if step == self._settings.steps or len(live) == 0 or self._effort.over:
                break
            change = -_least(jacobian, residual)  # [live, open]
            moved[live] += change
            sums[live] += change @ self._moves
            spreads[live] += change @ self._spreads
        along = start + moved.double()
        unknowns = unknowns + moved.double() @ self._equations.open
        with torch.no_grad():
            return along, unknowns, self._norm(sums), misfits

    def _linearised(self, sums: "Tensor", spreads: "Tensor") -> "tuple[Tensor, Tensor]":
        """Residuals [count, equations] and their derivatives along the open directions [count, equations, open]."""
        width = sums.shape[1]
        self._count(len(sums), width)
        deviation = (sums.square().mean(dim=1) + self._norm.eps).sqrt()[:, None]  # [count, 1]
        with torch.no_grad():
            before = self._expand(sums / deviation * self._norm.weight + self._norm.bias)
        before.requires_grad_(True)
        active = self._activation(before)
        (slope,) = torch.autograd.grad(active.sum(), before)
        before, active = before.detach(), active.detach()
        size = active.norm(dim=1, keepdim=True)
        deviates = sums @ self._moves.T / (width * deviation)  # [count, open]
        residual = torch.cat([spreads[:, None] / deviation - 1.0, active @ self._outside / size], dim=1)
        first = self._spreads / deviation - spreads[:, None] * deviates / deviation.square()
        swept = torch.einsum("ca,oa,ae->ceo", slope / (deviation * size), self._swept, self._outside)
        scaled = (slope * (before - self._rest) / (deviation * size)) @ self._outside  # [count, equations]
        return residual, torch.cat([first[:, None], swept - scaled[..., None] * deviates[:, None]], dim=1)

    def _count(self, candidates: int, width: int) -> None:
        """Take note of one step of some candidates: the feed-forward map, its derivatives, the normal equations."""
        active, equations = self._outside.shape
        swept = self.open * equations * (active + self.open)
        self._effort.products(candidates * (active * (width + equations) + _SMALL * swept))
        self._effort.decompositions(candidates * self.open**3 / 3)


def _least(jacobian: "Tensor", residual: "Tensor") -> "Tensor":
    """Least-squares solutions [count, open], slightly damped."""
    normal = jacobian.mT @ jacobian
    damping = _DAMPING * normal.diagonal(dim1=1, dim2=2).mean(dim=1)
    normal = normal + damping[:, None, None] * torch.eye(normal.shape[1])
    solution: Tensor = torch.linalg.solve(normal, (jacobian.mT @ residual[..., None]))[..., 0]
    return solution


def _inputs(module: Any, query: str, ids: "Tensor", places: "Tensor") -> "Tensor":
    """The first layer's inputs of tokens at positions [count, width], fp64."""
    words, which = ids.unique(return_inverse=True)
    repeated = words[:, None].expand(-1, int(places.max()) + 1)
    return layer_input(module, query, input_ids=repeated)[which, places].double()


def _through(module: Any, norm: str, query: str, states: "Tensor") -> "Tensor":
    """What enters the second layer where these leave a norm of the first [count, width]."""
    handle = module.get_submodule(norm).register_forward_hook(lambda *_: states[:, None])
    try:
        return layer_input(module, query, input_ids=torch.zeros(len(states), 1, dtype=torch.long))[:, 0]
    finally:
        handle.remove()


def _centred(vectors: "Tensor") -> "Tensor":
    return vectors - vectors.mean(dim=-1, keepdim=True)


def _off(vectors: "Tensor", space: RowSpace) -> "Tensor":
    """What of vectors [count, width] lies off a space."""
    return vectors - (vectors @ space.basis) @ space.basis.T
