"""Sign majority against a plain loop, and on what it is there to stop."""

import pytest
import torch

from fedsec import registry
from fedsec.api import Population
from fedsec.defenses.detection.sign_majority import SignMajority
from fedsec.maths.rows import Rows

from .support import around, normal


def _vector(rule: SignMajority, matrix: torch.Tensor, f: int) -> torch.Tensor:
    return rule.vector(Rows(matrix), around(matrix.shape[1], len(matrix), f))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("threshold", [0, 1, 3, 9])
def test_it_is_the_papers_rule_coordinate_by_coordinate(seed: int, threshold: int) -> None:
    matrix = normal(9, 40, seed=seed)
    matrix[:, ::7] = 0.0  # sgn 0 counts for nobody
    for column, found in zip(
        matrix.double().T.tolist(), _vector(SignMajority(threshold=threshold), matrix, 2), strict=True
    ):
        agreement = abs(sum((value > 0) - (value < 0) for value in column))
        mean = sum(column) / 9
        assert float(found) == pytest.approx(mean if agreement >= (threshold or 3) else -mean, abs=1e-7)


def test_signs_are_those_of_the_updates_and_not_of_the_weights() -> None:
    """Elsewhere they are taken of the weights, which all clients share."""
    updates = torch.tensor([[1.0], [1.0], [-1.0]])
    rows = around(1, 3, 1, global_parameters=torch.tensor([-100.0]))
    assert float(SignMajority(threshold=3).vector(Rows(updates), rows)) == pytest.approx(-1 / 3)
    assert float(SignMajority(threshold=1).vector(Rows(updates), rows)) == pytest.approx(1 / 3)


def test_what_a_few_push_where_the_others_disagree_is_turned() -> None:
    """Two of ten push along coordinate 1, where eight honest ones cancel out; all agree on coordinate 0."""
    honest = torch.stack([torch.ones(8), torch.tensor([0.1, -0.1] * 4)], dim=1)
    hostile = torch.tensor([[1.0, 5.0]] * 2)
    found = _vector(SignMajority(), torch.cat([honest, hostile]), 2)
    assert found[0] == 1.0
    assert found[1] == -1.0


def test_a_threshold_that_nobody_reaches_is_refused() -> None:
    card = registry.defenses().get("sign-majority")
    assert card.precondition is not None
    assert card.precondition(Population(clients=4, declared_malicious=1), card.resolve({"threshold": 4})) is None
    refusal = card.precondition(Population(clients=4, declared_malicious=1), card.resolve({"threshold": 5}))
    assert refusal is not None
    assert "threshold <= n = 4, has 5" in refusal
