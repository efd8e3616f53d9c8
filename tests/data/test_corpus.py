"""A corpus, and parts of it."""

import numpy as np
import pytest

from fedsec.data.corpus import Corpus, Example
from fedsec.errors import FedsecError

TRAIN = tuple(Example(f"train {i}", i % 3) for i in range(20))
TEST = tuple(Example(f"test {i}", i % 3) for i in range(10))
CORPUS = Corpus(TRAIN, TEST, ("a", "b", "c"))


def _generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_short_training_rows_are_left_out_and_test_rows_stay() -> None:
    rows = tuple(Example(text) for text in ("one", "one two", "one  two\tthree", "one two three four"))
    found = Corpus(rows, rows, ()).of_words(3)
    assert [row.text for row in found.train] == ["one  two\tthree", "one two three four"]
    assert found.test == rows
    assert Corpus(rows, rows, ()).of_words(1).train == rows
    with pytest.raises(FedsecError, match="min_words"):
        found.of_words(9)


def test_a_part_holds_distinct_rows_of_its_own_split() -> None:
    part = CORPUS.subset(7, 4, _generator())
    assert (len(part.train), len(part.test)) == (7, 4)
    assert len(set(part.train)) == 7
    assert set(part.train) < set(TRAIN)
    assert set(part.test) < set(TEST)
    assert part.labels == CORPUS.labels


@pytest.mark.parametrize("count", [None, 20])
def test_all_of_a_split_keeps_its_order(count: int | None) -> None:
    assert CORPUS.subset(count, None, _generator()) == CORPUS


@pytest.mark.parametrize("count", [21, 10**9])
def test_more_rows_than_there_are_cannot_be_had(count: int) -> None:
    with pytest.raises(FedsecError, match="there are 20"):
        CORPUS.subset(count, None, _generator())
    with pytest.raises(FedsecError, match="there are 10"):
        CORPUS.subset(None, count, _generator())


def test_the_same_generator_picks_the_same_rows_and_another_others() -> None:
    first = CORPUS.subset(7, 4, _generator(1))
    assert CORPUS.subset(7, 4, _generator(1)) == first
    assert CORPUS.subset(7, 4, _generator(2)) != first


def test_every_row_is_as_likely_as_any_other() -> None:
    picked = [row for seed in range(400) for row in CORPUS.subset(5, 0, _generator(seed)).train]
    counts = [picked.count(row) for row in TRAIN]
    assert 60 < min(counts) <= max(counts) < 145  # 100 expected, standard deviation 9
