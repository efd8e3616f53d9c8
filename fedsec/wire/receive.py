"""The server's check of every message: an update is untrusted until it has passed here, once."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from fedsec.wire.codec import plain_bytes

MAX_ABSOLUTE = 1e6
"""The largest value of a valid update: no gradient or weight difference of a model that still trains exceeds it."""

_LONGEST, _DIMENSIONS = 60, 8
"""The longest type name and shape in a reason, which goes into the cell's file."""


class Message(NamedTuple):
    """What a client sends in a round."""

    client: int
    payload: Any
    """The update; it should be an fp32 vector [parameters], and may be anything."""
    examples: Any
    """Claimed number of examples; it may be anything."""
    size: int | None = None
    """Bytes on the network; those of a plain update where absent."""


class Rejection(NamedTuple):
    """An update that the server dropped, with its sender."""

    client: int
    reason: str


class Received(NamedTuple):
    """What the server accepts of a round's messages."""

    rows: torch.Tensor
    """The accepted updates [clients, parameters], fp32."""
    clients: tuple[int, ...]
    examples: tuple[int, ...]
    """Claimed numbers of examples, clamped to what was enrolled."""
    rejected: tuple[Rejection, ...]
    upload_bytes: int
    """Bytes of the largest message."""
    clamped: tuple[Rejection, ...] = ()
    """Claims that exceeded what was enrolled, with their senders."""


def receive(
    messages: Sequence[Message],
    parameters: int,
    enrolled: Sequence[int],
    out: torch.Tensor,
    *,
    readable: bool = True,
) -> Received:
    """Check each message, drop what fails, and stack the rest into `out`.

    Args:
        messages: one per client, in the cohort's order.
        parameters: length that an update must have.
        enrolled: examples that each of these clients enrolled with; claims are clamped to it.
        out: fp32 buffer [len(messages), parameters]; a payload may already be one of its rows.
        readable: whether the server reads values; under masks or ciphertexts it checks what they are packed in.
    """
    kept: list[int] = []
    rejected = []
    for index, message in enumerate(messages):
        reason = fault(message.payload, parameters, readable=readable)
        if reason is None:
            if not _is_that_row(message.payload, out[index]):
                out[index].copy_(message.payload.detach().clone())  # it may be made of other rows of `out`
            kept.append(index)
        else:
            rejected.append(Rejection(message.client, reason))
    rows = out if len(kept) == len(messages) else out[kept]
    return Received(
        rows=rows,
        clients=tuple(messages[i].client for i in kept),
        examples=tuple(clamp_examples(messages[i].examples, enrolled[i]) for i in kept),
        rejected=tuple(rejected),
        upload_bytes=max((_size(message, parameters) for message in messages), default=plain_bytes(parameters)),
        clamped=tuple(
            Rejection(messages[i].client, f"claimed more than the {enrolled[i]} examples that it enrolled with")
            for i in kept
            if type(messages[i].examples) is int and messages[i].examples > enrolled[i]
        ),
    )


def _size(message: Message, parameters: int) -> int:
    return plain_bytes(parameters) if message.size is None else message.size


def fault(payload: object, parameters: int, *, readable: bool = True) -> str | None:
    """Return why a payload cannot be used, or None if it can.

    Args:
        payload: anything.
        parameters: length that an update must have.
        readable: whether its values are looked at.
    """
    if type(payload) is not torch.Tensor:  # a subclass runs code of its own in every operation
        return f"no plain tensor but {_type_name(payload)}"
    if payload.__dict__:  # an attribute named like a method would be called in its place
        return "a tensor with attributes of its own"
    try:
        return _unsound(payload, parameters, readable)
    except Exception:  # wrappers that vmap, grad and the like leave behind are plain by type and allow no operation
        return "a tensor that cannot be looked at"


def _unsound(vector: torch.Tensor, parameters: int, readable: bool) -> str | None:
    if vector.dtype != torch.float32:
        return f"dtype {vector.dtype}, expected torch.float32"
    if vector.layout != torch.strided or vector.is_nested or vector.device.type == "meta":
        return "no dense tensor with values"
    if tuple(vector.shape) != (parameters,):
        return f"shape {_shown(vector.shape)}, expected [{parameters}]"
    if parameters == 0 or not _is_backed(vector):
        return "holds no values"
    if not readable:
        return None
    low, high = (float(bound) for bound in torch.aminmax(vector.detach()))  # NaN, if any, comes out of both
    if low != low or high != high:
        return "holds NaN"
    largest = max(-low, high)
    if largest == float("inf"):
        return "holds infinite values"
    if largest > MAX_ABSOLUTE:
        return f"holds a value of {largest:g}, more than {MAX_ABSOLUTE:g}"
    return None


def _type_name(value: object) -> str:
    """Return a class's own name, truncated; its metaclass is not asked."""
    name: str = type.__dict__["__name__"].__get__(type(value))
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}..."


def _shown(shape: torch.Size) -> str:
    return str(list(shape)) if len(shape) <= _DIMENSIONS else f"of {len(shape)} dimensions"


def clamp_examples(claim: object, enrolled: int) -> int:
    """Return a claimed number of examples between 1 and what was enrolled; anything but a whole number counts as 1."""
    if type(claim) is not int:  # a subclass may compare as it likes
        return 1
    return max(1, min(claim, enrolled))


def _is_that_row(payload: torch.Tensor, row: torch.Tensor) -> bool:
    """Return whether a payload is `row` itself, so that the checked values are the stored ones."""
    return payload.data_ptr() == row.data_ptr() and payload.is_contiguous() and not payload.is_neg()


def _is_backed(vector: torch.Tensor) -> bool:
    """Return whether a vector has memory up to its last value: not for a shrunk storage, nor for wrappers."""
    last = vector.storage_offset() + (len(vector) - 1) * vector.stride(0)
    return vector.data_ptr() != 0 and (last + 1) * vector.element_size() <= vector.untyped_storage().nbytes()
