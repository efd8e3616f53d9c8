"""Codecs: updates as the bytes that cross the network, and back; bytes are counted here.

A plain update is its fp32 values, and stays where it is: nothing is copied. One of fewer bits is whole numbers with a
step for each tensor, a sparse one the entries that are not 0 with their places. Both are used only where the receiver
gets exactly the values that were meant; an update that does not fit its encoding, since a later hook changed it, say,
is written plainly. What secure aggregation makes of updates (masked words, ciphertexts) its protocol counts itself.
"""

import numpy as np
import torch

from fedsec.api import Encoding, Layout

HEADER_BYTES = 16
"""Round, client, claimed number of examples and length."""
BYTES_PER_VALUE = 4
_BLOCK = 1 << 18
_WIDTH = 16
"""The most bits of a whole number."""


def plain_bytes(parameters: int) -> int:
    """Return the size of a plain update on the network."""
    return HEADER_BYTES + BYTES_PER_VALUE * parameters


def encode(vector: torch.Tensor, encoding: Encoding, layout: Layout) -> bytes | None:
    """Return an update's bytes without a header, or None where plain fp32 is no longer, or the only exact way.

    Args:
        vector: fp32 [parameters].
        encoding: how it is to be written.
        layout: of the vector.
    """
    values = np.ascontiguousarray(vector.detach().numpy())
    content: bytes | None
    if encoding.sparse:
        content = _write_sparse(values)
    elif encoding.bits in range(1, _WIDTH + 1):
        content = _write_numbers(values, encoding, layout)
    else:
        return None
    return content if content is not None and len(content) < BYTES_PER_VALUE * len(values) else None


def decode(content: bytes, encoding: Encoding, layout: Layout) -> torch.Tensor:
    """Return the update that was encoded [parameters], fp32.

    Args:
        content: from `encode`.
        encoding: the same.
        layout: of the vector.

    Raises:
        ValueError: these are not the bytes of such an update.
    """
    values = _read_sparse(content, layout.size) if encoding.sparse else _read_numbers(content, encoding.bits, layout)
    return torch.from_numpy(values)


def _write_sparse(values: np.ndarray) -> bytes:
    """Write the entries that are not 0, after their places: a bit for every entry, or a number for every such entry."""
    places = np.flatnonzero(values)  # NaN is among them
    kept = values[places].astype("<f4").tobytes()
    if BYTES_PER_VALUE * len(places) < -(-len(values) // 8):
        return b"n" + places.astype("<u4").tobytes() + kept
    return b"b" + np.packbits(values != 0).tobytes() + kept


def _read_sparse(content: bytes, length: int) -> np.ndarray:
    values = np.zeros(length, dtype=np.float32)
    if content[:1] == b"b":
        end = 1 + -(-length // 8)
        places = np.flatnonzero(np.unpackbits(np.frombuffer(content[1:end], dtype=np.uint8), count=length))
        kept = np.frombuffer(content[end:], dtype="<f4")
    elif content[:1] == b"n" and len(content) % (2 * BYTES_PER_VALUE) == 1:
        places, kept = np.split(np.frombuffer(content[1:], dtype="<u4"), 2)
        kept = kept.view("<f4")
    else:
        raise ValueError("these are not the bytes of a sparse update")
    if len(places) != len(kept) or (len(places) and int(places.max()) >= length):
        raise ValueError("the places of a sparse update do not fit its values")
    values[places] = kept
    return values


def _write_numbers(values: np.ndarray, encoding: Encoding, layout: Layout) -> bytes | None:
    """Write each tensor's step, then all whole numbers; None where a value is no whole number of its tensor's step."""
    if len(encoding.steps) != len(layout.parameters):
        return None
    steps = np.array(encoding.steps, dtype="<f4")
    parts = [steps.tobytes()]
    for step, start, stop in _bounds(steps, layout):
        for at in range(start, stop, _BLOCK):
            numbers = _numbers(values[at : min(at + _BLOCK, stop)], step, encoding.bits)
            if numbers is None:
                return None
            parts.append(_pack(numbers, encoding.bits))
    return b"".join(parts)


def _read_numbers(content: bytes, bits: int, layout: Layout) -> np.ndarray:
    head = BYTES_PER_VALUE * len(layout.parameters)
    steps = np.frombuffer(content[:head], dtype="<f4")
    if len(steps) != len(layout.parameters):
        raise ValueError("an update of whole numbers breaks off")
    values = np.empty(layout.size, dtype=np.float32)
    for step, start, stop in _bounds(steps, layout):
        for at in range(start, stop, _BLOCK):
            count = min(_BLOCK, stop - at)
            packed = content[head : head + -(-count * bits // 8)]
            if 8 * len(packed) < count * bits:
                raise ValueError("an update of whole numbers breaks off")
            values[at : at + count] = _scaled(_unpack(packed, count, bits), step, bits)
            head += len(packed)
    return values


def _bounds(steps: np.ndarray, layout: Layout) -> list[tuple[np.float32, int, int]]:
    ends = (*layout.offsets[1:], layout.size)
    return list(zip(steps, layout.offsets, ends, strict=True))


def _numbers(part: np.ndarray, step: np.float32, bits: int) -> np.ndarray | None:
    """Return the whole numbers from 0 that stand for values, uint16; None if one of them is between two."""
    if bits == 1:
        numbers = (part > 0).astype(np.uint16)
    else:
        largest = (1 << (bits - 1)) - 1
        with np.errstate(all="ignore"):  # what is no number fails the comparison below
            whole = np.rint(part / step) if step else np.zeros_like(part)
            numbers = (np.nan_to_num(np.clip(whole, -largest, largest)) + largest).astype(np.uint16)
    return numbers if np.array_equal(_scaled(numbers, step, bits), part) else None


def _scaled(numbers: np.ndarray, step: np.float32, bits: int) -> np.ndarray:
    if bits == 1:
        return np.where(numbers > 0, step, -step).astype(np.float32)
    return (numbers.astype(np.float32) - np.float32((1 << (bits - 1)) - 1)) * step


def _pack(numbers: np.ndarray, bits: int) -> bytes:
    """Return whole numbers of so many bits end to end."""
    if bits == _WIDTH:
        return numbers.astype(">u2").tobytes()
    if bits == 8:
        return numbers.astype(np.uint8).tobytes()
    each = np.unpackbits(numbers.astype(">u2").view(np.uint8)).reshape(-1, _WIDTH)
    return np.packbits(each[:, _WIDTH - bits :]).tobytes()


def _unpack(packed: bytes, count: int, bits: int) -> np.ndarray:
    if bits == _WIDTH:
        return np.frombuffer(packed, dtype=">u2").astype(np.uint16)
    if bits == 8:
        return np.frombuffer(packed, dtype=np.uint8).astype(np.uint16)
    each = np.zeros((count, _WIDTH), dtype=np.uint8)
    each[:, _WIDTH - bits :] = np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=count * bits).reshape(
        -1, bits
    )
    return np.packbits(each, axis=1).view(">u2").ravel().astype(np.uint16)
