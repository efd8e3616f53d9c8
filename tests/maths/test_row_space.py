import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec.maths.activations import layer_input
from fedsec.maths.row_space import rounding_noise, row_space

from ..bounds import within

pytestmark = pytest.mark.numeric


def low_rank(rank: int, width: int, seed: int, rows: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """A product [rows, width] and its right factor [rank, width]."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(rank, width, generator=generator, dtype=torch.float64)
    return torch.randn(rows, rank, generator=generator, dtype=torch.float64) @ inputs, inputs


def reference_residuals(matrix: torch.Tensor, vectors: torch.Tensor) -> np.ndarray:
    """Relative distance from the row space by plain least squares, one vector at a time."""
    out = []
    for vector in vectors.numpy():
        weights, *_ = np.linalg.lstsq(matrix.numpy().T, vector, rcond=1e-9)
        out.append(np.linalg.norm(matrix.numpy().T @ weights - vector) / np.linalg.norm(vector))
    return np.array(out)


@settings(max_examples=25, deadline=None)
@given(
    rank=st.integers(1, 15),
    width=st.integers(17, 40),
    seed=st.integers(0, 10_000),
    scale=st.sampled_from([1e-9, 1.0, 1e6]),
)
def test_finds_the_rank_and_only_its_rows(rank: int, width: int, seed: int, scale: float) -> None:
    matrix, inputs = low_rank(rank, width, seed)
    space = row_space([matrix * scale])
    outside = torch.randn(5, width, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    assert space.rank == rank
    within("residuals: fp64", space.residuals(inputs).max(), 1e-9)
    vectors = torch.cat([inputs, outside])
    error = np.abs(space.residuals(vectors).numpy() - reference_residuals(matrix, vectors)).max()
    within("residuals: beside least squares", error, 1e-8)


def test_fp32_residuals_keep_single_precision() -> None:
    matrix, inputs = low_rank(8, 64, 0)
    within("residuals: fp32", row_space([matrix]).residuals(inputs.float()).max(), 1e-6)


def test_known_noise_sets_rank_and_explains_residuals() -> None:
    matrix, inputs = low_rank(6, 48, 3, rows=144)
    generator = torch.Generator().manual_seed(9)
    noisy = matrix + 0.01 * torch.randn(matrix.shape, generator=generator, dtype=torch.float64)
    space = row_space([noisy], noise=[0.01])
    assert space.rank == 6
    ratio = space.residuals(inputs) / space.expected(inputs)
    assert float(ratio.min()) > 0.5
    assert float(ratio.max()) < 2.0


def test_unknown_noise_without_a_clear_gap() -> None:
    matrix, _ = low_rank(6, 48, 3, rows=144)
    generator = torch.Generator().manual_seed(9)
    space = row_space([matrix + 0.5 * torch.randn(matrix.shape, generator=generator, dtype=torch.float64)])
    assert space.rank == 6


def test_full_and_empty_spaces() -> None:
    generator = torch.Generator().manual_seed(0)
    assert row_space([torch.randn(60, 16, generator=generator)], noise=[1e-6]).full
    assert row_space([torch.randn(60, 16, generator=generator)], noise=[1.0]).rank == 0


def test_rounding_noise_is_what_storing_a_step_leaves() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = 0.05 * torch.randn(200_000, generator=generator)
    step = 1e-6 * torch.randn(200_000, generator=generator, dtype=torch.float64)
    stored = (weights.double() + step).float()
    error = (stored - weights).double() - step
    whitened = error / rounding_noise(stored)
    assert 0.9 < float(whitened.square().mean().sqrt()) < 1.1


def test_layer_input_stops_and_leaves_the_model_alone() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    value = torch.ones(1, 3)
    found = layer_input(model, "2", input=value)
    torch.testing.assert_close(found, model[1](model[0](value)).detach())
    assert not found.requires_grad
    assert not model[2]._forward_pre_hooks
    model.unused = torch.nn.Linear(1, 1)
    holder = torch.nn.ModuleDict({"never": torch.nn.Linear(1, 1)})
    holder.forward = lambda: None
    with pytest.raises(ValueError, match="does not call never"):
        layer_input(holder, "never")


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), weak=st.sampled_from([1e-6, 3e-6, 1e-5]))
def test_a_weak_direction_behind_the_largest_gap_is_kept(seed: int, weak: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    left, _ = torch.linalg.qr(torch.randn(96, 7, generator=generator, dtype=torch.float64))
    right, _ = torch.linalg.qr(torch.randn(32, 7, generator=generator, dtype=torch.float64))
    strengths = torch.tensor([1.0, 0.5, 0.2, 0.1, 0.05, 0.02, weak], dtype=torch.float64)
    noise = 1e-9 * torch.randn(96, 32, generator=generator, dtype=torch.float64)
    space = row_space([left @ torch.diag(strengths) @ right.T + noise])
    # independent rule: what a product of these sizes must hold above the largest singular value of noise alone
    top = float(np.linalg.svd(noise.numpy(), compute_uv=False)[0])
    assert space.rank == int((strengths > 10 * top).sum()) == 7
    assert float(space.residuals(right.T).max()) < 20 * top / weak
