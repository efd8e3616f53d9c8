"""How messages are put together: fields of known length, and lists of them with the client that each is of."""

import struct
from collections.abc import Iterable, Mapping
from itertools import pairwise

from fedsec.api import Refused

_NUMBER = struct.Struct("<I")
NUMBER_BYTES = _NUMBER.size


def split(content: bytes, *lengths: int) -> list[bytes]:
    """Return the fields of a message, and what follows them.

    Raises:
        Refused: the message is too short.
    """
    found, start = [], 0
    for length in lengths:
        found.append(content[start : start + length])
        start += length
    if start > len(content):
        raise Refused(f"a message of {len(content)} bytes is too short")
    return [*found, content[start:]]


def join_numbers(numbers: Iterable[int]) -> bytes:
    """Return clients' numbers as bytes."""
    return b"".join(_NUMBER.pack(number) for number in numbers)


def split_numbers(content: bytes) -> tuple[int, ...]:
    """Return clients' numbers of a message that holds nothing else, in rising order.

    Raises:
        Refused: it is no such message.
    """
    if len(content) % NUMBER_BYTES:
        raise Refused("a list of clients breaks off")
    found = tuple(number for (number,) in _NUMBER.iter_unpack(content))
    if any(later <= earlier for earlier, later in pairwise(found)):
        raise Refused("a list of clients is not in rising order")
    return found


def join_list(entries: Mapping[int, bytes]) -> bytes:
    """Return fields of one length, each with a client's number before it, in rising order."""
    return b"".join(_NUMBER.pack(number) + entries[number] for number in sorted(entries))


def split_list(content: bytes, length: int) -> dict[int, bytes]:
    """Return the fields of that length by the client's number.

    Raises:
        Refused: it is no such list, or a client is in it twice.
    """
    size = NUMBER_BYTES + length
    if len(content) % size:
        raise Refused("a list of fields breaks off")
    starts = range(0, len(content), size)
    split_numbers(b"".join(content[start : start + NUMBER_BYTES] for start in starts))
    return {_NUMBER.unpack_from(content, start)[0]: content[start + NUMBER_BYTES : start + size] for start in starts}
