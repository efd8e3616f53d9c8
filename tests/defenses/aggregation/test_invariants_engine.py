"""Rules and filters in the engine: at the server's door, beside claimed examples, and against plain averaging."""

from collections.abc import Sequence
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec.api import Layout, Population
from fedsec.federation.aggregation import Aggregate, Aggregator
from fedsec.federation.measurements import Measurements
from fedsec.federation.plugins import Plugin, Stack
from fedsec.federation.trusted import OfRound
from fedsec.seeds import SeedTree
from fedsec.wire.receive import Message, Received, receive

from .invariants import SHOWN, Entry, Instance, Outcome, decide, difference, instance
from .support import DELTA
from .table import FILTERS, RULES, TABLE

every_entry = pytest.mark.parametrize("entry", TABLE, ids=str)
ENROLLED = 50
NOT_USABLE = (float("nan"), float("inf"), -float("inf"), 1e30)


def _received(matrix: torch.Tensor, claims: Sequence[int] | None = None) -> Received:
    """The rows through the server's door."""
    n, width = matrix.shape
    messages = [Message(i, row.clone(), claims[i] if claims else ENROLLED) for i, row in enumerate(matrix)]
    return receive(messages, width, [ENROLLED] * n, torch.empty(n, width))


def _aggregate(
    stack: Sequence[Entry], received: Received, f: int, trusted: torch.Tensor, weighting: str = "uniform"
) -> Aggregate:
    width = received.rows.shape[1]
    plugins = tuple(Plugin(str(entry), entry.make, partial(_precondition, entry)) for entry in stack)
    aggregator = Aggregator(
        Stack(plugins),
        weighting=weighting,
        declared_malicious=f,
        layout=Layout((), (), width),
        training=DELTA,
        seeds=SeedTree(0),
        measurements=Measurements(),
        trusted=1,
    )
    return aggregator.aggregate(1, received, torch.zeros(width), trusted=OfRound(trusted.clone, lambda _: 0.0))


def _precondition(entry: Entry, population: Population) -> str | None:
    check = entry.card.precondition
    return None if check is None else check(population, entry.card.resolve(entry.params))


def _sizes(entry: Entry) -> tuple[int, int]:
    return entry.size(2, 2)


@every_entry
@pytest.mark.parametrize("size", [1.0, 1e4])
def test_the_engine_makes_of_rows_what_the_plugin_does(entry: Entry, size: float) -> None:
    """Also where a row is far out of line, and under a filter with the plain mean after it."""
    n, f = _sizes(entry)
    one = instance(n, f, 5, "far")
    matrix = one.matrix.clone()
    matrix[n - f :] *= size
    one = Instance(matrix=matrix, f=f, trusted=one.trusted)
    found = _aggregate([entry], _received(matrix), f, one.trusted)
    own = decide([entry], one, generator=SeedTree(0).torch(f"server {entry}", round_number=1))
    assert found.skipped is None
    scale = float(one.honest.abs().max())
    assert torch.allclose(found.vector, own.vector, rtol=1e-5, atol=1e-5 * scale)
    if own.weights is not None:
        assert found.weights is not None
        assert torch.allclose(found.weights, own.weights, rtol=1e-9, atol=1e-12)


