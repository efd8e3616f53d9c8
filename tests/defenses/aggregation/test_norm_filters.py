"""Filters that clip norms: `clipping`, `arc` and `norm-bound`, against plain references."""

import statistics
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from fedsec import registry
from fedsec.defenses.aggregation.arc import AdaptiveRobustClipping
from fedsec.defenses.aggregation.clipping import Clipping
from fedsec.defenses.aggregation.norm_bound import NormBound
from fedsec.maths.rows import Rows

from ...bounds import off, within
from .instances import HOSTILE, SIZES, by_row, matrix, mixed, refusal

pytestmark = pytest.mark.numeric

FILTERS = {"clipping": Clipping(), "arc": AdaptiveRobustClipping(), "norm-bound": NormBound(bound=2.0)}
every_filter = pytest.mark.parametrize("name", FILTERS)


def _clipped(k: Fraction) -> int:
    return k.numerator // k.denominator


RADII: dict[str, Callable[[list[float], int], float]] = {
    "clipping": lambda norms, f: statistics.median(norms),
    "arc": lambda norms, f: sorted(norms, reverse=True)[_clipped(2 * Fraction(f, len(norms)) * (len(norms) - f))],
    "norm-bound": lambda norms, f: 2.0,
}
"""The radius of each filter, as its paper writes it."""


def _after(step: Any, rows: torch.Tensor, f: int) -> np.ndarray:
    return torch.cat(list(Rows(rows).mixed(mixed(step, rows, f).mixing).chunks()), dim=1).double().numpy()


@every_filter
@pytest.mark.parametrize(("n", "f"), SIZES)
def test_it_is_that_of_the_plain_reference(name: str, n: int, f: int) -> None:
    rows = matrix(n, 20, seed=n) * torch.linspace(0.1, 3.0, n).flip(0)[:, None]
    norms = by_row(rows)
    factors = np.minimum(1.0, RADII[name](norms.tolist(), f) / norms)
    within("filters by norm", off(_after(FILTERS[name], rows, f), rows.double().numpy() * factors[:, None]), 1e-6)
    found = mixed(FILTERS[name], rows, f)
    assert torch.equal(found.mixing, found.mixing.diagonal().diag())
    assert found.declared_malicious == f
    assert (found.mixing.diagonal()[norms <= RADII[name](norms.tolist(), f)] == 1.0).all()


@every_filter
def test_it_does_not_clip_the_callers_rows(name: str) -> None:
    rows = 10 * matrix(9, 5)
    rows[0] *= 7
    before = rows.clone()
    mixed(FILTERS[name], rows, 2)
    assert torch.equal(rows, before)


@every_filter
@pytest.mark.parametrize("size", HOSTILE)
def test_a_hostile_row_is_no_longer_than_the_radius_in_the_mean_too(name: str, size: float) -> None:
    """Norms and sums must agree on how long a row far out of line is, or a factor made for one fails in the other."""
    honest = matrix(8, 20)
    rows = torch.cat([size * torch.ones(2, 20), honest])
    kept = Rows(rows).mixed(mixed(FILTERS[name], rows, 2).mixing)
    longest = 2.0 if name == "norm-bound" else by_row(honest).max()
    for place in (0, 1):
        alone = kept.weighted_sum(torch.eye(10, dtype=torch.float64)[place])
        assert 0 < float(alone.double().norm()) <= longest * (1 + 1e-6)
    mean = kept.weighted_sum(torch.full((10,), 0.1, dtype=torch.float64))
    assert float(mean.norm()) <= by_row(honest).max()


@every_filter
def test_rows_of_norm_zero_stay(name: str) -> None:
    rows = 10 * matrix(7, 5)
    rows[2] = 0.0
    found = mixed(FILTERS[name], rows, 1).mixing
    assert found[2, 2] == 1.0
    assert torch.equal(mixed(FILTERS[name], torch.zeros(4, 5), 1).mixing, torch.eye(4, dtype=torch.float64))


@every_filter
def test_directions_stay_and_moving_all_rows_does_matter(name: str) -> None:
    """Clipping is towards 0: it is not equivariant under translation."""
    rows = 3 * matrix(9, 5) * torch.linspace(0.2, 2.0, 9)[:, None]
    after = _after(FILTERS[name], rows, 2)
    cosines = (after * rows.double().numpy()).sum(axis=1) / (np.linalg.norm(after, axis=1) * by_row(rows))
    np.testing.assert_allclose(cosines, 1.0, rtol=1e-6)
    assert np.abs(_after(FILTERS[name], rows + 50.0, 2) - (after + 50.0)).max() > 0.1


@every_filter
def test_the_order_of_the_rows_does_not_matter(name: str) -> None:
    rows = matrix(9, 5) * torch.linspace(0.2, 2.0, 9)[:, None]
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    found = mixed(FILTERS[name], rows[order], 2).mixing.diagonal()
    np.testing.assert_allclose(found, mixed(FILTERS[name], rows, 2).mixing.diagonal()[order], rtol=1e-12)


def test_of_an_even_number_clipping_takes_the_mean_of_the_two_middle_norms() -> None:
    rows = torch.diag(torch.tensor([1.0, 2.0, 4.0, 9.0]))
    np.testing.assert_allclose(by_row(torch.from_numpy(_after(Clipping(), rows, 1))), [1.0, 2.0, 3.0, 3.0], rtol=1e-6)
    np.testing.assert_allclose(
        by_row(torch.from_numpy(_after(Clipping(factor=0.5), rows, 1))), [1.0, 1.5, 1.5, 1.5], rtol=1e-6
    )


def test_clipping_and_arc_follow_the_rows_scale_and_the_norm_bound_does_not() -> None:
    rows = matrix(9, 5) * torch.linspace(0.2, 2.0, 9)[:, None]
    for name, step in FILTERS.items():
        same = np.allclose(_after(step, 1024 * rows, 2), 1024 * _after(step, rows, 2), rtol=1e-6)
        assert same == (name != "norm-bound")


def test_arc_counts_in_whole_numbers() -> None:
    """2 * (f / n) * (n - f) is a whole number here, and in floating point just below it."""
    n, f = 242, 33
    assert int(2 * (f / n) * (n - f)) == 56
    rows = torch.diag(torch.arange(1.0, n + 1))
    assert int((mixed(AdaptiveRobustClipping(), rows, f).mixing.diagonal() < 1).sum()) == 2 * f * (n - f) // n == 57


def test_arc_with_nothing_declared_does_nothing() -> None:
    assert torch.equal(mixed(AdaptiveRobustClipping(), matrix(5, 3), 0).mixing, torch.eye(5, dtype=torch.float64))


def test_a_bound_above_a_hundred_median_norms_leaves_hostile_rows_at_that() -> None:
    """As the card says: Rows scales them down to it before anybody looks."""
    honest = matrix(6, 20)
    rows = torch.cat([honest, torch.full((1, 20), 1e6)])
    after = np.linalg.norm(_after(NormBound(bound=1e5), rows, 1), axis=1)
    assert after[-1] == pytest.approx(100 * np.sort(by_row(rows))[3], rel=1e-5)


def test_preconditions_and_cards() -> None:
    assert refusal("arc", 5, 2) is None
    assert refusal("arc", 4, 2) == "arc needs n > 2f = 4, has 4"
    for name, defaults in (("clipping", Clipping(factor=1.0)), ("arc", FILTERS["arc"]), ("norm-bound", NormBound())):
        card = registry.defenses().get(name)
        assert registry.load_target(card)(**card.resolve({})) == defaults
        assert card.needs_rows
        assert not card.is_rule
