"""Work over columns on several threads: the same ranges in the same order, and the caller's threads as they were."""

import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest
import torch

from fedsec.maths import threads
from fedsec.maths.rows import Rows
from fedsec.maths.threads import over_columns

pytestmark = pytest.mark.numeric


@pytest.fixture
def two() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_ranges_come_back_in_order_and_leave_nothing_out(two: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_WORTHWHILE", 3)
    for columns in (1, 2, 5, 6, 7, 100):
        found = over_columns(columns, lambda start, stop: (start, stop))
        assert found[0][0] == 0
        assert found[-1][1] == columns
        assert all(one[1] == two[0] for one, two in pairwise(found))
        assert len(found) == (2 if columns >= 6 else 1)


def test_each_range_has_one_thread_and_the_caller_keeps_its_own(two: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_WORTHWHILE", 1)
    for _ in range(20):
        assert over_columns(10, lambda start, stop: torch.get_num_threads()) == [1, 1]
        assert torch.get_num_threads() == 2
    seen: list[int] = []
    fresh = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    fresh.start()
    fresh.join()
    assert seen == [2], "threads that begin later are as they would have been"


def test_an_error_in_a_range_is_the_callers_and_leaves_its_threads_alone(
    two: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "_WORTHWHILE", 1)
    with pytest.raises(ZeroDivisionError):
        over_columns(10, lambda start, stop: 1 // start)
    assert torch.get_num_threads() == 2


def test_products_and_sums_are_those_of_one_thread(two: None, monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = torch.randn(7, 5000, generator=torch.Generator().manual_seed(0))
    weights, vector = torch.rand(7, dtype=torch.float64), matrix[0] + 1
    alone = Rows(matrix)
    kept = alone.squared_distances(), alone.weighted_sum(weights), alone.along(vector), Rows(matrix).squared_norms()
    monkeypatch.setattr(threads, "_WORTHWHILE", 100)
    rows = Rows(matrix)
    found = rows.squared_distances(), rows.weighted_sum(weights), rows.along(vector), Rows(matrix).squared_norms()
    for one, other in zip(kept, found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
