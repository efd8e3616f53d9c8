"""What of honest clients' work reached the model."""

from types import SimpleNamespace
from typing import Any

from fedsec.metrics.training import training
from fedsec.wire.receive import Rejection


def _round(clients: tuple[int, ...], rejected: tuple[int, ...] = (), skipped: str | None = None) -> Any:
    return SimpleNamespace(clients=clients, rejected=[Rejection(one, "holds NaN") for one in rejected], skipped=skipped)


def test_honest_updates_and_rounds_are_counted() -> None:
    found = training([_round((0, 1, 2), (1, 2)), _round((0, 2), (), "krum needs more")], {2})
    dropped, skipped = found["utility/dropped-updates"], found["utility/skipped-rounds"]
    assert (dropped.value, dropped.n) == (1 / 3, 3)
    assert (skipped.value, skipped.n) == (0.5, 2)


def test_where_nobody_sent_anything_there_is_no_share() -> None:
    found = training([_round((), (), "nobody came")], ())
    assert found["utility/dropped-updates"].value is None
    assert found["utility/skipped-rounds"].value == 1.0
