"""Channels: a message arrives as it was sent, from whom it says and once, or it does not arrive."""

import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_HEADER = struct.Struct("<Iii")
_NONCE = struct.Struct("<Iii")
_TAG_BYTES = 16
OVERHEAD_BYTES = _HEADER.size + _TAG_BYTES
"""Stage, sender, receiver, and the tag that authenticates all of it."""


class Channel:
    """The channel between the server and one other party in one round; it authenticates and does not hide.

    What TLS would do between two machines: `federation.tls` decides whether an eavesdropper reads along, nothing here.

    Args:
        key: 32 bytes that these two parties have for this round, and nobody else.
    """

    def __init__(self, key: bytes) -> None:
        self._tag = AESGCM(key)

    def seal(self, stage: int, sender: int, receiver: int, content: bytes) -> bytes:
        """Return what crosses the network; a stage has one message in each direction.

        Args:
            stage: its number.
            sender: the number of the party that says it.
            receiver: of the party that it is said to.
            content: the message.
        """
        head = _HEADER.pack(stage, sender, receiver)
        tag = self._tag.encrypt(_NONCE.pack(stage, sender, receiver), b"", head + content)
        return b"".join((head, content, tag))

    def open(self, stage: int, sender: int, receiver: int, crossed: bytes) -> bytes | None:
        """Return the message, or None where it is not what the sender sent in this stage.

        Args:
            stage: that the receiver expects.
            sender: from whom.
            receiver: who opens it.
            crossed: what arrived.
        """
        head = _HEADER.pack(stage, sender, receiver)
        if len(crossed) < OVERHEAD_BYTES or crossed[: _HEADER.size] != head:
            return None
        try:
            self._tag.decrypt(_NONCE.pack(stage, sender, receiver), crossed[-_TAG_BYTES:], crossed[:-_TAG_BYTES])
        except InvalidTag:
            return None
        return crossed[_HEADER.size : -_TAG_BYTES]
