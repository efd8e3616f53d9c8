"""Keys: signatures that say who speaks, and secrets that two clients agree on for one round."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedsec.api import Refused
from fedsec.privacy.keystream import KEY_BYTES

PUBLIC_BYTES, SIGNATURE_BYTES, TAG_BYTES = 32, 64, 16


class Identity:
    """A client's long-lived signature key (Ed25519).

    Args:
        secret: 32 random bytes.
    """

    def __init__(self, secret: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(secret)

    @property
    def public(self) -> bytes:
        """Return the public key, which every party knows before the first round."""
        return self._key.public_key().public_bytes_raw()

    def sign(self, *parts: bytes) -> bytes:
        """Return a signature under parts that are of known length but the last."""
        return self._key.sign(b"".join(parts))


@dataclass(frozen=True, slots=True)
class Directory:
    """The public signature keys of all clients, which a server cannot change.

    Args:
        keys: by client.
    """

    keys: Mapping[int, bytes]

    def signed(self, client: int, signature: bytes, *parts: bytes) -> bool:
        """Return whether a client signed these parts; False for a client that nobody knows."""
        if client not in self.keys:
            return False
        try:
            Ed25519PublicKey.from_public_bytes(self.keys[client]).verify(signature, b"".join(parts))
        except InvalidSignature:
            return False
        return True


class KeyPair:
    """A key pair of one round (X25519).

    Args:
        secret: 32 random bytes.
    """

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self._key = X25519PrivateKey.from_private_bytes(secret)
        self._common: dict[bytes, bytes] = {}

    @property
    def public(self) -> bytes:
        """Return the public key."""
        return self._key.public_key().public_bytes_raw()

    def agree(self, public: bytes, *about: bytes) -> bytes:
        """Return the 32 bytes that both holders of the two keys derive, for what `about` says and nothing else.

        Raises:
            Refused: the other key is one of those with which everybody would derive the same.
        """
        if public not in self._common:
            try:
                self._common[public] = self._key.exchange(X25519PublicKey.from_public_bytes(public))
            except ValueError as error:
                raise Refused("a public key is degenerate") from error
        derive = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=b"fedsec " + b" ".join(about))
        return derive.derive(self._common[public])


def seal(key: bytes, content: bytes, about: bytes) -> bytes:
    """Return a sealed message (AES-256-GCM) under a key that seals no other one.

    Args:
        key: 32 bytes.
        content: is hidden.
        about: is not, but cannot be changed either.
    """
    return AESGCM(key).encrypt(bytes(12), content, about)


def unseal(key: bytes, content: bytes, about: bytes) -> bytes | None:
    """Return what was sealed, or None if it is not what its sender sealed."""
    try:
        return AESGCM(key).decrypt(bytes(12), content, about)
    except InvalidTag:
        return None


def digest(*parts: bytes) -> bytes:
    """Return the SHA-256 of parts that are of known length but the last."""
    return hashlib.sha256(b"".join(parts)).digest()
