"""Rows: distances and weighted sums against slow references in numpy fp64."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec.maths import fp64_blocks
from fedsec.maths.rows import Rows

from ..bounds import off, within

pytestmark = pytest.mark.numeric

OUTLIERS = (1e3, 1e6, 1e30)
EXACT = 1e-9
"""Relative error of squared distances: users are promised 1e-6."""


def _matrix(rows: int, columns: int, seed: int = 0, spread: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator) * spread


def _slow_distances(matrix: torch.Tensor) -> np.ndarray:
    values = matrix.numpy().astype(np.float64)
    return np.array([[np.sum((a - b) ** 2) for b in values] for a in values])


def _stochastic(kept: int, rows: int, seed: int = 0) -> torch.Tensor:
    raw = torch.rand(kept, rows, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.01
    return raw / raw.sum(dim=1, keepdim=True)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 40)),
    spread=st.sampled_from((1e-6, 1e-3, 1.0, 1e3)),
    offset=st.sampled_from((0.0, 1.0, -1e-3)),
    seed=st.integers(0, 10_000),
)
def test_distances_of_honest_rows_equal_the_slow_ones(
    shape: tuple[int, int], spread: float, offset: float, seed: int
) -> None:
    matrix = _matrix(*shape, seed=seed, spread=spread) + offset * spread
    # A row far above the median norm is scaled down by design: keep to those that are not.
    norms = matrix.norm(dim=1)
    matrix = matrix[norms <= 50 * norms.median()]
    found = Rows(matrix).squared_distances().numpy()
    slow = _slow_distances(matrix)
    within("distances: honest rows", off(found, slow), EXACT)
    assert (found == found.T).all()
    assert (np.diag(found) == 0).all()


@pytest.mark.parametrize("outlier", OUTLIERS)
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("hostile", [1, 4])
def test_hostile_rows_do_not_blur_the_distances_among_honest_ones(outlier: float, sign: float, hostile: int) -> None:
    honest = 0.1 + _matrix(hostile + 3, 300, spread=1e-3)
    matrix = torch.cat([honest, torch.full((hostile, 300), sign * outlier)])
    order = torch.randperm(len(matrix), generator=torch.Generator().manual_seed(1))
    found = Rows(matrix[order]).squared_distances()
    back = order.argsort()
    found = found[back][:, back].numpy()
    count = len(honest)
    within("distances: honest rows beside huge ones", off(found[:count, :count], _slow_distances(honest)), EXACT)
    assert (found[count:, :count] > 100 * found[:count, :count].max()).all()
    assert np.isfinite(found).all()


@pytest.mark.parametrize("outlier", [1e3, 1e6, 1e30])
def test_a_row_far_above_the_median_norm_counts_as_one_of_a_hundred_times_that_norm(outlier: float) -> None:
    honest = _matrix(6, 50)
    median = honest.norm(dim=1).sort().values[3]  # of the seven rows, the outlier last
    matrix = torch.cat([honest, torch.full((1, 50), outlier)])
    capped = torch.cat([honest, torch.full((1, 50), float(100 * median / 50**0.5))])
    within("distances: a capped row", off(Rows(matrix).squared_distances(), _slow_distances(capped)), 1e-5)


def test_mixtures_of_honest_rows_keep_their_distances_beside_a_mixture_with_a_huge_row() -> None:
    honest = 0.1 + _matrix(6, 200, spread=1e-3)
    matrix = torch.cat([honest, torch.full((1, 200), 1e30)])
    mixing = torch.zeros(4, 7, dtype=torch.float64)
    for line, pair in enumerate([(0, 1), (2, 3), (4, 5), (5, 6)]):
        mixing[line, list(pair)] = 0.5
    found = Rows(matrix, mixing).squared_distances().numpy()
    slow = _slow_distances(mixing[:3, :6] @ honest.double())
    within("distances: mixtures beside a huge row", off(found[:3, :3], slow), EXACT)
    assert (found[3, :3] > 100 * slow.max()).all()


@pytest.mark.parametrize("negated", [0, 1, 2])
def test_rows_of_the_same_norm_on_the_other_side_do_not_blur_honest_distances(negated: int) -> None:
    """A flipped row may itself be the row of median norm, on which the rows are centred."""
    honest = 0.1 + _matrix(7, 300, spread=1e-3)
    matrix = torch.cat([honest, -honest[[3] * negated]])
    found = Rows(matrix).squared_distances()[:7, :7]
    within("distances: rows beside flipped ones", off(found, _slow_distances(honest)), EXACT)


@pytest.mark.parametrize("spread", [1e-30, 1e-15, 1e-6, 1.0, 1e6, 1e15])
@pytest.mark.parametrize("offset", [0.0, 1.0, 300.0])
def test_clusters_within_clusters_keep_their_distances(spread: float, offset: float) -> None:
    """Each pair is a thousand times closer than the next: no single centre serves them all."""
    generator = torch.Generator().manual_seed(5)
    base = torch.randn(1, 2000, generator=generator, dtype=torch.float64) + offset
    rows = [base + 10.0**-power * torch.randn(3, 2000, generator=generator) for power in (0, 1, 2, 3, 4)]
    matrix = (torch.cat(rows) * spread).float()
    order = torch.randperm(len(matrix), generator=generator)
    matrix = matrix[order]
    expected = _slow_distances(matrix)
    within("distances: clusters within clusters", off(Rows(matrix).squared_distances(), expected), EXACT)


@pytest.mark.parametrize("kind", ["signs", "constant", "few values"])
def test_rows_of_few_values_keep_their_distances(kind: str) -> None:
    """One AdamW step from nothing moves every coordinate by as much; in fp32, sums of equal terms round one way."""
    signs = _matrix(12, 50_000).sign()
    matrix = {"signs": 0.0123 * signs, "constant": torch.full((12, 50_000), 0.0123) * torch.arange(1.0, 13)[:, None]}
    matrix["few values"] = (signs + _matrix(12, 50_000, seed=1).sign() / 3) * 1e-3
    expected = _slow_distances(matrix[kind])
    within("distances: rows of few values", off(Rows(matrix[kind]).squared_distances(), expected), EXACT)


def test_many_tight_clusters_keep_their_distances() -> None:
    """A pass for each of them, and none forgotten."""
    centres = _matrix(8, 4000, seed=3).repeat_interleave(4, dim=0)
    matrix = centres + 1e-5 * _matrix(32, 4000, seed=4)
    within("distances: tight clusters", off(Rows(matrix).squared_distances(), _slow_distances(matrix)), EXACT)


@pytest.mark.parametrize("copies", [2, 4, 7])
def test_copies_of_a_row_are_at_no_distance_of_each_other_among_others(copies: int) -> None:
    matrix = _matrix(9, 3000)
    matrix[:copies] = matrix[0]
    found = Rows(matrix).squared_distances()
    assert torch.equal(found[:copies, :copies], torch.zeros(copies, copies, dtype=torch.float64))
    within("distances: copies among others", off(found, _slow_distances(matrix)), EXACT)


def test_further_rows_stand_behind_the_others() -> None:
    matrix, more, mixing = _matrix(5, 60), _matrix(2, 60, seed=1), _stochastic(3, 5)
    both = Rows(matrix, mixing).beside(more)
    slow = torch.cat([mixing @ matrix.double(), more.double()])
    within("distances: further rows", off(both.squared_distances(), _slow_distances(slow)), EXACT)
    torch.testing.assert_close(both.gram(), slow @ slow.T, rtol=1e-9, atol=1e-9)
    weights = torch.tensor([0.5, 0.25, -1.0, 2.0, 3.0], dtype=torch.float64)
    torch.testing.assert_close(both.weighted_sum(weights), (weights @ slow).float(), rtol=1e-6, atol=1e-6)
    plain = Rows(matrix).beside(more)
    torch.testing.assert_close(torch.cat(list(plain.chunks(7)), dim=1), torch.cat([matrix, more]))


def test_rows_may_be_a_file_that_is_read_block_by_block(tmp_path: Path) -> None:
    """Memory of this process's own grows by a few blocks, not by the rows."""
    clients, parameters = 20, 2_000_000  # 160 MB
    file = tmp_path / "rows"
    matrix = torch.from_file(str(file), shared=True, size=clients * parameters).view(clients, parameters)
    for row in range(clients):
        matrix[row] = torch.arange(parameters).remainder_(97 + row)
    before = _anonymous_memory()
    rows = Rows(matrix)
    distances = rows.squared_distances()
    found = rows.weighted_sum(torch.full((clients,), 1 / clients, dtype=torch.float64))
    assert _anonymous_memory() - before < 60e6
    slow = (matrix[0].double() - matrix[1].double()).square().sum()
    within("distances: rows in a file", off(distances[0, 1], slow), EXACT)
    torch.testing.assert_close(found[:5], matrix[:, :5].mean(dim=0))