@every_entry
@pytest.mark.parametrize("bad", NOT_USABLE)
@pytest.mark.parametrize("everywhere", [True, False])
def test_a_row_that_is_no_update_counts_as_not_sent_and_one_fewer_is_malicious(
    entry: Entry, bad: float, everywhere: bool
) -> None:
    """P9, bit for bit, whichever row it is."""
    n, f = _sizes(entry)
    one = instance(n, f, 5, "far", 1)
    for place in (0, n // 2, n - 1):
        matrix = one.matrix.clone()
        matrix[place, slice(None) if everywhere else 3] = bad
        received = _received(matrix)
        assert [rejection.client for rejection in received.rejected] == [place]
        kept = [i for i in range(n) if i != place]
        without = received._replace(rows=one.matrix[kept], rejected=())
        found = _aggregate([entry], received, f, one.trusted)
        expected = _aggregate([entry], without, f - 1, one.trusted)
        assert found.skipped is None
        assert torch.equal(found.vector, expected.vector)
        assert bool(found.vector.isfinite().all())
        assert (found.weights is None) == (expected.weights is None)
        if found.weights is not None and expected.weights is not None:
            assert torch.equal(found.weights, expected.weights)


@every_entry
@settings(max_examples=8, deadline=None)
@given(claims=st.lists(st.integers(-5, 10**9), min_size=40, max_size=40))
def test_what_clients_claim_changes_nothing_under_uniform_weights(entry: Entry, claims: list[int]) -> None:
    """P14."""
    n, f = _sizes(entry)
    one = instance(n, f, 5)
    honest = _aggregate([entry], _received(one.matrix), f, one.trusted)
    lied = _aggregate([entry], _received(one.matrix, claims), f, one.trusted)
    assert torch.equal(honest.vector, lied.vector)


@every_entry
def test_a_claim_counts_at_most_what_was_enrolled(entry: Entry) -> None:
    n, f = _sizes(entry)
    one = instance(n, f, 5)
    honest = _aggregate([entry], _received(one.matrix), f, one.trusted, "examples")
    claims = [ENROLLED] * (n - 1) + [10**12]
    lied = _aggregate([entry], _received(one.matrix, claims), f, one.trusted, "examples")
    assert torch.equal(honest.vector, lied.vector)


def _is_fedavg(found: torch.Tensor, matrix: torch.Tensor, claims: Sequence[int]) -> bool:
    """Whether a vector is the mean in rational numbers, rounded once to fp32.

    Where that mean lies as good as halfway between two numbers of fp32, either is it.
    """
    total, right = sum(claims), []
    for value, column in zip(found.tolist(), matrix.T.double().tolist(), strict=True):
        mean = sum((c * Fraction(v) for c, v in zip(claims, column, strict=True)), Fraction()) / total
        doubt = Fraction(1, 10**15) * max(abs(Fraction(v)) for v in column)
        right.append(np.float32(float(mean - doubt)) <= value <= np.float32(float(mean + doubt)))
    return all(right)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("spread", [1e-4, 1.0, 1e4])
def test_no_defense_is_fedavg_bit_for_bit(seed: int, spread: float) -> None:
    """P17, with a far row among them: plain averaging caps nothing."""
    generator = torch.Generator().manual_seed(seed)
    matrix = 0.1 + spread * torch.randn(3 + seed, 200, generator=generator)
    matrix[0] *= 1e5 / matrix[0].abs().max()
    found = _aggregate([], _received(matrix), 0, matrix[0])
    assert _is_fedavg(found.vector, matrix, [1] * len(matrix))
    claims = torch.randint(1, ENROLLED + 1, (len(matrix),), generator=generator).tolist()
    weighted = _aggregate([], _received(matrix, claims), 0, matrix[0], "examples")
    assert _is_fedavg(weighted.vector, matrix, claims)
    assert not _is_fedavg(torch.nextafter(found.vector, torch.tensor(9e9)), matrix, [1] * len(matrix))


@pytest.mark.parametrize("entry", RULES, ids=str)
def test_a_rule_changes_what_the_engine_makes_of_an_attack(entry: Entry) -> None:
    """P17: none is a silent no-op, and each is nearer to the honest mean than averaging is."""
    n, f = _sizes(entry)
    one = instance(n, f, 6, "opposite")
    defended = _aggregate([entry], _received(one.matrix), f, one.trusted)
    plain = _aggregate([], _received(one.matrix), f, one.trusted)
    assert defended.skipped is None
    assert difference(Outcome(defended.vector, None), plain.vector, one) > SHOWN
    honest = one.honest.mean(dim=0)
    assert float((defended.vector - honest).norm()) < float((plain.vector - honest).norm())


@pytest.mark.parametrize("entry", FILTERS, ids=str)
def test_a_filter_changes_what_a_rule_makes_of_an_attack(entry: Entry) -> None:
    n, f = _sizes(entry)
    one = instance(n, f, 6, "far")
    median = next(rule for rule in RULES if rule.name == "median")
    filtered = _aggregate([entry, median], _received(one.matrix), f, one.trusted)
    alone = _aggregate([median], _received(one.matrix), f, one.trusted)
    assert filtered.skipped is None
    assert difference(Outcome(filtered.vector, None), alone.vector, one) > 1e-3
