"""FLTrust against the paper's formula in plain fp64, and where it would divide by zero."""

import pytest
import torch

from fedsec import registry
from fedsec.api import Population
from fedsec.defenses.aggregation.fltrust import FLTrust

from ...bounds import within
from .gram_support import decide, normal, relative

pytestmark = pytest.mark.numeric


def _plain(matrix: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    rows, mine = matrix.double(), own.double()
    scores = [max(0.0, float(row @ mine / (row.norm() * mine.norm()))) for row in rows]
    scaled = [s * row * (mine.norm() / row.norm()) for s, row in zip(scores, rows, strict=True)]
    return torch.stack(scaled).sum(dim=0) / sum(scores)


def _trust(matrix: torch.Tensor, own: torch.Tensor, f: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    return decide(FLTrust(), matrix, f, trusted=lambda: own.clone())


@pytest.mark.parametrize("seed", range(20))
def test_it_is_the_papers_formula(seed: int) -> None:
    n, d = 3 + seed % 10, 2 + (7 * seed) % 29
    matrix = normal(n, d, seed=seed) * torch.logspace(-1, 1, n)[:, None]
    own = 0.3 + 3 * normal(d, seed=100 + seed)
    if not bool((matrix @ own > 0).any()):
        own = -own
    within("fltrust", relative(_trust(matrix, own)[0], _plain(matrix, own)), 1e-6)


@pytest.mark.parametrize("own_size", [1e-6, 1.0, 1e3])
@pytest.mark.parametrize("size", [1e3, 1e6, 1e30])
def test_every_row_counts_with_the_trusted_length_even_where_most_are_hostile(own_size: float, size: float) -> None:
    """It is meant for any number of hostile rows: what moves the median of the norms must not move the result."""
    honest = 1.0 + 0.3 * normal(3, 20)
    hostile = (1.0 + normal(4, 20, seed=1)) * size
    own = own_size * (1.0 + 0.3 * normal(20, seed=2))
    found, weights = _trust(torch.cat([honest, hostile]), own, 4)
    unit = torch.cat([honest, hostile / size])
    assert bool((weights > 0).all())
    assert float(found.double().norm()) <= float(own.double().norm()) * (1 + 1e-6)
    within("fltrust: huge rows", relative(found, _plain(unit, own)), 1e-5)


def test_rows_against_the_trusted_way_have_no_weight() -> None:
    own = torch.ones(8)
    matrix = torch.cat([1 + 0.1 * normal(3, 8), -1 + 0.1 * normal(4, 8)])
    found, weights = _trust(matrix, own, 4)
    assert bool((weights[:3] > 0).all())
    assert weights[3:].tolist() == [0.0] * 4
    assert float((found - own).norm()) < 0.2 * float(own.norm())


def test_if_nobody_points_the_trusted_way_the_model_is_kept() -> None:
    found, weights = _trust(-1 + 0.1 * normal(5, 8), torch.ones(8))
    assert weights.tolist() == [0.0] * 5
    assert found.tolist() == [0.0] * 8


def test_a_trusted_update_of_zero_keeps_the_model() -> None:
    assert _trust(normal(5, 8), torch.zeros(8))[0].tolist() == [0.0] * 8


def test_zero_rows_have_cosine_and_weight_zero() -> None:
    matrix = torch.cat([torch.zeros(2, 8), 1 + 0.1 * normal(3, 8)])
    found, weights = _trust(matrix, torch.ones(8))
    assert weights[:2].tolist() == [0.0, 0.0]
    within("fltrust: rows left out", relative(found, _plain(matrix[2:], torch.ones(8))), 1e-6)


@pytest.mark.parametrize("short", [1e-3, 1e-6, 1e-12, 1e-30])
@pytest.mark.parametrize("width", [50, 60_000])
def test_a_short_row_is_not_blown_up_by_rounding(short: float, width: int) -> None:
    """Its length as a difference of large numbers would be noise, and it is divided by that."""
    matrix = torch.cat([1 + 0.1 * normal(50, width), short * (0.2 + normal(2, width, seed=1))])
    own = 1 + 0.1 * normal(width, seed=2)
    weights = _trust(matrix, own, 2)[1]
    lengths = weights[50:] * matrix[50:].double().norm(dim=1)
    assert float(lengths.max()) < 0.1 * float(own.norm())
    if short >= 1e-3:
        expected = (matrix[50:].double() @ own.double()).clamp_min(0) / matrix[50:].double().norm(dim=1)
        total = float((weights * matrix.double().norm(dim=1)).sum())
        assert total == pytest.approx(float(own.double().norm()), rel=1e-4)
        scores = matrix.double() @ own.double() / matrix.double().norm(dim=1)
        assert lengths.tolist() == pytest.approx((expected * own.double().norm() / scores.sum()).tolist(), rel=1e-2)


def test_the_servers_update_is_asked_for_and_its_absence_said() -> None:
    """BackFed's is never set, and the rule falls back to the plain mean without a word."""
    with pytest.raises(ValueError, match=r"data\.trusted"):
        decide(FLTrust(), normal(5, 8))
    check = registry.defenses().get("fltrust").precondition
    assert check is not None
    refusal = check(Population(clients=7, declared_malicious=1), {})
    assert refusal == "FLTrust needs data.trusted: rows that the server holds; it holds 0"
    assert check(Population(clients=1, declared_malicious=1, trusted=10), {}) is None
