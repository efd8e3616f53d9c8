"""Random bytes that protect something: AES-256 in counter mode, under a key of the operating system or of a seed."""

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fedsec.api import SERVER

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedsec.api import Secrets

KEY_BYTES = 32
_WORDS = 1 << 16
"""Words that are made at a time: 256 KiB, which a core's cache holds beside what they are added to."""
_ZEROS = bytes(4 * _WORDS)
_SLACK = 15
"""Bytes beyond the output that `update_into` wants to be able to write."""


class KeyStream:
    """Random bytes and words of one key: AES-256 in counter mode, which nobody without the key tells from uniform ones.

    Args:
        key: 32 bytes, of which no other stream may be made.

    Raises:
        ValueError: the key has another length.

    Source: NIST SP 800-38A, section 6.5.
    Deviations: none.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
        self._stream: Any = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()

    def bytes(self, count: int) -> bytes:
        """Return the next bytes."""
        found: bytes = self._stream.update(bytes(count))
        return found

    def below(self, bound: int) -> int:
        """Return a whole number from 0 to `bound - 1`, each as likely as the others; `bound` is at least 1."""
        bits = (bound - 1).bit_length()
        size = (bits + 7) // 8
        while True:
            drawn = int.from_bytes(self.bytes(size), "little") & ((1 << bits) - 1)
            if drawn < bound:
                return drawn

    def words(self, count: int) -> np.ndarray:
        """Return the next 32-bit words [count], uint32."""
        total = np.zeros(count, dtype=np.uint32)
        self.add_to(total)
        return total

    def add_to(self, total: np.ndarray, *, subtract: bool = False) -> None:
        """Add as many words as `total` has to it, or subtract them, modulo 2^32.

        Args:
            total: uint32 [words]; changed in place.
            subtract: whether they are subtracted.
        """
        scratch = bytearray(4 * min(_WORDS, len(total)) + _SLACK)
        made = np.frombuffer(scratch, dtype="<u4", count=min(_WORDS, len(total)))
        combine = np.subtract if subtract else np.add
        for start in range(0, len(total), _WORDS):
            part = total[start : start + _WORDS]
            self._stream.update_into(memoryview(_ZEROS)[: 4 * len(part)], scratch)
            combine(part, made[: len(part)], out=part)


def secure(purpose: str, client: int = SERVER) -> KeyStream:
    """Return a stream under a key of the operating system, whatever the purpose; it is kept nowhere."""
    return KeyStream(os.urandom(KEY_BYTES))


def seeded(key_of: "Callable[[str, int, int], bytes]", round_number: int) -> "Secrets":
    """Return what gives a round's streams under keys of a seed, which everybody knows who knows the seed.

    Args:
        key_of: gives 32 bytes for a purpose, a round and a client.
        round_number: the round.
    """
    return partial(_of_seed, key_of, round_number)


def _of_seed(
    key_of: "Callable[[str, int, int], bytes]", round_number: int, purpose: str, client: int = SERVER
) -> KeyStream:
    if client < SERVER:  # seeds are told apart by clients from -1 on
        purpose, client = f"{purpose} of party {client}", SERVER
    return KeyStream(key_of(purpose, round_number, client))
