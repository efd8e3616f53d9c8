"""The server's door: nothing that a client sends may raise, and nothing unsound may pass."""

import enum
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec.wire.codec import HEADER_BYTES
from fedsec.wire.receive import (
    MAX_ABSOLUTE,
    Message,
    Received,
    clamp_examples,
    fault,
    receive,
)

LENGTH = 6
GOOD = torch.arange(LENGTH, dtype=torch.float32)


class Evil(torch.Tensor):
    """A tensor whose every operation raises."""

    @classmethod
    def __torch_function__(cls, *_: Any, **__: Any) -> Any:
        raise RuntimeError("evil")


class Liar:
    """No tensor, but it says that it is one."""

    dtype = torch.float32
    shape = (LENGTH,)
    layout = torch.strided

    @property
    def __class__(self) -> type:
        return torch.Tensor

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("evil")


class OddInt(int):
    """A whole number that refuses to be compared."""

    def __lt__(self, other: object) -> bool:
        raise RuntimeError("evil")

    __gt__ = __le__ = __ge__ = __lt__


class Number(enum.IntEnum):
    """A whole number under a name."""

    THREE = 3


def _with(value: float, at: int = 2) -> torch.Tensor:
    vector = GOOD.clone()
    vector[at] = value
    return vector


def _freed() -> torch.Tensor:
    vector = torch.ones(LENGTH)
    vector.untyped_storage().resize_(0)
    return vector


def _shrunk() -> torch.Tensor:
    vector = torch.ones(LENGTH)
    vector.untyped_storage().resize_(8)
    return vector


BAD: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "list": lambda: [0.0] * LENGTH,
    "numpy": lambda: np.zeros(LENGTH, dtype=np.float32),
    "text": lambda: "0" * LENGTH,
    "bytes": lambda: b"\x00" * 4 * LENGTH,
    "object": object,
    "the class": lambda: torch.Tensor,
    "pretender": Liar,
    "one short": lambda: torch.zeros(LENGTH - 1),
    "one long": lambda: torch.zeros(LENGTH + 1),
    "no values": lambda: torch.zeros(0),
    "scalar": lambda: torch.tensor(1.0),
    "row matrix": lambda: torch.zeros(1, LENGTH),
    "column matrix": lambda: torch.zeros(LENGTH, 1),
    "2-D of the same size": lambda: torch.zeros(2, LENGTH // 2),
    "fp64": GOOD.double,
    "fp16": GOOD.half,
    "bf16": GOOD.bfloat16,
    "int": GOOD.long,
    "bool": GOOD.bool,
    "complex": lambda: torch.zeros(LENGTH, dtype=torch.complex64),
    "quantised": lambda: torch.quantize_per_tensor(GOOD, 0.1, 0, torch.qint8),
    "nan": lambda: _with(math.nan),
    "nan first": lambda: _with(math.nan, 0),
    "nan last": lambda: _with(math.nan, -1),
    "nan and inf": lambda: torch.tensor([math.nan, math.inf, -math.inf, 0, 0, 0]),
    "inf": lambda: _with(math.inf),
    "minus inf": lambda: _with(-math.inf),
    "1e30": lambda: _with(1e30),
    "-1e30": lambda: _with(-1e30),
    "just too large": lambda: _with(MAX_ABSOLUTE * 1.001),
    "sparse": GOOD.to_sparse,
    "meta": lambda: torch.zeros(LENGTH, device="meta"),
    "nested": lambda: torch.nested.nested_tensor([GOOD]),
    "jagged": lambda: torch.nested.nested_tensor([GOOD], layout=torch.jagged),
    "parameter": lambda: torch.nn.Parameter(GOOD.clone()),
    "subclass": lambda: GOOD.clone().as_subclass(Evil),
    "freed storage": _freed,
    "shrunk storage": _shrunk,
}

