"""What every registered rule and filter keeps to, whatever it is: bounds, digits, ties, and hands off its inputs."""

import re
import sys
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec import registry
from fedsec.api import Layout, Population, implements
from fedsec.maths.rows import Rows

from .invariants import KINDS, Entry, Instance, decide, difference, instance
from .support import context
from .table import TABLE

AT_HOME = ("centered-clipping", "fltrust", "foolsgold")
"""They put vectors of their own beside the rows, on the CPU, which is where the engine keeps rows."""

every_entry = pytest.mark.parametrize("entry", TABLE, ids=str)
seeds = st.integers(0, 1 << 16)


def _middle(entry: Entry) -> tuple[int, int]:
    """Sizes at which no two rows tie by construction: f = 3, and some rows more than it takes."""
    return entry.size(3, 2)


@every_entry
@pytest.mark.parametrize("f", range(5))
def test_the_precondition_turns_at_the_inequality_and_says_it(entry: Entry, f: int) -> None:
    check, least, chosen = entry.card.precondition, entry.least(f), entry.card.resolve(entry.params)
    if check is None:
        assert least == 1
        return
    for more in (0, 1, 7):
        assert check(Population(clients=least + more, declared_malicious=f, trusted=1), chosen) is None
    if least > 1:
        refusal = check(Population(clients=least - 1, declared_malicious=f, trusted=1), chosen)
        counted = 2 * f if entry.name == "bucketing" else least - 1  # it counts buckets
        assert refusal is not None
        assert re.search(rf" >=? .*has {counted}$", refusal), refusal


def test_fltrust_needs_rows_of_the_servers_own() -> None:
    check = registry.defenses().get("fltrust").precondition
    assert check is not None
    refusal = check(Population(clients=9, declared_malicious=0), {})
    assert refusal is not None
    assert "data.trusted" in refusal


@every_entry
@settings(max_examples=15, deadline=None)
@given(seed=seeds, kind=st.sampled_from(KINDS))
def test_inputs_stay_as_they_were_and_the_same_rows_give_the_same_bits(entry: Entry, seed: int, kind: str) -> None:
    one = instance(*_middle(entry), 5, kind, seed)
    rows, trusted, parameters = one.matrix.clone(), one.trusted.clone(), torch.zeros(5)
    first = decide([entry], one, trusted=lambda: one.trusted, global_parameters=parameters)
    again = decide([entry], one)
    assert torch.equal(one.matrix, rows)
    assert torch.equal(one.trusted, trusted)
    assert torch.equal(parameters, torch.zeros(5))
    assert torch.equal(first.vector, again.vector)
    assert first.vector.dtype == torch.float32
    assert (first.weights is None) == (again.weights is None)
    if first.weights is not None and again.weights is not None:
        assert torch.equal(first.weights, again.weights)
        assert first.weights.dtype == torch.float64


@every_entry
def test_products_and_mixing_that_others_share_stay_as_they_were(entry: Entry) -> None:
    """A rule after a filter sees the same `Rows` content that the filter saw."""
    one = instance(*_middle(entry))
    rows, plugin = Rows(one.matrix), entry.make()
    distances, gram, mixing = rows.squared_distances().clone(), rows.gram().clone(), rows.mixing.clone()
    width = one.matrix.shape[1]
    around = replace(
        context(len(one.matrix), one.f),
        layout=Layout((), (), width),
        global_parameters=torch.zeros(width),
        trusted=lambda: one.trusted,
    )
    method = next(m for m in ("mix", "vector", "weights") if implements(plugin, m))
    getattr(plugin, method)(rows, around)
    assert torch.equal(rows.squared_distances(), distances)
    assert torch.equal(rows.gram(), gram)
    assert torch.equal(rows.mixing, mixing)


