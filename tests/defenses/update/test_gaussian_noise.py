"""Gaussian noise: as much as it says, anew for each client and round."""

import numpy as np
import pytest
import torch
from scipy import stats

from fedsec.api import Update
from fedsec.defenses.update.gaussian_noise import GaussianNoise

from .support import heavy, view


@pytest.mark.parametrize(("sigma", "relative"), [(1e-3, True), (2.0, True), (0.05, False)])
def test_the_noise_is_normal_and_of_the_size_that_is_asked_for(sigma: float, relative: bool) -> None:
    sent = heavy(20_000, seed=1)
    got = GaussianNoise(sigma=sigma, relative=relative).on_update(Update(sent, 7), view((20_000,)))
    noise = (got.vector - sent).double().numpy()
    norm = np.linalg.norm(sent.numpy().astype(np.float64))
    spread = sigma * norm / 20_000**0.5 if relative else sigma
    assert got.examples == 7
    assert np.linalg.norm(noise) == pytest.approx(spread * 20_000**0.5, rel=0.03)
    assert stats.kstest(noise / spread, "norm").pvalue > 1e-4
    assert abs(np.corrcoef(noise, sent.numpy())[0, 1]) < 0.03


def test_it_comes_from_the_views_generator_alone() -> None:
    sent, state = heavy(64, seed=0), torch.get_rng_state()
    one, same, other = (GaussianNoise(sigma=0.1).on_update(Update(sent, 1), view((64,), seed=s)) for s in (0, 0, 1))
    assert torch.equal(one.vector, same.vector)
    assert not torch.equal(one.vector, other.vector)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(sent, heavy(64, seed=0))


def test_no_noise_and_nothing_to_hide() -> None:
    sent = heavy(64, seed=0)
    assert torch.equal(GaussianNoise(sigma=0.0).on_update(Update(sent, 1), view((64,))).vector, sent)
    nothing = torch.zeros(64)
    assert not GaussianNoise(sigma=1.0).on_update(Update(nothing, 1), view((64,))).vector.any()
    assert GaussianNoise(sigma=1.0, relative=False).on_update(Update(nothing, 1), view((64,))).vector.all()
