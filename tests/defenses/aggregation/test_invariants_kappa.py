"""P8: (f, kappa)-robustness on the lower-bound construction, at random, and where a search for the worst ends."""

import pytest
import torch

from .invariants import Entry, Instance, decide
from .table import FILTERS, RULES

SIZES = ((5, 1), (10, 2), (11, 4), (20, 6))
Stack = tuple[Entry, ...]


def _label(value: object) -> str:
    return "+".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _stacks() -> list[Stack]:
    bounded = [entry for entry in RULES if entry.kappa is not None]
    mixing = [entry for entry in FILTERS if entry.name == "nnm"]
    return [(entry,) for entry in bounded] + [(before, entry) for before in mixing for entry in bounded]


def _kappa(stack: Stack, n: int, f: int) -> float:
    """A rule's own bound; after NNM 8f/(n-f) (kappa + 1), Allouah et al., lemma 1."""
    own = stack[-1].kappa
    assert own is not None
    return own(n, f) if len(stack) == 1 else 8 * f / (n - f) * (own(n, f) + 1)


def _admitted(stack: Stack) -> list[tuple[int, int]]:
    return [(n, f) for n, f in SIZES if all(n >= entry.least(f) for entry in stack)]


CASES = [(stack, n, f) for stack in _stacks() for n, f in _admitted(stack)]


def _ratio(stack: Stack, matrix: torch.Tensor, f: int) -> float:
    """Squared distance from the honest mean over the honest variance."""
    one = Instance(matrix=matrix, f=f, trusted=matrix[0])
    honest = one.honest.double()
    error = (decide(stack, one).vector.double() - honest.mean(dim=0)).square().sum()
    return float(error / honest.var(dim=0, correction=0).sum())


def _lower_bound(n: int, f: int, width: int = 2) -> torch.Tensor:
    """Honest rows, f of them, at u; all others, n - 2f honest and f malicious ones, at 0 [n, width]."""
    matrix = torch.zeros(n, width)
    matrix[:f] = torch.linspace(1.0, 0.25, width)
    return matrix


def _worst(stack: Stack, start: torch.Tensor, f: int, steps: int, generator: torch.Generator) -> float:
    """Hill climbing over the malicious rows, and the honest ones in every other step, from `start` [n, width]."""
    matrix, best = start.clone(), _ratio(stack, start, f)
    for step in range(steps):
        size = 10.0 ** -(1.5 * float(torch.rand(1, generator=generator)))
        moved = size * torch.randn(matrix.shape, generator=generator)
        moved *= torch.rand(len(matrix), 1, generator=generator) < 0.5
        if step % 2:
            moved[: len(matrix) - f] = 0
        found = _ratio(stack, matrix + moved, f)
        if found > best:
            matrix, best = matrix + moved, found
    return best


@pytest.mark.parametrize(("stack", "n", "f"), CASES, ids=_label)
def test_no_search_finds_more_than_the_bound(stack: Stack, n: int, f: int) -> None:
    generator, bound = torch.Generator().manual_seed(n), _kappa(stack, n, f)
    starts = [_lower_bound(n, f), torch.randn(n, 2, generator=generator), torch.randn(n, 3, generator=generator)]
    steps = 15 if stack[-1].name == "geometric-median" else 40  # a hundred steps of its own in each
    found = [_worst(stack, start, f, steps, generator) for start in starts]
    assert max(found) <= bound * (1 + 1e-4)
    # The construction is the least that any robust rule can err: a search from there is no empty one.
    assert max(found) >= f / (n - 2 * f) * (1 - 1e-5)


@pytest.mark.parametrize(("stack", "n", "f"), CASES, ids=_label)
def test_the_lower_bound_construction(stack: Stack, n: int, f: int) -> None:
    """Met exactly by every rule that returns what n - f equal rows hold; by no robust rule undercut."""
    found, least = _ratio(stack, _lower_bound(n, f), f), f / (n - 2 * f)
    assert found >= least * (1 - 1e-5)
    if len(stack) == 1 and "identical" in stack[0].has:
        assert found == pytest.approx(least, rel=1e-5)


@pytest.mark.parametrize(("n", "f"), [*SIZES, (7, 3), (12, 1)])
def test_exact_bounds_are_met_and_tighter_than_the_published_ones(n: int, f: int) -> None:
    """All malicious rows where the fewest honest ones are that the rule cannot tell from a majority."""
    r = f / (n - 2 * f)
    for name, top, published in (
        ("trimmed-mean", n - 2 * f, 6 * r * (1 + r)),
        ("median", n // 2 + 1 - f, 4 * (1 + r) ** 2),
    ):
        entry = next(rule for rule in RULES if rule.name == name)
        matrix = torch.zeros(n, 3)
        matrix[n - f - top :] = torch.tensor([1.0, -0.5, 4.0])
        assert entry.kappa is not None
        assert _ratio((entry,), matrix, f) == pytest.approx(entry.kappa(n, f), rel=1e-5)
        assert entry.kappa(n, f) <= published


@pytest.mark.parametrize("entry", [entry for entry in RULES if entry.diameters is not None], ids=str)
@pytest.mark.parametrize(("n", "f"), SIZES)
@pytest.mark.parametrize("seed", range(5))
def test_resilient_averaging(entry: Entry, n: int, f: int, seed: int) -> None:
    """Farhadkhani et al., ICML 2022: how far from the honest mean, in diameters of the honest rows."""
    if n < entry.least(f):
        pytest.skip("outside the precondition")
    assert entry.diameters is not None
    generator = torch.Generator().manual_seed(seed)
    honest = torch.randn(n - f, 3, generator=generator)
    for size in (0.3, 1.0, 2.0, 5.0):
        hostile = honest.mean(dim=0) + size * torch.randn(1, 3, generator=generator) + torch.zeros(f, 1)
        one = Instance(matrix=torch.cat([honest, hostile]), f=f, trusted=honest[0])
        error = float((decide([entry], one).vector - honest.mean(dim=0)).norm())
        assert error <= entry.diameters(n, f) * float(torch.cdist(honest, honest).max()) * (1 + 1e-5)
