"""Quantization: few levels, the right expectation, one bit a sign."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec.api import Update
from fedsec.defenses.update.quantization import Quantization

from .support import heavy, view


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), bits=st.integers(2, 16), scale=st.sampled_from([1e-20, 1.0, 1e5]))
def test_every_entry_goes_to_a_level_next_to_it(seed: int, bits: int, scale: float) -> None:
    sent = heavy(60, seed) * scale
    client = view((10, 5), (10,))
    got = Quantization(bits=bits).on_update(Update(sent, 3), client)
    for info in client.layout.parameters:
        true, rounded = (client.layout.tensor(v, info.name).numpy().astype(np.float64) for v in (sent, got.vector))
        step = np.abs(true).max() / (2 ** (bits - 1) - 1)
        levels = rounded / step
        assert np.abs(levels - levels.round()).max() < 1e-2
        assert np.abs(levels).max() < 2 ** (bits - 1)
        assert (np.abs(rounded - true) < 1.01 * step).all()
        assert (rounded[true == 0.0] == 0.0).all()
    assert got.examples == 3


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_the_expectation_is_the_entry(bits: int) -> None:
    sent = torch.tensor([1.0, -0.77, 0.31, 0.02, 0.0]).repeat(4_000)
    got = Quantization(bits=bits).on_update(Update(sent, 1), view((20_000,))).vector.view(4_000, 5)
    step = 1.0 / (2 ** (bits - 1) - 1)
    np.testing.assert_allclose(got.mean(dim=0), sent[:5], atol=5 * step / 2 / 4_000**0.5)
    true = sent[:5].double().numpy()
    spread = (true / step - np.floor(true / step)) * (np.floor(true / step) + 1 - true / step) * step**2
    np.testing.assert_allclose(got.double().var(dim=0), spread, atol=0.05 * step**2)


def test_one_bit_is_the_sign_times_the_mean_magnitude_and_has_no_zero() -> None:
    sent = heavy(5_000, seed=3)
    got = Quantization(bits=1).on_update(Update(sent, 1), view((5_000,))).vector
    assert len(got.unique()) == 2
    np.testing.assert_allclose(got.abs(), np.full(5_000, np.abs(sent.numpy()).mean()), rtol=1e-5)
    assert torch.equal(got[sent != 0.0].sign(), sent[sent != 0.0].sign())
    assert float(got[sent == 0.0].sign().mean()) == pytest.approx(0.0, abs=0.2)


def test_draws_from_the_view_and_leaves_the_input_alone() -> None:
    sent, state = heavy(64, seed=0), torch.get_rng_state()
    one, same, other = (Quantization(bits=4).on_update(Update(sent, 1), view((64,), seed=s)).vector for s in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(sent, heavy(64, seed=0))
    assert torch.equal(state, torch.get_rng_state())
    assert not Quantization(bits=4).on_update(Update(torch.zeros(64), 1), view((64,))).vector.any()


@pytest.mark.parametrize("bits", [1, 8])
def test_what_is_not_finite_stays_for_the_server_to_refuse(bits: int) -> None:
    for bad in (float("nan"), float("inf"), -float("inf")):
        update = Update(torch.tensor([1.0, bad]), 1)
        assert not Quantization(bits=bits).on_update(update, view((2,))).vector.isfinite().all()
