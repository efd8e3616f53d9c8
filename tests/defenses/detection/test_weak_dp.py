"""Weak DP: the bound, the noise, and that both act."""

import pytest
import torch

from fedsec.defenses.detection.weak_dp import WeakDp

from .support import around, mixed, normal


@pytest.mark.parametrize("seed", range(4))
def test_rows_are_cut_to_the_bound_and_shorter_ones_stay(seed: int) -> None:
    matrix = normal(6, 20, seed=seed) * torch.linspace(0.1, 3, 6)[:, None]
    found = mixed(WeakDp(bound=2.0), matrix, 1).mixing @ matrix.double()
    for row, line in zip(matrix.double(), found, strict=True):
        norm = sum(value**2 for value in row.tolist()) ** 0.5
        assert torch.allclose(line, row * min(1.0, 2.0 / norm))


def test_the_aggregate_gets_noise_of_sigma_and_no_other_twice() -> None:
    """Elsewhere the class is never called, and is the plain mean."""
    plain = torch.ones(20_000)
    context = around(20_000, 3, 1)
    first = WeakDp(sigma=0.5).on_aggregate(plain, context) - plain
    second = WeakDp(sigma=0.5).on_aggregate(plain, context) - plain
    assert float(first.std()) == pytest.approx(0.5, rel=0.03)
    assert abs(float(first.mean())) < 0.02
    assert not torch.equal(first, second)
    assert torch.equal(WeakDp(sigma=0.0).on_aggregate(plain, context), plain)
