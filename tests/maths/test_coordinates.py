"""Coordinate-wise values against plain Python on exact fractions."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec.maths import coordinates as module
from fedsec.maths.coordinates import coordinate_wise, median, nearest_mean, trimmed_mean
from fedsec.maths.rows import Rows

LARGEST = float(np.finfo(np.float32).max)


def _middle(values: Sequence[float]) -> Fraction:
    ordered = sorted(map(Fraction, values))
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def _trimmed(values: Sequence[float], f: int) -> Fraction:
    kept = sorted(map(Fraction, values))[f : len(values) - f]
    return sum(kept, Fraction(0)) / len(kept)


def _nearest(values: Sequence[float], keep: int) -> Fraction:
    """By distance from the median, ties to the lower value."""
    exact, middle = list(map(Fraction, values)), _middle(values)
    return sum(sorted(exact, key=lambda value: (abs(value - middle), value))[:keep], Fraction(0)) / keep


def _ascending(values: Sequence[float]) -> np.ndarray:
    return np.sort(np.array([values], dtype=np.float32))


# Whole numbers tie often; quarters of them are exact in fp32 too.
VALUES = st.lists(st.integers(-60, 60).map(lambda value: value / 4), min_size=1, max_size=14)


@settings(max_examples=300, deadline=None)
@given(values=VALUES, data=st.data())
def test_the_three_means_are_those_of_the_plain_reference(values: list[float], data: st.DataObject) -> None:
    f = data.draw(st.integers(0, (len(values) - 1) // 2))
    keep = data.draw(st.integers(1, len(values)))
    ascending = _ascending(values)
    assert median(ascending)[0] == float(_middle(values))
    assert trimmed_mean(ascending, f)[0] == pytest.approx(float(_trimmed(values, f)), rel=1e-15, abs=1e-15)
    assert nearest_mean(ascending, keep)[0] == pytest.approx(float(_nearest(values, keep)), rel=1e-15, abs=1e-15)


@pytest.mark.parametrize("n", range(1, 24))
def test_every_number_kept_on_random_values(n: int) -> None:
    """From 1, where many values enter each place of the window in turn, to all."""
    values = np.random.default_rng(n).standard_normal((3, n)).astype(np.float32)
    for keep in range(1, n + 1):
        found = nearest_mean(np.sort(values, axis=1), keep)
        np.testing.assert_allclose(found, [float(_nearest(row.tolist(), keep)) for row in values], rtol=1e-12)


@pytest.mark.parametrize("hostile", [1e8, 1e10, 1e30, LARGEST])
def test_subtractive_trimming_would_forget_the_honest_values(hostile: float) -> None:
    honest = [0.01, 0.02, 0.03]
    ascending = _ascending([*honest, hostile, -hostile])
    expected = float(np.mean(np.float32(honest).astype(np.float64)))
    assert trimmed_mean(ascending, 1)[0] == pytest.approx(expected, rel=1e-12)
    assert nearest_mean(ascending, 3)[0] == pytest.approx(expected, rel=1e-12)
    sums = np.float32(sum(np.float32([*honest, hostile, -hostile])))  # what a difference of sums comes to
    assert (sums - np.float32(hostile) + np.float32(hostile)) / 3 != pytest.approx(expected, rel=1e-2)


def test_an_even_number_has_the_mean_of_the_two_middle_values_and_not_the_lower() -> None:
    assert median(_ascending([1.0, 2.0, 4.0, 100.0]))[0] == 3.0
    assert median(_ascending([1.0, 2.0, 4.0]))[0] == 2.0


def test_the_largest_numbers_do_not_overflow() -> None:
    ascending = _ascending([LARGEST] * 4)
    for found in (median(ascending), trimmed_mean(ascending, 1), nearest_mean(ascending, 3)):
        assert found.astype(np.float32).tolist() == [LARGEST]
    assert nearest_mean(_ascending([-LARGEST, 0.9 * LARGEST, LARGEST]), 2)[0] == pytest.approx(0.95 * LARGEST)


def test_of_two_equally_near_values_the_lower_is_kept() -> None:
    assert nearest_mean(_ascending([-1.0, 0.0, 1.0]), 2)[0] == -0.5
    assert nearest_mean(_ascending([-3.0, -1.0, 1.0, 3.0]), 1)[0] == -1.0


@pytest.mark.parametrize(("n", "f"), [(2, 1), (4, 2), (3, 5)])
def test_trimming_everything_is_refused(n: int, f: int) -> None:
    with pytest.raises(ValueError, match=f"trimming {f} on each side leaves nothing of {n} values"):
        trimmed_mean(np.zeros((1, n), dtype=np.float32), f)


@pytest.mark.parametrize("keep", [-1, 0, 4])
def test_keeping_none_or_more_than_there_are_is_refused(keep: int) -> None:
    with pytest.raises(ValueError, match=f"{keep} of 3 values"):
        nearest_mean(np.zeros((1, 3), dtype=np.float32), keep)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("block", [1, 60, 1 << 17])
def test_neither_threads_nor_blocks_change_a_bit(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = torch.randn(9, 1003, generator=torch.Generator().manual_seed(0))
    functions = (median, partial(trimmed_mean, f=2), partial(nearest_mean, keep=4))
    expected = [torch.from_numpy(one(np.sort(matrix.T.numpy(), axis=1)).astype(np.float32)) for one in functions]
    monkeypatch.setattr(module, "BLOCK", block)
    for count in (1, 2, 5):
        torch.set_num_threads(count)
        for one, slow in zip(functions, expected, strict=True):
            assert torch.equal(coordinate_wise(Rows(matrix), one), slow)


def test_several_chunks_are_put_together_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COLUMNS", 7)
    matrix = torch.randn(4, 31, generator=torch.Generator().manual_seed(0))
    expected = np.median(matrix.numpy().astype(np.float64), axis=0)
    np.testing.assert_allclose(coordinate_wise(Rows(matrix), median).numpy(), expected, rtol=1e-6)


def test_mixed_rows_are_what_is_sorted() -> None:
    matrix = torch.tensor([[0.0, 8.0], [2.0, 4.0], [6.0, 6.0], [7.0, 1.0]])
    mixing = torch.tensor([[0.5, 0.5, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=torch.float64)
    assert coordinate_wise(Rows(matrix, mixing), median).tolist() == [6.0, 6.0]


def test_only_the_rows_that_are_asked_for_count() -> None:
    matrix = torch.randn(6, 50, generator=torch.Generator().manual_seed(0))
    for among in ([4], [5, 0], [3, 1, 4]):
        found = coordinate_wise(Rows(matrix), median, among=torch.tensor(among))
        np.testing.assert_allclose(found.numpy(), np.median(matrix[among].double().numpy(), axis=0), rtol=1e-6)


def test_the_rows_stay_as_they_were() -> None:
    matrix = torch.randn(5, 100, generator=torch.Generator().manual_seed(0))
    before = matrix.clone()
    found = coordinate_wise(Rows(matrix), lambda ascending: ascending.__imul__(2)[:, 0])
    assert torch.equal(matrix, before)
    np.testing.assert_allclose(found.numpy(), 2 * matrix.min(dim=0).values.numpy(), rtol=1e-6)


def test_what_a_combination_raises_is_raised() -> None:
    with pytest.raises(ValueError, match="leaves nothing"):
        coordinate_wise(Rows(torch.randn(2, 5)), partial(trimmed_mean, f=1))
