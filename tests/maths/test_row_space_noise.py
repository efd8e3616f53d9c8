"""Row spaces under noise of known size: rank, edge and expected residuals against random matrix theory."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec.maths.row_space import row_space

pytestmark = pytest.mark.numeric

ROWS, WIDTH = 240, 80


def noisy(
    strengths: list[float], seed: int, sizes: tuple[float, ...] = (1.0,)
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Matrices of ROWS rows with noise of these sizes, and the signal's directions [rank, WIDTH].

    Args:
        strengths: singular values of each matrix's signal over its noise's largest one.
        seed: of everything.
        sizes: standard deviation of each matrix's noise.
    """
    generator = torch.Generator().manual_seed(seed)
    right = torch.linalg.qr(torch.randn(WIDTH, len(strengths), generator=generator, dtype=torch.float64)).Q
    found = []
    for size in sizes:
        left = torch.linalg.qr(torch.randn(ROWS, len(strengths), generator=generator, dtype=torch.float64)).Q
        signal = (left * torch.tensor(strengths, dtype=torch.float64)) @ right.T * (ROWS**0.5 + WIDTH**0.5)
        found.append(size * (signal + torch.randn(ROWS, WIDTH, generator=generator, dtype=torch.float64)))
    return found, right.T


def test_noise_alone_has_no_row_space() -> None:
    ranks = [row_space(noisy([], seed)[0], noise=[1.0]).rank for seed in range(60)]
    assert sum(rank > 0 for rank in ranks) <= 1


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    strengths=st.lists(st.floats(2.0, 100.0), min_size=1, max_size=12),
    size=st.sampled_from([1e-9, 1.0, 1e4]),
)
def test_every_direction_beyond_the_edge_is_kept_and_no_other(seed: int, strengths: list[float], size: float) -> None:
    matrices, _ = noisy(strengths, seed, (size,))
    assert row_space(matrices, noise=[size]).rank == len(strengths)


def test_a_direction_below_the_edge_is_not_believed() -> None:
    # Benaych-Georges and Nadakuditi (2012): below (rows width)^(1/4) of unit noise nothing of it shows at all.
    lost = 0.5 * (ROWS * WIDTH) ** 0.25 / (ROWS**0.5 + WIDTH**0.5)
    assert row_space(noisy([10.0, lost], seed=3)[0], noise=[1.0]).rank == 1


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_matrices_of_different_noise_count_by_their_own(seed: int) -> None:
    """A loud matrix says no more than a quiet one of the same signal over noise; together they say more."""
    matrices, directions = noisy([3.0, 5.0, 20.0], seed, (1e-3, 1.0, 1e2))
    space = row_space(matrices, noise=[1e-3, 1.0, 1e2])
    alone = [row_space([one], noise=[size]) for one, size in zip(matrices, (1e-3, 1.0, 1e2), strict=True)]
    assert space.rank == 3
    assert float(space.residuals(directions).max()) < min(float(one.residuals(directions).max()) for one in alone)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), strength=st.floats(4.0, 1e4))
def test_expected_residuals_are_those_of_perturbation_theory(seed: int, strength: float) -> None:
    """A right singular vector of value s leans by N(0, 1 / s^2) towards each of the other WIDTH - rank directions."""
    strengths = [strength, 2 * strength, 8 * strength]
    matrices, directions = noisy(strengths, seed)
    space = row_space(matrices, noise=[1.0])
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(200, 3, generator=generator, dtype=torch.float64) @ directions
    theory = torch.zeros(200, dtype=torch.float64)
    for direction, one in zip(directions, strengths, strict=True):  # independently of the code: by the true values
        leans = (WIDTH - 3) / (one * (ROWS**0.5 + WIDTH**0.5)) ** 2
        theory += (vectors @ direction) ** 2 / vectors.square().sum(dim=1) * leans
    expected = space.expected(vectors)
    torch.testing.assert_close(expected, theory.sqrt(), rtol=0.1, atol=0.0)
    ratios = space.residuals(vectors) / expected
    assert float(ratios.min()) > 0.6
    assert float(ratios.max()) < 1.5


@pytest.mark.parametrize("strength", [4.0, 20.0, 1e3])
def test_the_ratio_tells_true_from_wrong_where_no_fixed_residual_does(strength: float) -> None:
    """Misses and false accepts at 1.5 times the expected residual, over spans whose directions differ in strength."""
    missed = accepted = 0
    close, far = 0.0, 1.0
    for seed in range(10):
        matrices, directions = noisy([strength, 3 * strength, 10 * strength, 100 * strength], seed)
        space = row_space(matrices, noise=[1.0])
        generator = torch.Generator().manual_seed(1_000 + seed)
        true = torch.randn(50, 4, generator=generator, dtype=torch.float64) @ directions
        # Wrong ones share all but a tenth of their length with the strongest direction.
        wrong = directions[3] + 0.1 * torch.randn(2_000, WIDTH, generator=generator, dtype=torch.float64) / WIDTH**0.5
        missed += int((space.residuals(true) > 1.5 * space.expected(true)).sum())
        accepted += int((space.residuals(wrong) <= 1.5 * space.expected(wrong)).sum())
        close = max(close, float(space.residuals(true).max()))
        far = min(far, float(space.residuals(wrong).min()))
    assert missed <= 2  # of 500
    assert accepted <= 20  # of 20,000
    if strength < 10.0:
        assert close > far  # one threshold for all residuals either misses true ones or lets wrong ones pass