@every_entry
@settings(max_examples=15, deadline=None)
@given(seed=seeds, together=st.booleans())
def test_the_outcome_is_bounded_and_does_not_grow_with_the_attack(entry: Entry, seed: int, together: bool) -> None:
    """P10, on rows that did not come through the door: 1e3, 1e6 and 1e30 times honest values."""
    n, f = _middle(entry)
    calm = instance(n, f, 5, "together" if together else "among", seed)
    found = []
    for size in (1e3, 1e6, 1e30):
        matrix = calm.matrix.clone()
        matrix[n - f :] *= size
        one = replace(calm, matrix=matrix)
        out = decide([entry], one)
        assert bool(out.vector.isfinite().all())
        error = float((out.vector.double() - calm.honest.double().mean(dim=0)).norm())
        variance = float(calm.honest.double().var(dim=0, correction=0).sum())
        if entry.kappa is not None:
            assert error**2 <= entry.kappa(n, f) * variance * (1 + 1e-6)
        assert error <= 101 * float(calm.honest.norm(dim=1).max())
        found.append(out.vector)
    assert torch.allclose(found[1], found[2], rtol=1e-5, atol=1e-5 * calm.size)


@pytest.mark.parametrize("entry", [entry for entry in TABLE if "permutation" in entry.has], ids=str)
@settings(max_examples=16, deadline=None)
@given(seed=seeds)
def test_of_equal_rows_the_later_one_never_gets_more(entry: Entry, seed: int) -> None:
    """P12: ties go to the lowest client id; a matrix product alone gives equal rows other last bits in other places."""
    n, f = _middle(entry)
    generator = torch.Generator().manual_seed(seed)
    matrix = 1 + torch.randn(n, 1500, generator=generator)
    matrix[n - f :] = matrix[0]
    matrix = matrix[torch.randperm(n, generator=generator)]
    weights = decide([entry], Instance(matrix=matrix, f=f, trusted=matrix[0])).weights
    if weights is not None:
        equal = [i for i in range(n) if int((matrix == matrix[i]).all(dim=1).sum()) > 1]
        assert len(equal) == f + 1
        assert all(weights[i] >= weights[j] - 1e-12 for i, j in pairwise(equal))


@pytest.mark.parametrize("entry", [entry for entry in TABLE if "identical" in entry.has], ids=str)
def test_rows_that_all_tie_give_that_row(entry: Entry) -> None:
    n, f = _middle(entry)
    matrix = torch.tensor([0.5, -3.0, 7.25]).expand(n, -1)
    out = decide([entry], Instance(matrix=matrix, f=f, trusted=matrix[0]))
    assert torch.allclose(out.vector, matrix[0], rtol=entry.tolerance)


@every_entry
@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=seeds, kind=st.sampled_from(("among", "far", "opposite")))
def test_blocks_decide_nothing(entry: Entry, seed: int, kind: str) -> None:
    """P11: any number of columns at a time."""
    one = instance(*_middle(entry), 300, kind, seed)
    whole = decide([entry], one)
    with pytest.MonkeyPatch.context() as patch:
        for name, module in list(sys.modules.items()):
            if name.startswith(("fedsec.maths.", "fedsec.defenses.aggregation.")):
                for constant in ("CHUNK", "BLOCK", "ENTRIES"):
                    if hasattr(module, constant):
                        patch.setattr(module, constant, 7)
        assert difference(decide([entry], one), whole.vector, one) <= entry.tolerance


@pytest.mark.parametrize("entry", [entry for entry in TABLE if entry.name not in AT_HOME], ids=str)
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here: P11 on a device is not checked")
def test_a_gpu_gives_what_the_cpu_gives(entry: Entry) -> None:
    one = instance(*_middle(entry), 300)
    found = decide([entry], replace(one, matrix=one.matrix.cuda())).vector.cpu()
    assert difference(decide([entry], one), found, one) <= 10 * entry.tolerance


@every_entry
@settings(max_examples=10, deadline=None)
@given(seed=seeds, claims=st.lists(st.integers(1, 10**9), min_size=40, max_size=40))
def test_claimed_examples_decide_nothing(entry: Entry, seed: int, claims: list[int]) -> None:
    """P14 for the plug-in itself; the engine's own weighting is in test_invariants_engine.py."""
    one = instance(*_middle(entry), 4, "among", seed)
    lied = decide([entry], one, examples=tuple(claims[: len(one.matrix)]))
    assert torch.equal(lied.vector, decide([entry], one).vector)
