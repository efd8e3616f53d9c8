"""Which invariants every aggregation rule and filter has and which it lacks, and what the tests of them share.

An invariant is a function that says by how much an outcome breaks it, relative to the largest value among the rows:
nothing but rounding where the table says that it holds, more than a five-hundredth on some instance where it says not.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.optimize import nnls

from fedsec import registry
from fedsec.api import DefenseCard, Layout, Measured, Weighted, implements
from fedsec.api.cards import ParameterValue
from fedsec.maths.rows import Rows

from .support import context


@dataclass(frozen=True, kw_only=True)
class Instance:
    """Rows of a round; the honest ones come first."""

    matrix: torch.Tensor
    """fp32 [n, d]; the last f rows are malicious."""
    f: int
    trusted: torch.Tensor
    """fp32 [d]: the server's own update."""

    @property
    def honest(self) -> torch.Tensor:
        """[n - f, d]."""
        return self.matrix[: len(self.matrix) - self.f]

    @property
    def size(self) -> float:
        """The largest value."""
        return float(self.matrix.abs().max())

    def mapped(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Instance":
        """Every row, and the trusted one, after a change of coordinates."""
        return replace(self, matrix=change(self.matrix), trusted=change(self.trusted[None])[0])


class Outcome(NamedTuple):
    """What rows became."""

    vector: torch.Tensor
    """fp32 [d]."""
    weights: torch.Tensor | None
    """Of each row that was sent [n], fp64; None under a coordinate-wise rule."""


Untied = Callable[[Instance], bool]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A plug-in in one of its settings, and what is claimed of it."""

    name: str
    params: Mapping[str, ParameterValue] = field(default_factory=dict)
    least: Callable[[int], int] = lambda f: 1
    """The smallest n that its precondition admits for f."""
    lacks: frozenset[str] = frozenset()
    """Invariants that it does not have."""
    silent: frozenset[str] = frozenset()
    """Invariants that say nothing about it."""
    kappa: Callable[[int, int], float] | None = None
    """The proven (f, kappa)-robustness for n and f."""
    diameters: Callable[[int, int], float] | None = None
    """The proven distance from the honest mean, in diameters of the honest rows, for n and f."""
    untied: Untied = lambda instance: True
    """Whether no tie decides; then the order of the rows must not matter."""
    tolerance: float = 3e-6
    """Of results in fp32, relative to the largest value; more for what is iterated to a tolerance."""

    @property
    def has(self) -> frozenset[str]:
        """The invariants that it is held to."""
        return frozenset(BROKEN_BY) - self.lacks - self.silent

    @property
    def card(self) -> DefenseCard:
        """Its registered card."""
        return registry.defenses().get(self.name)

    def __str__(self) -> str:
        return self.card.label(self.params) if self.name in registry.defenses() else self.name

    def make(self) -> Any:
        """A new instance of the plug-in."""
        return registry.load_target(self.card)(**self.card.resolve(self.params))

    def size(self, f: int, more: int = 0) -> tuple[int, int]:
        """(n, f): the smallest round that its precondition admits, with a majority of honest rows, and `more` rows."""
        return max(self.least(f), 2 * f + 1, 3) + more, f

    def sizes(self) -> list[tuple[int, int]]:
        """Small (n, f) at the precondition and above it."""
        return [self.size(f, more) for f in range(4) for more in (0, 1, 3)]


def decide(stack: Sequence[Entry], instance: Instance, **changes: Any) -> Outcome:
    """What filters and then a rule, or the plain mean, make of an instance.

    Args:
        stack: filters, then at most one rule.
        instance: rows.
        changes: of the context.
    """
    n, width = instance.matrix.shape
    given: dict[str, Any] = {
        "layout": Layout((), (), width),
        "global_parameters": torch.zeros(width),
        "trusted": lambda: instance.trusted.clone(),
        **changes,
    }
    rows, f = Rows(instance.matrix), instance.f
    for entry in stack:
        plugin, around = entry.make(), replace(context(n, f), **given)
        if implements(plugin, "mix"):
            mixed = plugin.mix(rows, around)
            mixed = mixed.value if isinstance(mixed, Measured) else mixed
            rows, f = rows.mixed(mixed.mixing), mixed.declared_malicious
        elif implements(plugin, "vector"):
            return Outcome(plugin.vector(rows, around), None)
        else:
            return _weighted(rows, plugin.weights(rows, around))
    return _weighted(rows, torch.full((len(rows),), 1 / len(rows), dtype=torch.float64))


def _weighted(rows: Rows, found: torch.Tensor | Weighted) -> Outcome:
    weights = found.weights if isinstance(found, Weighted) else found
    vector = rows.weighted_sum(weights)
    return Outcome(vector + found.plus if isinstance(found, Weighted) else vector, weights @ rows.mixing)


SHOWN = 0.002
"""A failure this large, relative to the largest value, is none of rounding."""

KINDS = ("among", "far", "opposite", "copies", "together")
"""Where malicious rows are."""


@cache
def instance(n: int, f: int, width: int = 4, kind: str = "among", seed: int = 0) -> Instance:
    """Rows of multiples of 2^-16: whole shifts and products of them are exact, and ties by accident do not occur."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    centre = 2 * normal(width)
    honest, trusted = centre + normal(n - f, width), centre + 0.3 * normal(width)
    hostile = {
        "among": lambda: centre + normal(f, width),
        "far": lambda: 20 * normal(f, width),
        "opposite": lambda: -3 * centre + 0.1 * normal(f, width),
        "copies": lambda: honest[torch.randint(n - f, (f,), generator=generator)],
        "together": lambda: (centre + 2 * normal(1, width)).expand(f, -1),
    }[kind]()
    return Instance(matrix=_on_grid(torch.cat([honest, hostile])), f=f, trusted=_on_grid(trusted))


def _on_grid(values: torch.Tensor) -> torch.Tensor:
    return (values * 65536).round() / 65536


def difference(one: Outcome, other: torch.Tensor, of: Instance) -> float:
    """How far an outcome is from a vector, relative to the largest value."""
    return float((one.vector.double() - other.double()).abs().max()) / of.size


def _permutation(stack: Sequence[Entry], given: Instance, generator: torch.Generator) -> float:
    """P1: the order of the rows does not matter, and the weights go along with their rows."""
    order = torch.randperm(len(given.matrix), generator=generator)
    before = decide(stack, given)
    after = decide(stack, replace(given, matrix=given.matrix[order]), clients=tuple(order.tolist()))
    broken = difference(after, before.vector, given)
    if before.weights is not None and after.weights is not None and len(given.matrix.unique(dim=0)) == len(order):
        broken = max(broken, float((after.weights - before.weights[order]).abs().max()))
    return broken


def _translation(stack: Sequence[Entry], given: Instance, generator: torch.Generator) -> float:
    """P2: F(x + s) = F(x) + s."""
    shift = torch.randint(-8, 9, given.trusted.shape, generator=generator).float()
    moved = given.mapped(lambda rows: rows + shift)
    return difference(decide(stack, moved), decide(stack, given).vector + shift, given)


def _scale(stack: Sequence[Entry], given: Instance, generator: torch.Generator) -> float:
    """P3: F(a x) = a F(x) for a > 0, over twelve orders of magnitude."""
    factor = 10 ** float(torch.empty(1).uniform_(-6, 5, generator=generator))
    scaled = given.mapped(lambda rows: factor * rows)
    return difference(decide(stack, scaled), factor * decide(stack, given).vector.double(), scaled)


def _negation(stack: Sequence[Entry], given: Instance, generator: torch.Generator) -> float:
    """F(-x) = -F(x): no side is preferred, as by a median that takes the lower of two middle values."""
    return difference(decide(stack, given.mapped(torch.neg)), -decide(stack, given).vector, given)


def _orthogonal(stack: Sequence[Entry], given: Instance, generator: torch.Generator) -> float:
    """P4: F(x Q) = F(x) Q for orthogonal Q."""
    width = len(given.trusted)
    turn = torch.linalg.qr(torch.randn(width, width, generator=generator, dtype=torch.float64)).Q
    turned = given.mapped(lambda rows: (rows.double() @ turn).float())
    return difference(decide(stack, turned), decide(stack, given).vector.double() @ turn, given)


def _identical(stack: Sequence[Entry], given: Instance, generator: torch.Generator) -> float:
    """P5: honest rows that agree are what comes out."""
    agreed = torch.cat([given.honest[:1].expand_as(given.honest), given.matrix[len(given.honest) :]])
    same = replace(given, matrix=agreed)
    return difference(decide(stack, same), same.matrix[0], same)


def _honest_box(stack: Sequence[Entry], given: Instance, generator: torch.Generator) -> float:
    """P6: every coordinate between the least and the largest of the honest rows."""
    found, low, high = decide(stack, given).vector, given.honest.amin(dim=0), given.honest.amax(dim=0)
    return float(torch.maximum(low - found, found - high).max().clamp_min(0.0)) / given.size


def _hull(stack: Sequence[Entry], given: Instance, generator: torch.Generator) -> float:
    """P6: a convex combination of the rows; the corners of a simplex show it where coordinates are taken apart."""
    points = given.matrix.double().numpy()
    system = np.vstack([points.T / given.size, np.full(len(points), 10.0)])  # weights [n] that sum to 1
    wanted = np.append(decide(stack, given).vector.double().numpy() / given.size, 10.0)
    return float(nnls(system, wanted)[1])


def _mean_at_zero(stack: Sequence[Entry], given: Instance, generator: torch.Generator) -> float:
    """P7: with nobody declared malicious it is the mean."""
    return difference(decide(stack, replace(given, f=0)), given.matrix.double().mean(dim=0), given)


BROKEN_BY: Mapping[str, Callable[[Sequence[Entry], Instance, torch.Generator], float]] = {
    "permutation": _permutation,
    "translation": _translation,
    "scale": _scale,
    "negation": _negation,
    "orthogonal": _orthogonal,
    "identical": _identical,
    "honest-box": _honest_box,
    "hull": _hull,
    "mean-at-zero": _mean_at_zero,
}
"""By how much an outcome breaks each invariant."""
