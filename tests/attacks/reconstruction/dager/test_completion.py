"""Completion: what is left of a low-rank matrix gives the rest, and nothing that is known is touched."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fedsec.attacks.reconstruction.dager.completion import complete
from fedsec.maths.row_space import row_space

from ....bounds import within

pytestmark = pytest.mark.numeric


def low_rank(rank: int, seed: int, rows: int = 96, width: int = 40, spread: float = 10.0) -> torch.Tensor:
    """A matrix [rows, width] whose directions differ in strength by up to `spread`, rounded to fp32 as updates are."""
    generator = torch.Generator().manual_seed(seed)
    strengths = torch.logspace(0, -float(np.log10(spread)), rank, dtype=torch.float64)
    left = torch.randn(rows, rank, generator=generator, dtype=torch.float64)
    return ((left * strengths) @ torch.randn(rank, width, generator=generator, dtype=torch.float64)).float()


def drawn(shape: torch.Size, keep: float, seed: int) -> torch.Tensor:
    """Which entries are known."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed + 1)) < keep


@settings(max_examples=20, deadline=None)
@example(rank=2, keep=0.6, seed=2, scale=1e-9)  # growing left rank 4 before it had converged
@example(rank=1, keep=0.6, seed=148, scale=1.0)  # the strongest of four directions was made up
@example(rank=4, keep=0.6, seed=413, scale=1e4)  # sweeps without a ridge stop short of rank 4
@example(rank=4, keep=0.6, seed=802, scale=1.0)  # as do those under a weaker one
@example(rank=4, keep=0.6, seed=213, scale=1e-9)  # growing had used up the sweeps
@example(rank=5, keep=0.6, seed=524, scale=1.0)  # rank 8, grown to, is slow to converge
@given(
    rank=st.integers(1, 6),
    keep=st.sampled_from([0.6, 0.75, 0.9]),
    seed=st.integers(0, 1_000),
    scale=st.sampled_from([1e-9, 1.0, 1e4]),
)
def test_random_entries_that_are_missing_come_back(rank: int, keep: float, seed: int, scale: float) -> None:
    true = low_rank(rank, seed) * scale
    known = drawn(true.shape, keep, seed)
    junk = torch.where(known, true, torch.full_like(true, 7.0))  # what stands at unknown places says nothing
    done = complete(junk, known)
    assert done.rank == rank
    within("completion: what is known", done.misfit, 1.2e-6)  # the floor of 3e-7 ends the fit
    assert torch.equal(done.values[known], true[known].double())
    error = (done.values - true.double())[~known].norm() / true.double()[~known].norm()
    within("completion: what is missing", error, 1e-4)
    within("completion: its own estimate", done.error, 1e-4)


@pytest.mark.parametrize("keep", [0.9, 0.7, 0.5])
def test_the_smallest_entries_come_back_too(keep: float) -> None:
    true = low_rank(4, seed=5, rows=200, width=64)
    threshold = true.abs().flatten().sort().values[int((1 - keep) * true.numel())]
    done = complete(true * (true.abs() >= threshold), true.abs() >= threshold)
    space = row_space([done.values])
    assert space.rank == done.rank == 4
    generators = torch.linalg.svd(true.double(), full_matrices=False).Vh[:4]
    within("completion: the row space", space.residuals(generators).max(), 1e-5)
    blind = row_space([true * (true.abs() >= threshold)])  # the pruned matrix itself says nothing of the kind
    assert blind.rank != 4 or float(blind.residuals(generators).max()) > 1e-3


@pytest.mark.parametrize(("rank", "keep"), [(4, 0.5), (6, 0.35)])
def test_a_rank_that_arrives_slowly_is_not_given_up(rank: int, keep: float) -> None:
    true = low_rank(rank, seed=1, rows=200, width=64)
    known = true.abs() >= true.abs().flatten().sort().values[int((1 - keep) * true.numel())]
    done = complete(true * known, known)
    assert done.rank == rank
    assert done.misfit <= 3e-7


