"""DP-SGD's step: what it bounds, what it adds, and what it equals without noise."""

from math import inf, nan
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from fedsec import registry
from fedsec.api import PrivacyTerms
from fedsec.defenses.privacy.dp_lora import DPLoRA
from fedsec.defenses.privacy.dp_sgd import DPSGD, clipped_sum
from fedsec.privacy.accounting import Spent, epsilon_of

from ...bounds import within

TERMS = PrivacyTerms(sampling_rate=0.25, steps=20, expected_rows=8.0)
SIZE = 50


def _step(defense: DPSGD, each: torch.Tensor, *, expected: float = 8.0, seed: int = 0) -> Any:
    defense.calibrate(TERMS)
    view = SimpleNamespace(
        example_gradients=lambda: each.clone(),
        expected_rows=expected,
        client=SimpleNamespace(generator=torch.Generator().manual_seed(seed)),
    )
    return defense.on_step(view)  # type: ignore[arg-type]


def _rows(count: int, scale: float = 1.0, seed: int = 1) -> torch.Tensor:
    return scale * torch.randn(count, SIZE, generator=torch.Generator().manual_seed(seed))


@pytest.mark.numeric
@given(st.integers(1, 12), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.integers(0, 1000))
def test_a_clipped_sum_is_that_of_an_fp64_loop(count: int, scale: float, bound: float, seed: int) -> None:
    each = _rows(count, scale, seed)
    expected = sum((row * min(1.0, bound / np.linalg.norm(row)) for row in each.double().numpy()), start=np.zeros(SIZE))
    found, share = clipped_sum(each, bound)
    # Relative to what was added up, not to what may be left of it.
    size = sum(min(float(row.norm()), bound) for row in each)
    within("sums of clipped rows", np.linalg.norm(found.double().numpy() - expected) / size, 1e-6)
    assert share == pytest.approx(float((each.double().norm(dim=1) > bound).double().mean()))


@given(st.integers(2, 8), st.floats(1e-3, 1e6), st.floats(1e-2, 1e2), st.integers(0, 1000))
def test_one_record_moves_the_sum_by_at_most_the_bound(count: int, scale: float, bound: float, seed: int) -> None:
    each = _rows(count, scale, seed)
    whole, _ = clipped_sum(each, bound)
    for place in range(count):
        without, _ = clipped_sum(torch.cat([each[:place], each[place + 1 :]]), bound)
        assert float((whole.double() - without.double()).norm()) <= bound * (1 + 1e-5 * count)


@pytest.mark.parametrize("hostile", [inf, -inf, nan, 3e38])
def test_a_record_that_breaks_its_gradient_moves_nothing_else(hostile: float) -> None:
    each = _rows(4)
    honest, _ = clipped_sum(each[1:], 1.0)
    each[0, 3] = hostile
    found, _ = clipped_sum(each, 1.0)
    assert bool(found.isfinite().all())
    assert float((found - honest).norm()) <= 1 + 1e-5


def test_without_noise_and_bound_it_is_sgd() -> None:
    each = _rows(8)
    found = _step(DPSGD(epsilon=0.0, clip=inf), each)
    assert torch.allclose(found.value, each.mean(dim=0), atol=1e-6)
    assert found.measurements["clip-fraction"] == 0
    assert found.spent.noise_multiplier == 0


def test_rows_are_clipped_one_by_one_and_not_their_mean() -> None:
    """Two opposite rows of norm 100 and one of norm 1: a clip after the mean would leave the last as it is."""
    each = torch.zeros(3, SIZE)
    each[0, 0], each[1, 0], each[2, 1] = 100.0, -100.0, 1.0
    found = _step(DPSGD(epsilon=0.0, clip=0.5), each, expected=3.0)
    assert torch.allclose(found.value, torch.zeros(SIZE).index_fill(0, torch.tensor([1]), 0.5 / 3), atol=1e-7)
    assert found.measurements["clip-fraction"] == 1


@pytest.mark.parametrize("rows", [0, 5])
def test_its_noise_is_as_large_as_it_says_whatever_the_batch_holds(rows: int) -> None:
    """A chi-square test over 200 steps of 50 values, at one in a million; an empty batch gets the same noise."""
    defense, clip, expected = DPSGD(epsilon=0.0, noise_multiplier=1.3, clip=2.0), 2.0, 8.0
    each = _rows(rows, 0.0)
    drawn = torch.stack([_step(defense, each, expected=expected, seed=seed).value for seed in range(200)])
    total = float((drawn.double() * expected / (1.3 * clip)).square().sum())
    low, high = chi2.ppf([5e-7, 1 - 5e-7], drawn.numel())
    assert low < total < high
    assert abs(float(np.corrcoef(drawn[0], drawn[1])[0, 1])) < 0.7, "each step draws anew"


def test_what_it_measures() -> None:
    each = _rows(8, 10.0)
    found = _step(DPSGD(epsilon=0.0, noise_multiplier=2.0, clip=1.0), each)
    assert found.measurements["clip-fraction"] == 1
    assert found.measurements["noise-norm"] == pytest.approx(2.0 * SIZE**0.5 / 8, rel=0.5)
    assert found.measurements["signal-norm"] == pytest.approx(float(clipped_sum(each, 1.0)[0].norm()) / 8)
    assert "clip-fraction" not in _step(DPSGD(epsilon=0.0, noise_multiplier=2.0), each[:0]).measurements


def test_a_target_is_met_by_what_it_says_it_spends() -> None:
    settled = DPSGD(epsilon=3.0, delta=1e-6).calibrate(TERMS)
    noise = settled.mechanism.noise_multiplier
    assert 2.9 < epsilon_of([Spent(noise, TERMS.sampling_rate, TERMS.steps)], 1e-6) <= 3.0
    assert settled.delta == 1e-6


def test_it_draws_nothing_without_having_settled_on_its_noise() -> None:
    with pytest.raises(RuntimeError, match="has to choose its noise"):
        DPSGD().on_step(SimpleNamespace())  # type: ignore[arg-type]


@pytest.mark.parametrize("settings", [{"epsilon": 8.0, "noise_multiplier": 1.0}, {"clip": 0.0}, {"delta": 1.0}])
@pytest.mark.parametrize("kind", [DPSGD, DPLoRA])
def test_contradictory_settings_are_refused(kind: type[DPSGD], settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="epsilon"):
        kind(**settings)


def test_a_guarantee_is_never_a_cards() -> None:
    assert registry.defenses().get("dp-sgd").guarantee is None
    assert registry.defenses().get("dp-lora").guarantee is None
