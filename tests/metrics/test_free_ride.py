"""The weight that free-riders get."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fedsec.metrics.free_ride import free_ride_weight


def _round(weights: Any, rejected: tuple[int, ...] = ()) -> Any:
    return SimpleNamespace(
        weights=weights, clients=(0, 1, 2, 3), rejected=[SimpleNamespace(client=client) for client in rejected]
    )


def test_it_is_their_share_of_the_weight_and_best_is_an_equal_one() -> None:
    value = free_ride_weight([_round((0.4, 0.2, 0.2, 0.2)), _round((0.0, 0.5, 0.5, 0.0))], {0}, np.random.default_rng())
    assert value.value == pytest.approx(0.2)
    assert (value.n, value.chance, value.best) == (2, 0.0, 0.25)


def test_refused_free_riders_get_nothing() -> None:
    value = free_ride_weight([_round((0.5, 0.25, 0.25), rejected=(0,))], {0}, np.random.default_rng())
    assert (value.value, value.best) == (0.0, 0.25)


def test_rounds_without_weights_tell_nothing() -> None:
    value = free_ride_weight([_round(None)], {0}, np.random.default_rng())
    assert (value.value, value.n, value.best) == (None, 0, None)