UNUSUAL: dict[str, Callable[[], torch.Tensor]] = {
    "plain": lambda: GOOD.clone(),
    "with gradient": lambda: GOOD.clone().requires_grad_(),
    "computed with gradient": lambda: GOOD.clone().requires_grad_() * 2,
    "not contiguous": lambda: torch.randn(LENGTH, 3)[:, 1],
    "expanded": lambda: torch.tensor([0.25]).expand(LENGTH),
    "reversed": lambda: GOOD.flip(0),
    "made for inference": lambda: _in_inference_mode(),
    "the largest allowed": lambda: _with(MAX_ABSOLUTE),
    "tiny": lambda: _with(1e-45),
    "read-only numpy": lambda: torch.from_numpy(np.arange(LENGTH, dtype=np.float32)),
    "imaginary part of a conjugate": lambda: torch.randn(LENGTH, dtype=torch.complex64).conj().imag,
}


def _in_inference_mode() -> torch.Tensor:
    with torch.inference_mode():
        return torch.ones(LENGTH)


def _receive(*payloads: Any, examples: Any = 3, enrolled: int = 5) -> Received:
    out = torch.full((len(payloads), LENGTH), math.nan)
    messages = [Message(10 + i, payload, examples) for i, payload in enumerate(payloads)]
    return receive(messages, LENGTH, [enrolled] * len(payloads), out)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors", "ignore:.*quantiz")
@pytest.mark.parametrize("make", BAD.values(), ids=BAD.keys())
def test_a_hostile_payload_is_dropped_and_the_others_stay(make: Callable[[], Any]) -> None:
    received = _receive(GOOD.clone(), make(), GOOD * 2)
    assert received.clients == (10, 12)
    assert torch.equal(received.rows, torch.stack([GOOD, GOOD * 2]))
    assert received.examples == (3, 3)
    assert [rejection.client for rejection in received.rejected] == [11]
    assert received.rejected[0].reason


@pytest.mark.parametrize("make", UNUSUAL.values(), ids=UNUSUAL.keys())
def test_an_unusual_vector_is_taken_by_value(make: Callable[[], torch.Tensor]) -> None:
    payload = make()
    received = _receive(payload)
    assert received.rejected == ()
    assert torch.equal(received.rows[0], payload.detach())
    assert not received.rows.requires_grad
    assert received.rows.data_ptr() != payload.data_ptr()


def test_a_row_of_the_buffer_is_kept_where_it_lies() -> None:
    out = torch.randn(3, LENGTH)
    before = out.clone()
    received = receive([Message(i, out[i], 1) for i in range(3)], LENGTH, [1] * 3, out)
    assert received.rows is out
    assert torch.equal(out, before)


def test_what_was_checked_is_what_is_kept_even_if_it_starts_where_the_row_starts() -> None:
    out = torch.full((1, LENGTH), math.nan)
    out[0, 0] = 0.5
    received = receive([Message(0, out[0, :1].expand(LENGTH), 1)], LENGTH, [1], out)
    assert received.rows.tolist() == [[0.5] * LENGTH]


def test_the_column_of_a_square_buffer_is_no_row_of_it() -> None:
    out = torch.arange(LENGTH**2, dtype=torch.float32).view(LENGTH, LENGTH)
    column = out[:, 0].clone()
    received = receive([Message(0, out[:, 0], 1)], LENGTH, [1], out[:1])
    assert torch.equal(received.rows[0], column)


def test_a_payload_across_rows_of_the_buffer_is_taken_by_value() -> None:
    out = torch.arange(2.0 * LENGTH).view(2, LENGTH)
    across = out.view(-1)[1 : LENGTH + 1]
    expected = across.clone()
    received = receive([Message(0, across, 1), Message(1, out[1], 1)], LENGTH, [1, 1], out)
    assert torch.equal(received.rows[0], expected)


def test_changing_a_payload_after_it_was_sent_changes_nothing() -> None:
    payload = GOOD.clone()
    received = _receive(payload)
    payload.fill_(math.nan)
    assert torch.equal(received.rows[0], GOOD)


def test_when_every_update_is_dropped_no_row_is_left() -> None:
    received = _receive(None, None)
    assert received.rows.shape == (0, LENGTH)
    assert received.clients == received.examples == ()
    assert len(received.rejected) == 2


def test_no_message_at_all() -> None:
    received = receive([], LENGTH, [], torch.empty(0, LENGTH))
    assert received.rows.shape == (0, LENGTH)


