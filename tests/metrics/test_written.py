"""ROUGE-L of written texts and the perplexity before training."""

import numpy as np
import pytest

from fedsec.federation.evaluation import Evaluation, TokenCounts
from fedsec.metrics.written import rouge_l, written


def _generator() -> np.random.Generator:
    return np.random.default_rng(0)


def test_rouge_l_is_the_f_measure_of_the_longest_common_word_sequence() -> None:
    found = rouge_l(["the cat sat", "a b c d", "***"], ["the dog sat", "", "x"], _generator(), 0.25)
    assert found.value == pytest.approx((2 / 3 + 0.0) / 2)
    assert (found.n, found.left_out, found.baseline) == (2, 1, 0.25)
    assert found.ci_low is not None
    assert found.ci_low <= found.value <= (found.ci_high or 0.0)


def test_no_texts_give_no_value() -> None:
    found = rouge_l([], [], _generator())
    assert (found.value, found.n, found.ci_low) == (None, 0, None)


def test_what_was_before_training_stands_beside_it() -> None:
    counts = TokenCounts(np.array([4.0, 2.0]), np.array([2, 1]), np.array([0, 0]))
    untrained = Evaluation(np.zeros(0, dtype=bool), 2.0, counts)
    found = written(["yes it does"] * 2, ["no"] * 2, ["yes it does", "yes"], untrained, _generator())
    assert found["utility/perplexity-before"].value == pytest.approx(np.exp(2.0))
    assert found["utility/rouge-l-before"].value == 0.0
    assert found["utility/rouge-l"].baseline == 0.0
    assert found["utility/rouge-l"].value == pytest.approx((1.0 + 0.5) / 2)
