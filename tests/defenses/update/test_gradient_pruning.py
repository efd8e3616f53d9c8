"""Gradient pruning: what stays is as it was, and as much as it says."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec.api import Update
from fedsec.defenses.update.gradient_pruning import GradientPruning

from .support import heavy, view

SHAPES = ((7, 5), (11,), (1,))


def slow_top(tensor: np.ndarray, keep: float) -> np.ndarray:
    """Entry by entry: kept if fewer than the allowed number are larger."""
    count = math.ceil(keep * tensor.size)
    flat = np.abs(tensor).ravel()
    kept = [value if sum(other > abs(value) for other in flat) < count else 0.0 for value in tensor.ravel()]
    return np.array(kept, dtype=tensor.dtype)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), keep=st.floats(1e-6, 1.0), ties=st.booleans())
def test_top_k_is_the_slow_rule_tensor_by_tensor(seed: int, keep: float, ties: bool) -> None:
    sent = heavy(47, seed)
    sent = sent.round() if ties else sent
    client = view(*SHAPES)
    got = GradientPruning(keep=keep).on_update(Update(sent, 3), client)
    parts = [client.layout.tensor(sent, info.name).numpy() for info in client.layout.parameters]
    np.testing.assert_array_equal(got.vector.numpy(), np.concatenate([slow_top(part, keep) for part in parts]))
    assert got.examples == 3


def test_random_entries_stay_whatever_their_size() -> None:
    sent = heavy(40_000, seed=2) + 1.0
    kept = GradientPruning(keep=0.3, kind="random").on_update(Update(sent, 1), view((40_000,))).vector != 0.0
    assert float(kept.float().mean()) == pytest.approx(0.3, abs=0.015)
    assert float(sent[kept].abs().mean()) == pytest.approx(float(sent.abs().mean()), rel=0.05)


@pytest.mark.parametrize("kind", ["top-k", "random"])
def test_everything_stays_at_one_and_the_input_is_left_alone(kind: str) -> None:
    sent, state = heavy(47, seed=0), torch.get_rng_state()
    assert torch.equal(GradientPruning(keep=1.0, kind=kind).on_update(Update(sent, 1), view(*SHAPES)).vector, sent)
    masks = [
        GradientPruning(keep=0.5, kind=kind).on_update(Update(sent, 1), view(*SHAPES, seed=s)).vector for s in (0, 1)
    ]
    assert torch.equal(*masks) == (kind == "top-k")
    assert torch.equal(sent, heavy(47, seed=0))
    assert torch.equal(state, torch.get_rng_state())