def test_a_model_without_parameters_receives_nothing() -> None:
    received = receive([Message(0, torch.zeros(0), 1)], 0, [1], torch.empty(1, 0))
    assert received.clients == ()


def test_upload_bytes_are_those_of_an_fp32_vector_and_its_header() -> None:
    assert _receive(GOOD).upload_bytes == 4 * LENGTH + HEADER_BYTES


@pytest.mark.parametrize("claim", [None, "7", 7.0, math.nan, math.inf, [7], True, np.int64(7), OddInt(7)])
def test_a_claim_that_is_no_whole_number_counts_as_one_example(claim: object) -> None:
    assert clamp_examples(claim, 100) == 1


@pytest.mark.parametrize(
    ("claim", "counted"), [(-(10**30), 1), (-1, 1), (0, 1), (1, 1), (9, 9), (10, 10), (11, 10), (10**400, 10)]
)
def test_a_claim_is_clamped_to_what_was_enrolled(claim: int, counted: int) -> None:
    assert clamp_examples(claim, 10) == counted


def test_what_is_counted_is_a_plain_whole_number() -> None:
    assert type(clamp_examples(Number.THREE, 10)) is int


@settings(deadline=None)
@given(
    claim=st.one_of(st.integers(), st.floats(), st.text(), st.booleans(), st.none(), st.binary()),
    enrolled=st.integers(1, 10**6),
)
def test_any_claim_counts_between_one_and_what_was_enrolled(claim: object, enrolled: int) -> None:
    assert 1 <= clamp_examples(claim, enrolled) <= enrolled


_DTYPES = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.int32,
    torch.uint8,
    torch.bool,
    torch.complex64,
)
_tensors = st.builds(
    lambda values, dtype, shape: _shaped(values, dtype, shape),
    st.lists(st.floats(width=32) | st.sampled_from((0.0, 1.0, 1e6, -1e6)), min_size=1, max_size=LENGTH + 2),
    st.sampled_from((torch.float32, *_DTYPES)),
    st.sampled_from(("vector", "matrix", "strided", "sparse", "gradient")),
)
_junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=5,
)


def _shaped(values: list[float], dtype: torch.dtype, shape: str) -> torch.Tensor:
    padded = [*values, *[0.0] * (LENGTH - len(values))]  # most of them get the right length
    tensor = torch.tensor(padded).nan_to_num(0.0).to(dtype) if dtype != torch.float32 else torch.tensor(padded)
    if shape == "matrix":
        return tensor[None]
    if shape == "strided":
        return torch.stack([tensor, tensor], dim=1)[:, 0]
    if shape == "sparse":
        return tensor.to_sparse()
    if shape == "gradient" and tensor.is_floating_point():
        return tensor.requires_grad_()
    return tensor


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(_tensors | _junk, _junk), max_size=5))
def test_whatever_is_sent_nothing_raises_and_what_is_kept_is_finite_and_bounded(
    sent: list[tuple[Any, Any]],
) -> None:
    messages = [Message(client, payload, claim) for client, (payload, claim) in enumerate(sent)]
    out = torch.full((len(sent), LENGTH), math.nan)
    received = receive(messages, LENGTH, [4] * len(sent), out)
    assert received.rows.shape == (len(received.clients), LENGTH)
    assert received.rows.dtype == torch.float32
    assert received.rows.isfinite().all()
    assert (received.rows.abs() <= MAX_ABSOLUTE).all()
    assert sorted([*received.clients, *(r.client for r in received.rejected)]) == list(range(len(sent)))
    assert all(1 <= count <= 4 for count in received.examples)
    for row, client in zip(received.rows, received.clients, strict=True):
        assert torch.equal(row, sent[client][0])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(width=32), min_size=LENGTH, max_size=LENGTH))
def test_a_vector_passes_if_and_only_if_every_value_is_bounded(values: list[float]) -> None:
    sound = all(math.isfinite(value) and abs(value) <= MAX_ABSOLUTE for value in values)
    assert (fault(torch.tensor(values), LENGTH) is None) == sound
