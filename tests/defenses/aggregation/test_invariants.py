"""Every registered rule and filter against the table of invariants: what it has holds, what it lacks is shown."""

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fedsec import registry

from .invariants import BROKEN_BY, KINDS, SHOWN, Entry, Instance, instance
from .table import TABLE

PAIRS = [(entry, name) for entry in TABLE for name in BROKEN_BY]


def _ids(value: object) -> str:
    return str(value)


@st.composite
def _instances(draw: st.DrawFn, entry: Entry) -> Instance:
    n, f = draw(st.sampled_from(entry.sizes()))
    width, kind = draw(st.integers(2, 6)), draw(st.sampled_from(KINDS))
    return instance(n, f, width, kind, draw(st.integers(0, 1 << 16)))


def _decides_by_order(entry: Entry, name: str, one: Instance) -> bool:
    """Whether a tie is broken by the order of the rows, or by the rounding of coordinates that are no longer exact."""
    return name in ("permutation", "scale", "orthogonal") and not entry.untied(one)


def test_every_rule_and_filter_is_in_the_table() -> None:
    cards = [card for card in registry.defenses() if card.target.startswith("fedsec.defenses.aggregation")]
    deciding = {
        card.name for card in cards if card.is_rule or callable(getattr(registry.load_target(card), "mix", None))
    }
    assert deciding == {entry.name for entry in TABLE}


@pytest.mark.parametrize("entry", TABLE, ids=_ids)
def test_the_table_says_nothing_twice_and_knows_its_words(entry: Entry) -> None:
    assert not entry.lacks & entry.silent
    assert entry.lacks | entry.silent <= set(BROKEN_BY)
    assert entry.has


@pytest.mark.parametrize(("entry", "name"), [pair for pair in PAIRS if pair[1] in pair[0].has], ids=_ids)
def test_has(entry: Entry, name: str) -> None:
    @settings(max_examples=25, deadline=None, derandomize=True)
    @given(_instances(entry), st.integers(0, 1 << 16))
    def check(one: Instance, seed: int) -> None:
        assume(not _decides_by_order(entry, name, one))
        assert BROKEN_BY[name]([entry], one, torch.Generator().manual_seed(seed)) <= entry.tolerance

    check()


@pytest.mark.parametrize(("entry", "name"), [pair for pair in PAIRS if pair[1] in pair[0].lacks], ids=_ids)
def test_lacks(entry: Entry, name: str) -> None:
    """Documented failures are real: some instance shows each."""
    sizes = [entry.size(f, more) for f in (1, 3) for more in (0, 1)]
    for seed in range(40):
        for n, f in sizes:
            for one in (*(instance(n, f, 10, kind, seed) for kind in KINDS), _corners(n, f)):
                broken = BROKEN_BY[name]([entry], one, torch.Generator().manual_seed(seed))
                if broken > SHOWN and not _decides_by_order(entry, name, one):
                    return
    raise AssertionError(f"{entry} keeps {name} on all instances tried: the table is out of date")


def _corners(n: int, f: int) -> Instance:
    """The corners of a simplex: 0 in every coordinate is what they agree on, and it is no mixture of them."""
    return Instance(matrix=torch.eye(n), f=f, trusted=torch.full((n,), 1 / n))
