"""Multi-Krum in both conventions, against a plain reference over sorted lists."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec import registry
from fedsec.api import Population
from fedsec.defenses.aggregation.krum import Krum
from fedsec.defenses.aggregation.multi_krum import MultiKrum

from ...bounds import within
from .gram_support import decide, normal, relative

CONVENTIONS = ("blanchard", "allouah")


def _slow(vectors: Sequence[Sequence[float]], f: int, convention: str, m: int) -> list[int]:
    """The m best of one round of scores, as the papers write them; of equal ones the earlier."""
    n, scores = len(vectors), []
    for i in range(n):
        squares = [sum((a - b) ** 2 for a, b in zip(vectors[i], vectors[j], strict=True)) for j in range(n)]
        near = sorted(squares[:i] + squares[i + 1 :])[: n - f - 2] if convention == "blanchard" else sorted(squares)
        scores.append(sum(near[: n - f]))
    return sorted(range(n), key=lambda i: (scores[i], i))[:m]


@st.composite
def _instances(draw: st.DrawFn) -> tuple[list[list[float]], int, str, int]:
    """Whole numbers far from 0: exact, full of ties, and none beyond 100 times the median norm."""
    convention = draw(st.sampled_from(CONVENTIONS))
    n = draw(st.integers(3, 9))
    f = draw(st.integers(0, (n - 3) // 2 if convention == "blanchard" else (n - 1) // 2))
    most = n - f - 2 if convention == "blanchard" else n - f
    columns = draw(st.integers(1, 3))
    line = st.lists(st.integers(1, 8).map(float), min_size=columns, max_size=columns)
    return draw(st.lists(line, min_size=n, max_size=n)), f, convention, draw(st.integers(1, most))


@settings(max_examples=120, deadline=None)
@given(_instances())
def test_the_rows_are_those_of_the_plain_reference_ties_to_the_earlier(
    instance: tuple[list[list[float]], int, str, int],
) -> None:
    vectors, f, convention, m = instance
    weights = decide(MultiKrum(neighbours=convention, m=m), torch.tensor(vectors), f).weights
    chosen = _slow(vectors, f, convention, m)
    assert weights.tolist() == [1 / m if i in chosen else 0.0 for i in range(len(vectors))]


@pytest.mark.numeric
@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("seed", range(15))
def test_the_mean_is_that_of_the_plain_reference_on_random_rows(convention: str, seed: int) -> None:
    n = 3 + seed % 10
    matrix = 0.5 + normal(n, 1 + 2 * seed, seed=seed)
    f = seed % ((n - 1) // 2)
    m = max(1, n - f - 2)
    chosen = _slow(matrix.double().tolist(), f, convention, m)
    found = decide(MultiKrum(neighbours=convention, m=m), matrix, f).vector
    within("multi-krum", relative(found, matrix.double()[chosen].mean(dim=0)), 1e-6)


@pytest.mark.parametrize(("convention", "most"), [("blanchard", 6), ("allouah", 8)])
def test_left_alone_it_averages_as_many_as_the_paper_allows(convention: str, most: int) -> None:
    weights = decide(MultiKrum(neighbours=convention), normal(11, 5), 3).weights
    assert sorted(weights.tolist()) == [0.0] * (11 - most) + [1 / most] * most


def test_with_one_row_it_is_krum_and_with_all_the_mean() -> None:
    matrix = normal(9, 30)
    for convention in CONVENTIONS:
        one = decide(MultiKrum(neighbours=convention, m=1), matrix, 2).weights
        assert torch.equal(one, decide(Krum(neighbours=convention), matrix, 2).weights)
    assert decide(MultiKrum(neighbours="allouah"), matrix, 0).weights.tolist() == [1 / 9] * 9


def test_of_many_equal_rows_the_first_are_taken() -> None:
    weights = decide(MultiKrum(m=20), torch.ones(300, 2), 30).weights
    assert weights.nonzero()[:, 0].tolist() == list(range(20))


def test_claimed_examples_do_not_weigh_the_chosen_rows() -> None:
    """Flower averages the selected updates by what clients say of themselves."""
    matrix = normal(9, 30)
    fair = decide(MultiKrum(), matrix, 2).weights
    assert torch.equal(decide(MultiKrum(), matrix, 2, examples=(10**9, *(1,) * 8)).weights, fair)


def test_distances_are_squared_once_and_over_the_right_number_of_rows() -> None:
    """Not squaring, squaring twice, or n-f-1 others choose other rows somewhere; the reference's choice stands."""
    differs = dict.fromkeys(("unsquared", "twice", "one more"), 0)
    for seed in range(100):
        matrix = normal(9, 3, seed=seed).double()
        chosen = decide(MultiKrum(m=1), matrix.float(), 2).weights.argmax().item()
        distances = torch.cdist(matrix, matrix, compute_mode="donot_use_mm_for_euclid_dist")
        for name, power, others in (("unsquared", 1, 5), ("twice", 4, 5), ("one more", 2, 6)):
            scores = (distances**power).sort(dim=1).values[:, 1 : others + 1].sum(dim=1)
            differs[name] += int(scores.argmin().item() != chosen)
        assert chosen == (distances**2).sort(dim=1).values[:, 1:6].sum(dim=1).argmin().item()
    assert min(differs.values()) > 0


def test_long_rows_that_differ_little_keep_their_distances() -> None:
    """Flower's Gram trick on raw fp32 weights loses 0.0036 beside 1e5; the cap and the centre lose nothing."""
    matrix = normal(1, 400) * 16 + 1e-3 * normal(9, 400, seed=1)
    chosen = _slow(matrix.double().tolist(), 2, "blanchard", 5)
    assert decide(MultiKrum(), matrix, 2).weights.nonzero()[:, 0].tolist() == sorted(chosen)


@pytest.mark.parametrize("f", range(4))
def test_the_precondition_says_the_inequality(f: int) -> None:
    check = registry.defenses().get("multi-krum").precondition
    assert check is not None
    n = 2 * f + 3
    for convention, most, words in (("blanchard", n - f - 2, "n-f-2"), ("allouah", n - f, "n-f")):
        parameters = {"neighbours": convention, "m": 0, "geometry": "raw"}
        population = Population(clients=n, declared_malicious=f)
        assert check(population, parameters) is None
        assert check(population, {**parameters, "m": most}) is None
        refusal = check(population, {**parameters, "m": most + 1})
        assert refusal == f"Multi-Krum ({convention.title()}) needs m <= {words} = {most}, has m = {most + 1}"
    short = check(Population(clients=n - 1, declared_malicious=f), {"neighbours": "blanchard", "m": 0})
    assert short == f"Multi-Krum (Blanchard) needs n >= 2f+3 = {n}, has {n - 1}"
