"""The geometric median: optimal by its gradient and by scipy, whatever the rows' place and size."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from fedsec.defenses.aggregation.geometric_median import GeometricMedian

from ...bounds import within
from .gram_support import decide, normal, relative

pytestmark = pytest.mark.numeric


def _plain(matrix: torch.Tensor, nu: float, steps: int = 5000) -> torch.Tensor:
    """Smoothed Weiszfeld among the rows themselves, from their mean; nu absolute."""
    rows = matrix.double()
    centre = rows.mean(dim=0)
    for _ in range(steps):
        nearness = 1 / (rows - centre).norm(dim=1).clamp_min(nu)
        following = (nearness[:, None] * rows).sum(dim=0) / nearness.sum()
        if float((following - centre).norm()) <= 1e-14 * float(centre.norm()):
            break
        centre = following
    return centre


def _objective(point: np.ndarray, rows: np.ndarray) -> float:
    return float(np.linalg.norm(rows - point, axis=1).sum())


def _pull(matrix: torch.Tensor, point: torch.Tensor) -> float:
    """Length of the gradient per row; rows at the point pull by at most 1 each, whichever way is needed."""
    away = matrix.double() - point.double()
    lengths = away.norm(dim=1)
    near = lengths < 1e-5 * lengths.median()
    others = (away[~near] / lengths[~near, None]).sum(dim=0).norm()
    return float((others - near.sum()).clamp_min(0.0)) / len(matrix)


@pytest.mark.parametrize("seed", range(20))
def test_it_is_that_of_the_plain_reference(seed: int) -> None:
    n, d = 3 + seed % 10, 1 + (7 * seed) % 30
    matrix = 0.5 + normal(n, d, seed=seed)
    rule = GeometricMedian(tolerance=1e-11, max_iterations=5000)
    typical = float(torch.pdist(matrix).median())
    if d > 1:
        within("geometric-median", relative(decide(rule, matrix).vector, _plain(matrix, 1e-6 * typical)), 1e-6)
    rows = matrix.double().numpy()
    best = _objective(_plain(matrix, 1e-6 * typical).numpy(), rows)
    reached = _objective(decide(rule, matrix).vector.double().numpy(), rows)
    within("geometric-median: its objective", max(reached / best - 1, 0.0), 1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_no_point_that_scipy_finds_is_better(seed: int) -> None:
    n, d = 3 + seed % 7, 1 + seed % 4
    matrix = normal(n, d, seed=100 + seed)
    rows = matrix.double().numpy()
    starts = [*rows, rows.mean(axis=0)]
    best = min(minimize(_objective, s, args=(rows,), method="Nelder-Mead", tol=1e-9).fun for s in starts)
    reached = _objective(decide(GeometricMedian(), matrix).vector.double().numpy(), rows)
    within("geometric-median: its objective beside scipy's", max(reached / best - 1, 0.0), 1e-6)


@pytest.mark.parametrize("seed", range(10))
def test_the_gradient_is_at_its_floor(seed: int) -> None:
    matrix = 3.0 + normal(4 + seed, 2 + seed, seed=seed)
    within("geometric-median: its gradient", _pull(matrix, decide(GeometricMedian(), matrix).vector), 1e-5)


def test_a_row_in_the_middle_of_the_others_is_the_median_itself() -> None:
    """There the objective has no gradient: a step by 1/0 would be NaN, and dropping the row would be wrong."""
    around = normal(4, 3)
    matrix = 2.0 + torch.cat([torch.zeros(1, 3), around, -around])
    found = decide(GeometricMedian(), matrix)
    assert found.vector.tolist() == pytest.approx([2.0] * 3, rel=1e-5)
    assert float(found.weights[0]) > 0.999


def test_a_start_on_a_row_that_is_not_the_median_is_left_again() -> None:
    """The mean of these rows is the first one, which pulls by 1 against more than that."""
    away = torch.tensor([[1.0, 0.2], [1.0, -0.2], [-4.0, 0.0], [2.0, 0.0]])
    matrix = 5.0 + torch.cat([torch.zeros(1, 2), away])
    assert torch.allclose(matrix.mean(dim=0), matrix[0])
    assert float((decide(GeometricMedian(), matrix).vector - matrix[0]).norm()) > 0.1
    within("geometric-median: its gradient", _pull(matrix, decide(GeometricMedian(), matrix).vector), 1e-5)


def test_one_row_is_itself_and_two_are_their_mean() -> None:
    matrix = normal(2, 5)
    assert decide(GeometricMedian(), matrix[:1]).weights.tolist() == [1.0]
    assert decide(GeometricMedian(), matrix).weights.tolist() == pytest.approx([0.5, 0.5])


def test_most_rows_equal_are_the_median() -> None:
    matrix = torch.cat([torch.full((4, 3), 2.0), 10 * normal(3, 3)])
    error = relative(decide(GeometricMedian(), matrix, 3).vector, torch.full((3,), 2.0))
    within("geometric-median: most rows equal", error, 2e-5)  # smoothed within 1e-6 of a distance of 14


@pytest.mark.parametrize("factor", [1e-20, 1e-6, 1e6, 1e20])
def test_scaled_rows_have_the_scaled_median(factor: float) -> None:
    """With an absolute nu, rows of a small model are all within it, and the median is their mean."""
    matrix = torch.cat([normal(7, 6), 9 + normal(3, 6)])
    scaled = decide(GeometricMedian(), factor * matrix, 3).vector.double() / factor
    within("geometric-median: scaled rows", relative(scaled, decide(GeometricMedian(), matrix, 3).vector), 1e-5)
    assert relative(scaled, matrix.mean(dim=0)) > 0.1


def test_far_rows_do_not_drive_up_the_distance_below_which_it_is_a_mean() -> None:
    """They are 1e7 spreads away; nu goes with what is typical, not with the largest distance."""
    honest = 1.0 + 1e-5 * normal(7, 6)
    far = torch.full((2, 6), -100.0)
    exact = _plain(torch.cat([honest, far]), 1e-12)
    found = decide(GeometricMedian(), torch.cat([honest, far]), 2)
    assert float((found.weights @ torch.cat([honest, far]).double() - exact).norm()) < 1e-8
    assert float((honest.double().mean(dim=0) - exact).norm()) > 1e-7


def test_far_from_the_origin_it_is_as_good() -> None:
    """ByzFL starts at 0 and ends after three steps."""
    matrix = normal(9, 5)
    moved = decide(GeometricMedian(), matrix + 1000, 3).vector.double() - 1000
    assert float((moved - decide(GeometricMedian(), matrix, 3).vector).abs().max()) < 1e-3


def test_equal_counts_do_not_make_it_the_first_client_and_counts_do_not_weigh() -> None:
    """FedML keeps the counts in a set: equal ones collapse, and the result is client 0's model."""
    matrix = normal(5, 6)
    alike = decide(GeometricMedian(), matrix, 1, examples=(7,) * 5)
    assert float((alike.vector - matrix[0]).norm()) > 0.1
    assert torch.equal(decide(GeometricMedian(), matrix, 1, examples=(10**9, 1, 1, 1, 1)).vector, alike.vector)


