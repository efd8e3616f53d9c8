"""Codecs: what is decoded is what was encoded, in as many bytes as are counted."""

from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec.api import Encoding, Layout, ParameterInfo, Role
from fedsec.wire.codec import decode, encode

SHAPES = ((7, 3), (11,), (0,), (600,))
SIZE = 632
LAYOUT = Layout(tuple(ParameterInfo(f"t{i}", s, Role.OTHER) for i, s in enumerate(SHAPES)), (0, 21, 32, 32), SIZE)


@settings(max_examples=60, deadline=None)
@given(bits=st.integers(1, 16), seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([1e-30, 1e-3, 1e4]))
def test_whole_numbers_come_back_exactly_in_bits_each(bits: int, seed: int, scale: float) -> None:
    drawn = np.random.default_rng(seed)
    steps = (drawn.random(4) * scale).astype(np.float32)
    largest = max(1, 2 ** (bits - 1) - 1)
    numbers = drawn.integers(-largest, largest + 1, SIZE)
    if bits == 1:
        numbers = np.where(numbers < 0, -1, 1)
    vector = torch.from_numpy(numbers.astype(np.float32) * np.repeat(steps, [21, 11, 0, 600]))
    encoding = Encoding(bits=bits, steps=tuple(steps.tolist()))
    content = encode(vector, encoding, LAYOUT)
    assert content is not None
    assert len(content) == 16 + -(-21 * bits // 8) + -(-11 * bits // 8) + -(-600 * bits // 8)
    assert torch.equal(decode(content, encoding, LAYOUT), vector)
    vector[40] += 0.3 * float(steps[3]) + 1e-38
    assert encode(vector, encoding, LAYOUT) is None  # what is no whole number is not rounded again


@settings(max_examples=60, deadline=None)
@given(kept=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_sparse_updates_come_back_exactly_in_the_fewest_bytes(kept: float, seed: int) -> None:
    drawn = np.random.default_rng(seed)
    vector = torch.from_numpy((drawn.normal(size=SIZE) * (drawn.random(SIZE) < kept)).astype(np.float32))
    count, content = int(vector.count_nonzero()), encode(vector, Encoding(sparse=True), LAYOUT)
    fewest = 1 + min(SIZE // 8 + 4 * count, 8 * count)
    if fewest >= 4 * SIZE:
        assert content is None
    else:
        assert content is not None
        assert len(content) == fewest
        assert torch.equal(decode(content, Encoding(sparse=True), LAYOUT), vector)


def test_a_plain_update_is_not_written_at_all() -> None:
    assert encode(torch.ones(SIZE), Encoding(), LAYOUT) is None
    assert encode(torch.ones(SIZE), Encoding(bits=8), LAYOUT) is None  # without steps
    assert encode(torch.ones(SIZE), Encoding(bits=0, steps=(1.0,) * 4), LAYOUT) is None


@pytest.mark.parametrize("encoding", [Encoding(sparse=True), Encoding(bits=8, steps=(1.0,) * 4), Encoding(bits=3)])
@settings(max_examples=40, deadline=None)
@given(content=st.one_of(st.binary(max_size=300), st.binary(max_size=60).map(lambda c: b"n" + c)))
def test_bytes_of_no_update_are_refused(encoding: Encoding, content: bytes) -> None:
    with suppress(ValueError):
        assert decode(content, encoding, LAYOUT).shape == (SIZE,)
