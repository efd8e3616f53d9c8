"""DnC against numpy's SVD, what it leaves where no row is good, and what it is there to stop."""

import numpy as np
import pytest
import torch

from fedsec import registry
from fedsec.api import Population
from fedsec.defenses.detection.dnc import DivideAndConquer, outlier_scores

from .support import kept, mixed, normal


def _scores(block: np.ndarray) -> np.ndarray:
    """By definition."""
    centred = block - block.mean(axis=0)
    _, _, right = np.linalg.svd(centred, full_matrices=False)
    return (centred @ right[0]) ** 2


@pytest.mark.parametrize("seed", range(8))
def test_scores_are_those_of_the_singular_vector(seed: int) -> None:
    block = normal(3 + seed, 40, seed=seed).double()
    assert np.allclose(outlier_scores(block).numpy(), _scores(block.numpy()), atol=1e-9)


@pytest.mark.parametrize(("f", "filtered", "out"), [(2, 1.0, 2), (2, 1.5, 3), (1, 0.5, 1), (0, 1.0, 0)])
def test_with_all_coordinates_it_drops_the_highest_scores(f: int, filtered: float, out: int) -> None:
    matrix = normal(9, 40, seed=f)
    found = mixed(DivideAndConquer(filtered=filtered), matrix, f)
    assert kept(found) == sorted(np.argsort(_scores(matrix.double().numpy()))[: 9 - out].tolist())
    assert found.declared_malicious == max(0, f - out)


@pytest.mark.parametrize("coordinates", [50, 10_000, 100_000])
def test_colluders_that_lie_together_are_dropped_whatever_coordinates_are_drawn(coordinates: int) -> None:
    honest = normal(8, 20_000)
    hostile = honest.mean(dim=0) - 1.5 * honest.std(dim=0)
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        found = mixed(
            DivideAndConquer(coordinates=coordinates),
            torch.cat([honest, hostile.expand(2, -1)]),
            2,
            generator=generator,
        )
        assert not {8, 9} & set(kept(found))
        assert len(kept(found)) == 8


def test_where_no_row_is_good_in_all_draws_the_ones_good_in_most_stay() -> None:
    """Elsewhere nothing is left then: the mean of nothing is NaN, or 0."""
    wild = torch.eye(4) * 100  # of one coordinate at a time, its own row is the outlier
    found = mixed(DivideAndConquer(iterations=40, coordinates=1), wild, 1)
    assert 1 <= len(kept(found)) <= 4
    assert bool(found.mixing.isfinite().all())


def test_a_row_of_1e30_is_dropped_and_hides_no_other() -> None:
    matrix = normal(7, 30)
    matrix[3] = 1e30
    assert 3 not in kept(mixed(DivideAndConquer(), matrix, 1))


def test_no_majority_and_dropping_all_are_refused() -> None:
    card = registry.defenses().get("dnc")
    assert card.precondition is not None
    assert card.precondition(Population(clients=5, declared_malicious=2), card.resolve({})) is None
    assert "n > 2f = 4" in str(card.precondition(Population(clients=4, declared_malicious=2), card.resolve({})))
    more = card.resolve({"filtered": 2.5})
    assert "drops filtered * f = 5" in str(card.precondition(Population(clients=5, declared_malicious=2), more))
