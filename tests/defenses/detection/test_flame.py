"""FLAME against plain HDBSCAN on plain cosines, and on what it is there to stop."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.cluster import HDBSCAN

from fedsec import registry
from fedsec.api import Population
from fedsec.defenses.detection.flame import Flame, _distances, majority
from fedsec.maths.rows import Rows

from .support import around, kept, mixed, normal


def _round(seed: int, hostile: int = 3, honest: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows, the hostile ones last and in one other direction, and the global model."""
    shared, other = normal(2, 60, seed=100 + seed)
    rows = torch.cat([shared + 0.5 * normal(honest, 60, seed=seed), 2 * other + 0.1 * normal(hostile, 60, seed=seed)])
    return 0.1 * rows, normal(60, seed=200 + seed)


def _cosines(rows: torch.Tensor, model: torch.Tensor, step: float) -> np.ndarray:
    """1 - cos between local models, by definition."""
    models = (model.double() + step * rows.double()).numpy()
    lengths = np.linalg.norm(models, axis=1)
    return 1 - models @ models.T / np.outer(lengths, lengths)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("update", ["delta", "gradient"])
def test_distances_are_those_of_the_local_models(seed: int, update: str) -> None:
    rows, model = _round(seed)
    context = around(60, 10, 3, global_parameters=model)
    context = replace(context, training=replace(context.training, update=update))
    expected = _cosines(rows, model, 1.0 if update == "delta" else -0.1)
    assert np.allclose(_distances(Rows(rows), context).numpy(), expected, rtol=1e-5, atol=1e-9)


def test_distances_of_models_that_differ_by_little_are_no_rounding() -> None:
    """1 - cos of fp32 models would be 0 or 1e-7 for all of them."""
    rows = 1e-5 * normal(6, 50)
    model = 10 * torch.ones(50)
    found = _distances(Rows(rows), around(50, 6, 2, global_parameters=model)).numpy()
    across = rows.double() - rows.double().mean(dim=1, keepdim=True)  # what is not along the model turns it
    expected = torch.cdist(across, across).square().numpy() / (2 * 50 * 100)
    assert np.allclose(found, expected, rtol=1e-3, atol=1e-18)


@pytest.mark.parametrize("seed", range(4))
def test_it_keeps_what_plain_hdbscan_keeps_scaled_to_the_median_of_all_norms(seed: int) -> None:
    rows, model = _round(seed)
    labels = HDBSCAN(metric="precomputed", min_cluster_size=6, min_samples=2, allow_single_cluster=True, copy=True).fit(
        _cosines(rows, model, 1.0).clip(0)
    ).labels_  # fmt: skip
    defense = Flame()
    found = mixed(defense, rows, 3, global_parameters=model)
    assert kept(found) == [row for row, label in enumerate(labels) if label == 0]
    assert set(kept(found)) <= set(range(7))
    assert found.declared_malicious == 0
    norms = rows.double().norm(dim=1)
    bound = float(np.median(norms.numpy()))  # of the hostile rows' as well
    for line, row in zip(found.mixing, kept(found), strict=True):
        assert float(line[row]) == pytest.approx(min(1.0, bound / float(norms[row])))
    assert float(defense.state()["bound"]) == pytest.approx(bound)


def test_noise_is_in_median_norms_and_not_in_what_parameters_spread() -> None:
    """Elsewhere it is scaled by the standard deviation of each layer's weights."""
    defense = Flame(noise=0.5)
    rows, model = _round(0)
    mixed(defense, rows, 3, global_parameters=1000 * model)
    bound, plain = float(np.median(rows.norm(dim=1))), torch.zeros(20_000)
    noise = defense.on_aggregate(plain, around(20_000, 3, 1))
    assert float(noise.std()) == pytest.approx(0.5 * bound, rel=0.03)
    other = Flame(noise=0.5)
    other.load_state(defense.state())
    assert torch.equal(other.on_aggregate(plain, around(20_000, 3, 1)), noise)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_rows_that_are_all_alike_all_stay(size: int) -> None:
    assert majority(torch.zeros(size, size, dtype=torch.float64)) == list(range(size))
    assert kept(mixed(Flame(), torch.ones(size, 8), 0)) == list(range(size))


def test_zero_rows_stay_zero() -> None:
    found = mixed(Flame(), torch.zeros(5, 8), 1)
    assert bool(found.mixing.isfinite().all())


def test_fewer_than_three_rows_or_no_majority_is_refused() -> None:
    check = registry.defenses().get("flame").precondition
    assert check is not None
    assert check(Population(clients=7, declared_malicious=3), {}) is None
    assert "flame needs n >= 7" in str(check(Population(clients=6, declared_malicious=3), {}))
    assert "flame needs n >= 3" in str(check(Population(clients=2, declared_malicious=0), {}))
