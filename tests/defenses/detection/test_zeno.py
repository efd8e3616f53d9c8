"""Zeno against its definition on a loss that can be computed by hand, and in a federation's aggregation."""

from dataclasses import replace

import pytest
import torch

from fedsec import registry
from fedsec.api import Population
from fedsec.defenses.detection.zeno import Zeno

from .support import around, kept, mixed, normal

BEST = normal(12, seed=9)


def _loss(parameters: torch.Tensor) -> float:
    return float((parameters.double() - BEST.double()).square().sum()) / 2


@pytest.mark.parametrize("update", ["delta", "gradient"])
@pytest.mark.parametrize("rho", [0.0, 0.0005, 3.0])
def test_it_drops_the_rows_of_the_lowest_descent_score(update: str, rho: float) -> None:
    start, matrix = normal(12, seed=1), normal(8, 12, seed=2)
    step = 1.0 if update == "delta" else -0.1
    context = around(12, 8, 3, global_parameters=start, loss=_loss)
    context = replace(context, training=replace(context.training, update=update))
    scores = [_loss(start) - _loss(start + step * row) - rho * float(row.square().sum()) for row in matrix]
    expected = sorted(sorted(range(8), key=lambda row: -scores[row])[:5])
    found = mixed(Zeno(rho=rho), matrix, 3, context=context)
    assert kept(found) == expected
    assert found.declared_malicious == 0


def test_rows_that_raise_the_loss_or_end_nowhere_are_dropped() -> None:
    start = torch.zeros(12)
    matrix = torch.stack([0.5 * BEST, 0.4 * BEST, 0.6 * BEST, -BEST, 50 * BEST])
    found = mixed(Zeno(), matrix, 2, global_parameters=start, loss=_loss)
    assert kept(found) == [0, 1, 2]
    broken = mixed(
        Zeno(), matrix, 2, global_parameters=start, loss=lambda one: float("nan") if one.norm() > 99 else 1.0
    )
    assert 4 not in kept(broken)


def test_without_the_servers_samples_it_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"set data\.trusted"):
        mixed(Zeno(), normal(4, 12), 1)
    check = registry.defenses().get("zeno").precondition
    assert check is not None
    assert "data.trusted" in str(check(Population(clients=4, declared_malicious=1), {}))
    assert check(Population(clients=4, declared_malicious=1, trusted=9), {}) is None