def test_it_is_the_median_of_whole_rows_not_of_their_halves() -> None:
    """Per tensor it would be another point."""
    matrix = normal(5, 6, seed=2)
    halves = torch.cat([decide(GeometricMedian(), part.contiguous(), 1).vector for part in matrix.split(3, dim=1)])
    assert relative(halves, decide(GeometricMedian(), matrix, 1).vector) > 0.01


def test_more_steps_never_make_it_worse_and_the_last_is_what_comes_out() -> None:
    """Steps that compound their weights, as FedML's do, would collapse onto one row."""
    matrix = torch.cat([normal(6, 4), 20 + normal(3, 4)])
    rows = matrix.double().numpy()
    found = [
        _objective(decide(GeometricMedian(max_iterations=k), matrix, 3).vector.double().numpy(), rows)
        for k in (1, 2, 3, 5, 10, 100)
    ]
    assert found == sorted(found, reverse=True)
    assert found[0] > found[-1]


@pytest.mark.parametrize(("n", "f"), [(5, 2), (11, 4), (20, 6)])
def test_it_keeps_within_the_bound_on_the_worst_known_instance(n: int, f: int) -> None:
    """Of n-f honest rows f at 1, the rest and f forged at 0: any rule errs by f/(n-2f) variances, this by no more."""
    matrix = torch.cat([torch.ones(f, 1), torch.zeros(n - f, 1)])
    honest = matrix[: n - f].double()
    error = float((decide(GeometricMedian(), matrix, f).vector.double() - honest.mean(dim=0)).square().sum())
    assert error / float((honest - honest.mean()).square().mean()) == pytest.approx(f / (n - 2 * f), rel=1e-3)
