"""Ranks by separated intervals, against a slow reference: components of the graph of overlaps."""

from hypothesis import given
from hypothesis import strategies as st

from fedsec.comparison.ranks import Span, alike, below, farthest, ranks

spans = st.dictionaries(
    st.integers(0, 30),
    st.tuples(st.integers(-6, 6), st.integers(0, 3)).map(lambda one: Span(float(one[0]), float(one[0] + one[1]))),
    max_size=9,
)


def by_overlaps(of: dict[int, Span]) -> dict[int, int]:
    """The slow way: who is joined by a chain of overlaps shares a rank, and ranks count those wholly below."""
    groups = {name: {name} for name in of}
    for one in of:
        for other in of:
            if of[one].low <= of[other].high and of[other].low <= of[one].high and groups[one] is not groups[other]:
                joined = groups[one] | groups[other]
                for name in joined:
                    groups[name] = joined
    return {name: 1 + sum(of[other].high < min(of[one].low for one in groups[name]) for other in of) for name in of}


@given(spans)
def test_ranks_are_those_of_components_of_overlaps(of: dict[int, Span]) -> None:
    found = ranks(of)
    assert found == by_overlaps(of)
    assert list(found) == list(of)
    for one in of:
        for other in of:
            if found[one] < found[other]:
                assert below(of[one], of[other]), "ranks differ only where intervals separate"
        touching = {
            name for name in of if name != one and max(of[name].low, of[one].low) <= min(of[name].high, of[one].high)
        }
        assert set(alike(of, one)) == touching
        assert {found[name] for name in touching} <= {found[one]}


@given(spans.filter(bool))
def test_the_pair_farthest_apart_is_told_apart_if_any_is(of: dict[int, Span]) -> None:
    pairs = [(one, other) for one in of for other in of if of[one].high < of[other].low]
    found = farthest(of)
    assert (found is None) == (not pairs)
    assert found is None or found in pairs


def test_a_chain_of_overlaps_shares_one_rank() -> None:
    of = {"a": Span(0.0, 0.2), "b": Span(0.1, 0.4), "c": Span(0.3, 0.5), "d": Span(0.6, 0.7)}
    assert ranks(of) == {"a": 1, "b": 1, "c": 1, "d": 4}
    assert alike(of, "a") == ["b"]
    assert not below(Span(0.0, 0.5), Span(0.5, 1.0)), "what touches is not told apart"