def _anonymous_memory() -> int:
    """Bytes that this process has for itself, mapped files aside."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def test_identical_rows_are_at_no_distance() -> None:
    matrix = _matrix(1, 50).repeat(4, 1)
    assert torch.equal(Rows(matrix).squared_distances(), torch.zeros(4, 4, dtype=torch.float64))


def test_all_zero_rows_are_at_no_distance() -> None:
    assert torch.equal(Rows(torch.zeros(3, 5)).squared_distances(), torch.zeros(3, 3, dtype=torch.float64))


def test_rows_beside_a_majority_of_zero_rows_keep_their_distances() -> None:
    matrix = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    np.testing.assert_allclose(Rows(matrix).squared_distances().numpy(), _slow_distances(matrix), rtol=1e-12)


def test_one_row_alone() -> None:
    matrix = _matrix(1, 10)
    rows = Rows(matrix)
    assert len(rows) == 1
    assert rows.squared_distances().tolist() == [[0.0]]
    assert torch.equal(rows.weighted_sum(torch.ones(1, dtype=torch.float64)), matrix[0])


def test_distances_between_mixed_rows_are_those_of_the_mixtures() -> None:
    matrix, mixing = _matrix(6, 80), _stochastic(4, 6)
    mixed = Rows(matrix, mixing)
    slow = _slow_distances(mixing @ matrix.double())
    assert len(mixed) == 4
    within("distances: mixed rows", off(mixed.squared_distances(), slow), EXACT)


def test_mixing_twice_is_mixing_by_the_product() -> None:
    matrix, first, second = _matrix(6, 80), _stochastic(5, 6, 1), _stochastic(3, 5, 2)
    twice = Rows(matrix).mixed(first).mixed(second)
    once = Rows(matrix, second @ first)
    weights = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    torch.testing.assert_close(twice.squared_distances(), once.squared_distances(), rtol=1e-12, atol=0)
    torch.testing.assert_close(twice.weighted_sum(weights), once.weighted_sum(weights), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    "mixing",
    [
        torch.ones(6),
        torch.eye(5),
        torch.full((2, 5), 0.2),
        torch.full((2, 7), 1 / 7),
        torch.eye(6)[None],
        torch.full((2, 6), torch.nan),
        torch.tensor([[torch.inf, -torch.inf, 0, 0, 0, 0]]),
    ],
    ids=["vector", "square", "narrow", "wide", "3-D", "nan", "infinite"],
)
def test_a_mixing_matrix_of_the_wrong_shape_or_with_non_finite_numbers_is_refused(mixing: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="mixing matrix"):
        Rows(_matrix(6, 4), mixing.double())


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_lines_of_any_sum_give_the_products_of_the_combinations(seed: int, kept: int) -> None:
    """Clipping scales rows, so their lines do not sum to 1; nothing of size kept x parameters is formed."""
    generator = torch.Generator().manual_seed(seed)
    matrix = 5 + torch.randn(6, 80, generator=generator)
    mixing = torch.randn(kept, 6, generator=generator, dtype=torch.float64)
    rows, slow = Rows(matrix, mixing), mixing @ matrix.double()
    torch.testing.assert_close(rows.gram(), slow @ slow.T, rtol=1e-9, atol=1e-7)
    torch.testing.assert_close(
        rows.squared_distances(),
        torch.cdist(slow, slow, compute_mode="donot_use_mm_for_euclid_dist").square(),
        rtol=1e-6,
        atol=1e-7,
    )
    torch.testing.assert_close(torch.cat(list(rows.chunks()), dim=1), slow.float(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(rows.part(10, 70), slow[:, 10:70])


def test_a_row_far_out_of_line_counts_as_capped_in_distances_and_sums_alike() -> None:
    matrix = torch.cat([_matrix(5, 80), 1e9 * _matrix(1, 80)])
    honest = matrix[:5].norm(dim=1).sort().values
    total = Rows(matrix).weighted_sum(torch.tensor([0, 0, 0, 0, 0, 1.0], dtype=torch.float64))
    assert honest[0] * 100 <= total.norm() * (1 + 1e-6)
    assert total.norm() <= honest[-1] * 100 * (1 + 1e-6)
    gram = Rows(matrix).gram()
    assert float(gram[5, 5]) == pytest.approx(float(total.norm()) ** 2, rel=1e-5)


@pytest.mark.parametrize("columns", [6, 7, 8, 9, 15])
def test_the_chunk_border_changes_nothing(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, weights = _matrix(5, columns), torch.rand(5, dtype=torch.float64)
    whole, whole_sum = Rows(matrix).squared_distances(), Rows(matrix).weighted_sum(weights)
    monkeypatch.setattr(fp64_blocks, "ENTRIES", 35)
    torch.testing.assert_close(Rows(matrix).squared_distances(), whole, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(Rows(matrix).weighted_sum(weights), whole_sum, rtol=0, atol=0)


@settings(max_examples=40, deadline=None)
@given(
    weights=st.lists(st.floats(-10, 10), min_size=1, max_size=8),
    columns=st.integers(1, 30),
    seed=st.integers(0, 10_000),
)
def test_the_weighted_sum_is_that_of_fp64(weights: Sequence[float], columns: int, seed: int) -> None:
    matrix = _matrix(len(weights), columns, seed)
    found = Rows(matrix).weighted_sum(torch.tensor(weights, dtype=torch.float64))
    terms = np.array(weights)[:, None] * matrix.numpy().astype(np.float64)
    assert found.dtype == torch.float32
    error = np.abs(found.numpy() - terms.sum(axis=0)) / np.abs(terms).sum(axis=0).clip(min=1e-30)
    within("weighted sums", error.max(), 3e-7)  # rounding to fp32 alone takes 6e-8


def test_a_weighted_sum_does_not_cancel_in_fp32() -> None:
    matrix = torch.tensor([[1e8], [1.0], [-1e8]])
    assert Rows(matrix).weighted_sum(torch.ones(3, dtype=torch.float64)).tolist() == [1.0]


def test_a_row_of_weight_zero_leaves_no_trace() -> None:
    matrix = torch.tensor([[1.0, 2.0], [1e30, -1e30]])
    found = Rows(matrix).weighted_sum(torch.tensor([1.0, 0.0], dtype=torch.float64))
    assert found.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("count", [2, 3, 7, 12, 49])
def test_the_mean_of_equal_rows_is_that_row_bit_for_bit(count: int) -> None:
    row = _matrix(1, 200)
    weights = torch.full((count,), 1.0 / count, dtype=torch.float64)
    assert torch.equal(Rows(row.repeat(count, 1)).weighted_sum(weights), row[0])


def test_nothing_is_changed_in_place() -> None:
    matrix, mixing = _matrix(5, 40), _stochastic(3, 5)
    weights = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64)
    matrix[4] *= 1e6  # so that the cap has something to do
    before = matrix.clone(), mixing.clone(), weights.clone()
    rows = Rows(matrix, mixing)
    distances, total = rows.squared_distances(), rows.weighted_sum(weights)
    again = rows.squared_distances(), rows.weighted_sum(weights)
    assert torch.equal(distances, again[0])
    assert torch.equal(total, again[1])
    for now, then in zip((matrix, mixing, weights), before, strict=True):
        assert torch.equal(now, then)


def test_the_caller_may_change_what_it_was_given() -> None:
    rows = Rows(_matrix(4, 20))
    first = rows.squared_distances()
    expected = first.clone()
    first.fill_(7.0)
    assert torch.equal(rows.squared_distances(), expected)


def test_a_mixing_matrix_in_single_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="fp64"):
        Rows(_matrix(6, 4), torch.eye(6))