def test_independent_reference_for_one_column() -> None:
    """A column of which one entry is missing, by plain least squares on the others' space."""
    true = low_rank(3, seed=2).double()
    known = torch.ones_like(true, dtype=torch.bool)
    known[10, 4] = False
    basis = np.linalg.svd(np.delete(true.numpy(), 10, axis=0), full_matrices=False)[2][:3].T
    weights, *_ = np.linalg.lstsq(np.delete(basis, 4, axis=0), np.delete(true.numpy()[10], 4), rcond=None)
    assert float(complete(true, known).values[10, 4]) == pytest.approx(float(basis[4] @ weights), rel=1e-4)


def test_noise_is_matched_down_to_its_own_size_only() -> None:
    true = low_rank(3, seed=7)
    generator = torch.Generator().manual_seed(0)
    norms = true.norm(dim=1, keepdim=True)
    noisy = true + 1e-2 * norms * torch.randn(true.shape, generator=generator) / true.shape[1] ** 0.5
    done = complete(noisy, drawn(true.shape, 0.8, 3), floor=1.05e-2)
    assert done.rank == 3
    assert 5e-3 < done.misfit <= 1.05e-2


def test_what_cannot_be_told_is_not_claimed() -> None:
    noise = torch.randn(96, 40, generator=torch.Generator().manual_seed(0))
    full = complete(noise, drawn(noise.shape, 0.9, 0))
    assert full.misfit > 0.05  # not of low rank
    sparse = low_rank(8, seed=1)
    few = complete(sparse, drawn(sparse.shape, 0.05, 1))
    assert few.rank * sum(sparse.shape) <= 0.05 * 1.3 * sparse.numel()  # never more unknowns than entries
    assert complete(torch.zeros(5, 4), torch.ones(5, 4, dtype=torch.bool)).rank == 0
    nothing = complete(sparse, torch.zeros_like(sparse, dtype=torch.bool))
    assert nothing.rank == 0
    assert not bool(nothing.values.any())


def test_rows_without_a_known_entry_stay_empty_and_inputs_as_they_are() -> None:
    true = low_rank(3, seed=4)
    known = drawn(true.shape, 0.8, 4)
    known[:5] = False
    before, mask = true.clone(), known.clone()
    done = complete(true, known)
    assert done.rank == 3
    assert not bool(done.values[:5].any())
    assert torch.equal(true, before)
    assert torch.equal(known, mask)


def test_a_fit_by_chance_is_told_from_one_that_holds() -> None:
    noise = torch.randn(96, 40, generator=torch.Generator().manual_seed(0))
    chance = complete(noise, drawn(noise.shape, 0.6, 0), floor=0.6)  # a high enough rank matches anything as closely
    true = low_rank(3, seed=9)
    holds = complete(true, drawn(true.shape, 0.6, 0), floor=0.6)
    assert max(chance.misfit, holds.misfit) <= 0.6
    assert chance.error > 1.0
    assert holds.error < 0.8
    assert complete(true, torch.zeros_like(true, dtype=torch.bool)).error == float("inf")


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1_000), rank=st.integers(1, 5))
def test_determined_rows_are_those_whose_known_entries_see_every_direction(seed: int, rank: int) -> None:
    true = low_rank(rank, seed)
    known = drawn(true.shape, 0.8, seed)
    known[:30, rank:] = False  # of these rows hardly as many are known as the rank
    done = complete(true, known)
    right = np.linalg.svd(true.double().numpy(), full_matrices=False)[2][:rank].T  # [width, rank]
    least = np.array([np.linalg.eigvalsh(right[one].T @ right[one])[0] for one in known.numpy()])
    clear = (least < 0.5 * 0.02) | (least > 2.0 * 0.02)
    assert np.array_equal(done.determined.numpy()[clear], (least > 0.02)[clear])
    wrong = (done.values - true.double()).norm(dim=1) / true.double().norm(dim=1)
    within("completion: determined rows", wrong[done.determined].max(), 1e-4)
