"""The seed tree: independent streams, repeatable everywhere, and the global generators left alone."""

import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec.seeds import SeedTree, scoped_torch_rng

_keys = st.tuples(
    st.integers(0, 2**40),
    st.sampled_from(("batches", "dropout", "attack", "cohort")),
    st.integers(0, 500),
    st.integers(-1, 500),
)


def _draw(key: tuple[int, str, int, int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    seed, purpose, round_number, client = key
    tree = SeedTree(seed)
    ours = tree.numpy(purpose, round_number=round_number, client=client).integers(2**62, size=3)
    torchs = tree.torch(purpose, round_number=round_number, client=client)
    return tuple(ours.tolist()), tuple(torch.randint(2**62, (3,), generator=torchs).tolist())


@settings(deadline=None)
@given(_keys)
def test_the_same_key_gives_the_same_stream(key: tuple[int, str, int, int]) -> None:
    assert _draw(key) == _draw(key)


@settings(deadline=None, max_examples=200)
@given(_keys, _keys)
def test_another_key_gives_another_stream(first: tuple[int, str, int, int], second: tuple[int, str, int, int]) -> None:
    if first != second:
        mine, theirs = _draw(first), _draw(second)
        assert mine[0] != theirs[0]
        assert mine[1] != theirs[1]


def test_no_two_neighbouring_keys_share_a_stream() -> None:
    keys = [(s, p, r, c) for s in range(3) for p in ("a", "b") for r in range(8) for c in range(-1, 8)]
    for kind in (0, 1):
        streams = {_draw(key)[kind] for key in keys}
        assert len(streams) == len(keys)


def test_drawing_from_one_stream_leaves_the_others_as_they_were() -> None:
    tree = SeedTree(3)
    expected = SeedTree(3).numpy("batches", client=1).random(4)
    tree.numpy("attack").random(1000)
    stream = tree.numpy("batches", client=0)
    stream.random(1000)
    assert np.array_equal(tree.numpy("batches", client=1).random(4), expected)


def test_streams_of_neighbouring_clients_look_independent() -> None:
    draws = np.stack([SeedTree(0).numpy("noise", client=c).standard_normal(4000) for c in range(6)])
    correlation = np.corrcoef(draws) - np.eye(6)
    assert np.abs(correlation).max() < 0.08
    torchs = torch.stack([torch.randn(4000, generator=SeedTree(0).torch("n", client=c)) for c in range(6)])
    assert (torch.corrcoef(torchs) - torch.eye(6)).abs().max() < 0.08


def test_streams_are_the_same_in_another_process() -> None:
    code = (
        "from fedsec.seeds import SeedTree; print(SeedTree(5).numpy('x', round_number=2, client=3)"
        ".integers(2**62), SeedTree(5).torch('x').initial_seed())"
    )
    command = [sys.executable, "-c", code]
    outputs = {
        subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}).stdout
        for seed in ("1", "2")
    }
    here = SeedTree(5)
    expected = f"{here.numpy('x', round_number=2, client=3).integers(2**62)} {here.torch('x').initial_seed()}\n"
    assert outputs == {expected}


def test_the_global_generators_are_never_touched() -> None:
    before = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    tree = SeedTree(1)
    tree.numpy("a").random(5)
    torch.rand(5, generator=tree.torch("a"))
    assert random.getstate() == before[0]
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert torch.equal(torch.get_rng_state(), before[2])


@pytest.mark.parametrize("seed", [-1, -(2**70)])
def test_a_negative_seed_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match="at least 0"):
        SeedTree(seed)


def test_within_the_scope_the_global_generator_is_the_given_one() -> None:
    expected = torch.rand(4, generator=SeedTree(2).torch("init"))
    with scoped_torch_rng(SeedTree(2).torch("init")):
        found = torch.rand(4)
    assert torch.equal(found, expected)


def test_after_the_scope_the_global_generator_goes_on_where_it_was() -> None:
    before = torch.get_rng_state()
    expected = torch.rand(3)
    torch.set_rng_state(before)
    with scoped_torch_rng(SeedTree(0).torch("a")), scoped_torch_rng(SeedTree(0).torch("b")):
        torch.rand(7)
    assert torch.equal(torch.rand(3), expected)


def test_an_error_within_the_scope_restores_the_global_generator() -> None:
    before = torch.get_rng_state()

    def fail() -> None:
        with scoped_torch_rng(SeedTree(0).torch("a")):
            torch.rand(7)
            raise KeyError("inside")

    with pytest.raises(KeyError):
        fail()
    assert torch.equal(torch.get_rng_state(), before)
