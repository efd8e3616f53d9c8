"""Minimum-diameter averaging against all subsets, and its search against a plain one."""

import time
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec.defenses.aggregation.mda import MinimumDiameterAveraging, closest
from fedsec.defenses.aggregation.vertex_cover import has_cover

from ...bounds import within
from .gram_support import decide, normal, relative


def _slow(matrix: torch.Tensor, size: int) -> list[int]:
    """The first subset in lexicographic order of those with the least diameter."""
    rows = matrix.double()
    between = [[float((a - b).square().sum()) for b in rows] for a in rows]
    subsets = combinations(range(len(rows)), size)
    return list(min(subsets, key=lambda s: max((between[i][j] for i in s for j in s), default=0.0)))


@st.composite
def _instances(draw: st.DrawFn) -> tuple[list[list[float]], int]:
    """Whole numbers far from 0: exact, with many equal distances, and none beyond the cap."""
    n, columns = draw(st.integers(1, 9)), draw(st.integers(1, 3))
    line = st.lists(st.integers(1, 6).map(float), min_size=columns, max_size=columns)
    return draw(st.lists(line, min_size=n, max_size=n)), draw(st.integers(0, n - 1))


@settings(max_examples=120, deadline=None)
@given(_instances())
def test_the_subset_is_the_first_of_least_diameter(instance: tuple[list[list[float]], int]) -> None:
    vectors, f = instance
    matrix = torch.tensor(vectors)
    chosen = _slow(matrix, len(matrix) - f)
    weights = decide(MinimumDiameterAveraging(), matrix, f).weights
    assert weights.tolist() == [1 / len(chosen) if i in chosen else 0.0 for i in range(len(matrix))]


@pytest.mark.numeric
@pytest.mark.parametrize("seed", range(15))
def test_the_mean_is_that_of_the_plain_reference_on_random_rows(seed: int) -> None:
    n = 3 + seed % 8
    matrix = 0.5 + normal(n, 1 + 2 * seed, seed=seed)
    f = seed % ((n + 1) // 2)
    expected = matrix.double()[_slow(matrix, n - f)].mean(dim=0)
    within("mda", relative(decide(MinimumDiameterAveraging(), matrix, f).vector, expected), 1e-6)


def _graphs() -> st.SearchStrategy[tuple[int, list[tuple[int, int]]]]:
    return st.integers(1, 9).flatmap(
        lambda n: st.tuples(
            st.just(n),
            st.lists(
                st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda e: e[0] != e[1]), max_size=20
            ),
        )
    )


@settings(max_examples=150, deadline=None)
@given(_graphs(), st.integers(0, 9))
def test_a_cover_is_found_exactly_where_there_is_one(graph: tuple[int, list[tuple[int, int]]], budget: int) -> None:
    n, edges = graph
    neighbours = [0] * n
    for a, b in edges:
        neighbours[a] |= 1 << b
        neighbours[b] |= 1 << a
    exists = any(
        all(a in cover or b in cover for a, b in edges)
        for size in range(min(budget, n) + 1)
        for cover in combinations(range(n), size)
    )
    assert has_cover(neighbours, (1 << n) - 1, budget) == exists


@pytest.mark.parametrize(("ring", "least"), [(3, 2), (4, 2), (5, 3), (8, 4), (9, 5)])
def test_rings_take_half_of_their_points_rounded_up(ring: int, least: int) -> None:
    neighbours = [1 << (i + 1) % ring | 1 << (i - 1) % ring for i in range(ring)]
    assert has_cover(neighbours, (1 << ring) - 1, least)
    assert not has_cover(neighbours, (1 << ring) - 1, least - 1)


def test_a_point_of_just_as_many_neighbours_as_the_budget_is_not_forced() -> None:
    """One in the middle, three around it, two further ones on each of those: the three cover all."""
    neighbours = [0] * 10
    for a, b in [(0, 1), (0, 2), (0, 3), *((1 + i // 2, 4 + i) for i in range(6))]:
        neighbours[a] |= 1 << b
        neighbours[b] |= 1 << a
    assert has_cover(neighbours, (1 << 10) - 1, 3)
    assert not has_cover(neighbours, (1 << 10) - 1, 2)


def test_each_odd_ring_is_rounded_up_by_itself() -> None:
    triangles = [0b110, 0b101, 0b011, 0b110000, 0b101000, 0b011000]
    assert has_cover(triangles, 0b111111, 4)
    assert not has_cover(triangles, 0b111111, 3)


@pytest.mark.parametrize(("n", "f"), [(50, 12), (50, 24), (80, 20)])
@pytest.mark.parametrize("columns", [2, 500])
def test_fifty_rows_take_no_listing_of_subsets(n: int, f: int, columns: int) -> None:
    """1.2e11 subsets at n = 50, f = 12; ByzFL holds them all in a list."""
    distances = torch.cdist(normal(n, columns).double(), normal(n, columns).double()).numpy()
    distances = (distances + distances.T) / 2
    started = time.perf_counter()
    kept = closest(distances, n - f)
    assert time.perf_counter() - started < 5
    assert len(kept) == n - f


def test_it_is_the_mean_with_nobody_declared_and_one_row_where_none_is_left() -> None:
    matrix = normal(5, 4)
    assert decide(MinimumDiameterAveraging(), matrix, 0).weights.tolist() == [0.2] * 5
    assert decide(MinimumDiameterAveraging(), matrix, 9).weights.tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("seed", range(40))
def test_it_stays_within_the_proven_number_of_honest_diameters(seed: int) -> None:
    """|F - honest mean| <= 2f/(n-f) honest diameters, whatever the others send."""
    n, f = [(5, 2), (7, 3), (9, 2), (11, 4)][seed % 4]
    honest = normal(n - f, 1 + seed % 3, seed=seed)
    matrix = torch.cat([honest, honest[:f] + (0.1 + seed % 5) * normal(f, honest.shape[1], seed=seed + 50)])
    error = (decide(MinimumDiameterAveraging(), matrix, f).vector.double() - honest.double().mean(dim=0)).norm()
    diameter = torch.cdist(honest.double(), honest.double()).max()
    assert float(error) <= 2 * f / (n - f) * float(diameter) * (1 + 1e-6)


def test_equal_rows_give_the_earliest() -> None:
    assert decide(MinimumDiameterAveraging(), torch.ones(6, 3), 2).weights.tolist() == [0.25] * 4 + [0.0] * 2
    assert closest(np.zeros((4, 4)), 2) == [0, 1]
