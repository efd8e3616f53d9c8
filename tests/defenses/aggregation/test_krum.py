"""Krum in both conventions, against a plain reference over sorted lists."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec import registry
from fedsec.api import Population
from fedsec.defenses.aggregation.krum import Krum
from fedsec.maths.rows import Rows

from .support import context

CONVENTIONS = ("blanchard", "allouah")
Vectors = Sequence[Sequence[float]]


def _slow_choice(vectors: Vectors, f: int, convention: str) -> int:
    """As the papers write it: Blanchard et al. over others, Allouah et al. over all including the row itself."""
    n = len(vectors)
    scores = []
    for i in range(n):
        squares = [sum((a - b) ** 2 for a, b in zip(vectors[i], vectors[j], strict=True)) for j in range(n)]
        if convention == "blanchard":
            nearest = sorted(squares[:i] + squares[i + 1 :])[: n - f - 2]
        else:
            nearest = sorted(squares)[: n - f]
        scores.append(sum(nearest))
    return scores.index(min(scores))


def _weights(vectors: Vectors | torch.Tensor, f: int, convention: str) -> torch.Tensor:
    matrix = torch.as_tensor(vectors, dtype=torch.float32)
    return Krum(neighbours=convention).weights(Rows(matrix), context(len(matrix), f))


def _choice(vectors: Vectors | torch.Tensor, f: int, convention: str) -> int:
    return int(_weights(vectors, f, convention).argmax())


@st.composite
def _instances(draw: st.DrawFn) -> tuple[list[list[float]], int, str]:
    """Small whole numbers: exact in fp32 and fp64, so ties are real ties, and there are many."""
    convention = draw(st.sampled_from(CONVENTIONS))
    n = draw(st.integers(3, 9))
    f = draw(st.integers(0, (n - 3) // 2 if convention == "blanchard" else (n - 1) // 2))
    columns = draw(st.integers(1, 3))
    value = st.integers(-4, 4).map(float)
    return draw(st.lists(st.lists(value, min_size=columns, max_size=columns), min_size=n, max_size=n)), f, convention


def _not_capped(vectors: Vectors) -> bool:
    """The cap at 100 times the median norm must not bite: whole numbers up to 4 exceed it only around 0."""
    norms = sorted(sum(v * v for v in vector) for vector in vectors)
    return norms[(len(norms) - 1) // 2] > 0


@settings(max_examples=400, deadline=None)
@given(_instances())
def test_the_choice_is_that_of_the_plain_reference_ties_to_the_lower_index(
    instance: tuple[list[list[float]], int, str],
) -> None:
    vectors, f, convention = instance
    if _not_capped(vectors):
        assert _choice(vectors, f, convention) == _slow_choice(vectors, f, convention)


@pytest.mark.numeric
@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("seed", range(20))
def test_the_choice_is_that_of_the_reference_on_random_rows(convention: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(11, 30, generator=generator) + 0.5
    f = seed % 5
    assert _choice(matrix, f, convention) == _slow_choice(matrix.double().tolist(), f, convention)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_weights_are_one_hot_in_fp64(convention: str) -> None:
    weights = _weights(torch.randn(9, 5, generator=torch.Generator().manual_seed(0)), 2, convention)
    assert weights.dtype == torch.float64
    assert weights.shape == (9,)
    assert sorted(weights.tolist()) == [0.0] * 8 + [1.0]


def test_the_two_conventions_can_differ() -> None:
    """With n = 5 and f = 1 two others count for Blanchard, three for Allouah; the pair and the triple part them."""
    vectors = [[10.0], [10.0], [11.5], [0.0], [13.0]]
    chosen = {convention: _slow_choice(vectors, 1, convention) for convention in CONVENTIONS}
    assert chosen["blanchard"] != chosen["allouah"]
    assert chosen == {convention: _choice(vectors, 1, convention) for convention in CONVENTIONS}


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_equal_rows_tie_and_the_first_wins(convention: str) -> None:
    assert _choice([[1.0, 2.0]] * 7, 2, convention) == 0


@pytest.mark.numeric
@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("seed", range(10))
def test_two_closest_rows_tie_and_the_earlier_wins_in_any_order(convention: str, seed: int) -> None:
    """With one neighbour, each of the closest pair has the other's score, to the last bit."""
    generator = torch.Generator().manual_seed(seed)
    n = 5 if convention == "blanchard" else 3
    f = n - 3 if convention == "blanchard" else n - 2  # one neighbour counts
    matrix = torch.randn(n, 4001, generator=generator)
    matrix[-1] = matrix[0] + 0.01 * torch.randn(4001, generator=generator)
    order = torch.randperm(n, generator=generator)
    earlier = min(order.tolist().index(0), order.tolist().index(n - 1))
    assert _choice(matrix[order], f, convention) == earlier


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("seed", range(10))
def test_permuting_the_rows_permutes_the_choice(convention: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(9, 40, generator=generator)
    order = torch.randperm(9, generator=generator)
    assert order[_choice(matrix[order], 2, convention)] == _choice(matrix, 2, convention)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("seed", range(10))
def test_moving_or_scaling_all_rows_changes_nothing(convention: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(9, 40, generator=generator)
    shift = 3 * torch.randn(40, generator=generator)
    chosen = _choice(matrix, 2, convention)
    assert _choice(matrix + shift, 2, convention) == chosen
    assert _choice(matrix * 1e-4, 2, convention) == chosen
    assert _choice(-matrix * 1e4, 2, convention) == chosen


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("size", [1e2, 1e6, 1e30])
@pytest.mark.parametrize("together", [True, False])
def test_f_outliers_are_never_chosen(convention: str, size: float, together: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    f, n = 3, 9
    honest = 0.1 + 1e-3 * torch.randn(n - f, 50, generator=generator)
    directions = torch.ones(f, 50) if together else torch.randn(f, 50, generator=generator).sign()
    for _ in range(5):
        order = torch.randperm(n, generator=generator)
        matrix = torch.cat([honest, size * directions])[order]
        assert order[_choice(matrix, f, convention)] < n - f


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_outliers_do_not_change_which_honest_row_is_chosen(convention: str) -> None:
    """Some honest rows and f far away: honest scores are those over the honest rows alone, down to their ties."""
    generator = torch.Generator().manual_seed(3)
    honest = 0.1 + 1e-3 * torch.randn(8, 50, generator=generator)
    near = _choice(torch.cat([honest, torch.full((2, 50), 10.0)]), 2, convention)
    for size in (1e3, 1e6, 1e30):
        assert _choice(torch.cat([honest, torch.full((2, 50), size)]), 2, convention) == near


def test_the_rows_stay_as_they_were() -> None:
    matrix = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    before = matrix.clone()
    _weights(matrix, 2, "blanchard")
    assert torch.equal(matrix, before)


def test_rows_mixed_by_a_filter_are_what_is_judged() -> None:
    matrix = torch.tensor([[0.0], [1.0], [1.1], [1.2], [5.0], [6.0]])
    mixing = torch.eye(6, dtype=torch.float64)[1:]
    weights = Krum().weights(Rows(matrix).mixed(mixing), context(6, 1))
    assert weights.tolist() == [0.0, 1.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_rows_still_give_a_choice(convention: str, n: int) -> None:
    matrix = torch.arange(1.0, n + 1)[:, None]
    for f in range(n + 3):
        assert _weights(matrix, f, convention).sum() == 1


@pytest.mark.parametrize("f", range(6))
@pytest.mark.parametrize(
    ("convention", "least"), [("blanchard", lambda f: 2 * f + 3), ("allouah", lambda f: 2 * f + 1)]
)
def test_the_precondition_turns_at_the_inequality_and_says_it(convention: str, least: object, f: int) -> None:
    check = registry.defenses().get("krum").precondition
    assert check is not None
    assert callable(least)
    parameters = {"neighbours": convention}
    border = least(f)
    assert check(Population(clients=border, declared_malicious=f), parameters) is None
    assert check(Population(clients=border + 5, declared_malicious=f), parameters) is None
    refusal = check(Population(clients=border - 1, declared_malicious=f), parameters)
    expected = {
        "blanchard": f"Krum (Blanchard) needs n >= 2f+3 = {border}, has {border - 1}",
        "allouah": f"Krum (Allouah) needs n > 2f = {2 * f}, has {border - 1}",
    }
    assert refusal == expected[convention]


def test_the_card_builds_the_rule() -> None:
    card = registry.defenses().get("krum")
    for convention in CONVENTIONS:
        made = registry.load_target(card)(**card.resolve({"neighbours": convention}))
        assert made == Krum(neighbours=convention)
    assert card.is_rule
