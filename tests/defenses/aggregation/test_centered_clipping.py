"""Centered clipping against the paper's formula on the rows themselves, over several rounds."""

import pytest
import torch

from fedsec.api import Weighted
from fedsec.defenses.aggregation.centered_clipping import CenteredClipping
from fedsec.maths.rows import Rows

from ...bounds import within
from .gram_support import around, decide, normal, relative

pytestmark = pytest.mark.numeric


def _plain(rounds: list[torch.Tensor], radius: float, iterations: int) -> torch.Tensor:
    """What v is after all rounds, fp64."""
    v = torch.zeros(rounds[0].shape[1], dtype=torch.float64)
    for matrix in rounds:
        rows = matrix.double()
        for _ in range(iterations):
            lengths = sorted(float((row - v).norm()) for row in rows)
            middle = (lengths[(len(rows) - 1) // 2] + lengths[len(rows) // 2]) / 2
            steps = [(row - v) * min(1.0, radius * middle / max(float((row - v).norm()), 1e-300)) for row in rows]
            v = v + torch.stack(steps).mean(dim=0)
    return v


@pytest.mark.parametrize("radius", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("iterations", [1, 3])
@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_papers_formula_round_after_round(radius: float, iterations: int, seed: int) -> None:
    n, d = 3 + seed, 1 + 7 * seed
    rounds = [0.3 * k + normal(n, d, seed=10 * seed + k) for k in range(4)]
    rule = CenteredClipping(radius=radius, iterations=iterations)
    found = torch.empty(0)
    for matrix in rounds:
        found = decide(rule, matrix, 1).vector
    within("centered-clipping", relative(found, _plain(rounds, radius, iterations)), 1e-6)


def test_weights_and_what_is_kept_of_the_last_aggregate_sum_to_one() -> None:
    rule = CenteredClipping()
    decide(rule, 1.0 + normal(7, 9), 1)
    matrix = 1.0 + normal(7, 9, seed=1)
    previous = rule.state()["previous"]
    found = rule.weights(Rows(matrix), around(matrix, 1))
    assert isinstance(found, Weighted)
    kept = 1 - float(found.weights.sum())
    assert 0 < kept < 1
    assert torch.allclose(found.plus, kept * previous)


def test_rows_within_the_radius_are_averaged() -> None:
    matrix = normal(7, 9)
    found = decide(CenteredClipping(radius=100), matrix).vector
    within("centered-clipping: within the radius", relative(found, matrix.double().mean(dim=0)), 1e-6)


def test_forged_rows_move_it_by_the_radius_at_most() -> None:
    honest = 1.0 + normal(6, 10)
    lengths = honest.norm(dim=1)
    for size in (1e2, 1e6, 1e30):
        without = torch.cat([honest, torch.zeros(1, 10)])
        far = torch.cat([honest, torch.full((1, 10), -size)])
        moved = decide(CenteredClipping(), far, 1).vector - decide(CenteredClipping(), without, 1).vector
        assert float(moved.norm()) <= float(lengths.max())


def test_the_radius_goes_with_the_rows() -> None:
    """A radius of 100, or of 5, clips nothing of a LoRA update and everything of a large model's."""
    matrix = torch.cat([normal(7, 6), 9 + normal(3, 6)])
    for factor in (1e-20, 1e-6, 1e6, 1e20):
        scaled = decide(CenteredClipping(iterations=3), factor * matrix, 3).vector.double() / factor
        within(
            "centered-clipping: scaled rows",
            relative(scaled, decide(CenteredClipping(iterations=3), matrix, 3).vector),
            1e-6,
        )


def test_more_iterations_come_nearer_to_the_honest_rows() -> None:
    matrix = torch.cat([5 + normal(7, 6), -50 + normal(3, 6)])
    honest = matrix[:7].mean(dim=0)
    errors = [float((decide(CenteredClipping(iterations=k), matrix, 3).vector - honest).norm()) for k in (1, 5, 30)]
    assert errors[0] > errors[1] > errors[2]


def test_the_centre_is_the_last_aggregate_never_a_row_of_this_round() -> None:
    """FedML's centre is a random bucket of the round, which may be hostile: order must not matter."""
    matrix = torch.cat([1 + normal(5, 6), -30 + normal(2, 6)])
    order = torch.randperm(7, generator=torch.Generator().manual_seed(0))
    one, other = (decide(CenteredClipping(), each, 2).vector for each in (matrix, matrix[order]))
    assert torch.allclose(one, other, rtol=1e-5)


def test_a_new_instance_remembers_nothing_and_a_restored_one_everything() -> None:
    """ByzFL's state goes from one experiment to the next."""
    first, second = 1 + normal(5, 6), 2 + normal(5, 6, seed=1)
    rule, fresh, restored = CenteredClipping(), CenteredClipping(), CenteredClipping()
    decide(rule, first)
    restored.load_state(rule.state())
    assert restored.state()["previous"] is not rule.state()["previous"]
    goes_on = decide(rule, second).vector
    assert torch.equal(decide(restored, second).vector, goes_on)
    assert not torch.equal(decide(fresh, second).vector, goes_on)
    fresh.load_state({})
    assert fresh.state() == {}


def test_deciding_alone_changes_no_memory() -> None:
    """A colluder's rehearsal asks for weights: what counts is what the round came to."""
    rule, matrix = CenteredClipping(), 1 + normal(5, 6)
    rule.weights(Rows(matrix), around(matrix, 1))
    assert rule.state() == {}
