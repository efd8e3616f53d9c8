"""Masks: words that hide an update, and cancel in the sum or are taken off it."""

import numpy as np

from fedsec.privacy.keystream import KeyStream

from ..keys import KeyPair, digest
from ..parts import join_numbers


def add_self_mask(total: np.ndarray, session: bytes, secret: bytes, *, subtract: bool = False) -> None:
    """Add a client's own mask, which is taken off the sum where the client's update is in it.

    Args:
        total: uint32 [words]; changed in place.
        session: of the round.
        secret: the mask's 32 bytes.
        subtract: whether it is taken off.
    """
    KeyStream(digest(b"self mask stream", session, secret)).add_to(total, subtract=subtract)


def add_pairwise_mask(
    total: np.ndarray, session: bytes, own: KeyPair, number: int, other: int, public: bytes, *, subtract: bool = False
) -> None:
    """Add the mask that two clients share: the lower number adds it and the higher one subtracts it.

    Args:
        total: uint32 [words]; changed in place.
        session: of the round.
        own: the key pair of client `number`.
        number: the client whose mask it is.
        other: the client that it shares the mask with.
        public: the other client's public key.
        subtract: whether the mask that `number` put on is taken off.

    Raises:
        Refused: the public key is degenerate.
    """
    low, high = sorted((number, other))
    key = own.agree(public, b"mask", session, join_numbers([low, high]))
    KeyStream(key).add_to(total, subtract=(number > other) != subtract)
