"""The parties of homomorphic aggregation: clients that encrypt, a server that adds up, and who decrypts the sum.

`keys: authority`: clients encrypt by a public key and sign what they sent; the server hands all of it to the authority,
which adds it up itself. A sum that the server made could be one client's ciphertext, or a sum with a part masked out:
multiplication by a plaintext works slot by slot, so that no tag inside a ciphertext shows what else is in it.
`keys: shared`: every client has the one secret key, and the server sends the sum back. Nothing keeps a server from
sending one client's ciphertext to a client that it colludes with.

So who has the key reads every update that the server lets it have: the authority alone, and under shared keys a server
with one client.

A part of each update that crosses in the clear is checked as any plain update is, and takes the way of the rest of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedsec.api import AUTHORITY, Refused

from ..keys import SIGNATURE_BYTES, Directory, Identity, digest
from ..parts import join_numbers, split, split_numbers
from .seal import KeyPair, Scheme, add, dump, load, seal_values

STAGES = ("encrypt", "decrypt")
LARGEST = 1e6
"""Of an entry in the clear: what a server takes of a plain update."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The public settings of one round.

    Args:
        session: 16 bytes that no other round has.
        invited: the clients of the round, in rising order.
        fewest: updates that a sum has to hold.
        values: that an update takes in ciphertexts.
        clear: entries of it that cross in the clear.
        shares: each client's weight over the largest, which follows from what they claim.
        scheme: of the ciphertexts.
        directory: the clients' public signature keys.
    """

    session: bytes
    invited: tuple[int, ...]
    fewest: int
    values: int
    clear: int = 0
    shares: Mapping[int, float]
    scheme: Scheme
    directory: Directory

    def check(self, listed: tuple[int, ...]) -> None:
        """Raise Refused for a list that is no sum of enough of the round's clients."""
        if not set(listed) <= set(self.invited):
            raise Refused("a client in the sum is not of this round")
        if len(listed) < self.fewest:
            raise Refused(f"a sum of {len(listed)} updates is not decrypted, only one of at least {self.fewest}")


class Client:
    """One client in one round.

    Args:
        number: the client's.
        values: its update as the scheme encodes it [values].
        clear: what of it crosses in the clear [clear], fp32.
        terms: of the round.
        identity: its signature key.
        lock: encrypts a plaintext.
        keys: the shared key pair; None where an authority has it.
    """

    def __init__(
        self,
        number: int,
        values: np.ndarray,
        clear: np.ndarray,
        terms: Terms,
        identity: Identity,
        lock: Callable[[Any], Any],
        keys: KeyPair | None = None,
    ) -> None:
        self._number, self._values, self._clear, self._terms = number, values, clear, terms
        self._identity, self._lock, self._keys = identity, lock, keys
        self._stage = 0
        self.opened: np.ndarray | None = None
        """The decrypted sum [values], where it has the key."""
        self.clear = np.zeros(0, dtype=np.float32)
        """The weighted sum of what crossed in the clear [clear], as the server says it."""
        self.listed: tuple[int, ...] = ()
        """The clients that are said to be in it."""

    def answer(self, stage: int, request: bytes) -> bytes:
        """Return the answer to a request; see `fedsec.api.Party`."""
        if stage != self._stage or (stage and self._keys is None):
            raise Refused(f"stage {stage} was asked for where {self._stage} is next")
        self._stage += 1
        return self._encrypt(request) if stage == 0 else self._decrypt(request)

    def _encrypt(self, request: bytes) -> bytes:
        if request != self._terms.session:
            raise Refused("the round is another one")
        sealed = seal_values(self._terms.scheme, self._lock, self._values)
        clear = self._clear.astype("<f4").tobytes()
        return clear + self._identity.sign(*_sent(self._terms, self._number, clear, sealed)) + sealed

    def _decrypt(self, request: bytes) -> bytes:
        first, count, rest = split(request, 4 * self._terms.clear, 4)
        numbers, sealed = split(rest, 4 * int.from_bytes(count, "little"))
        listed, clear = split_numbers(numbers), np.frombuffer(first, dtype="<f4")
        self._terms.check(listed)
        if self._number not in listed:
            raise Refused("the sum is said to be without this client")
        if not np.isfinite(clear).all():
            raise Refused("the sum in the clear holds what is no number")
        assert self._keys is not None  # noqa: S101 - answer() looked
        self.opened = self._keys.open(load(self._terms.scheme, sealed, self._terms.values), self._terms.values)
        self.listed, self.clear = listed, clear
        return b""


class Server:
    """The server in one round; it holds no key.

    Args:
        terms: of the round.
        authority: whether an authority decrypts; the clients do otherwise.
    """

    stages = STAGES

    def __init__(self, terms: Terms, *, authority: bool) -> None:
        self._terms, self._authority, self._sum = terms, authority, _Sum(terms)
        self.sent: dict[int, bytes] = {}
        """What each client in the sum sent."""
        self.said: bytes = b""
        """The sum, as it is sent to each client that decrypts."""
        self.dropped: dict[int, str] = {}
        """Clients whose answers broke the protocol, and how."""
        self.survivors: tuple[int, ...] = ()
        """Clients whose updates are in the sum, in rising order."""

    def requests(self, stage: int) -> Mapping[int, bytes]:
        """Return what is asked of each party in a stage; see `fedsec.api.Centre`."""
        if stage == 0:
            return dict.fromkeys(self._terms.invited, self._terms.session)
        if self._authority:
            return {AUTHORITY: _packed(self.sent)}
        head = len(self.survivors).to_bytes(4, "little") + join_numbers(self.survivors)
        self.said = self._sum.clear.tobytes() + head + dump(self._sum.sealed)
        return dict.fromkeys(self.survivors, self.said)

    def collect(self, stage: int, answers: Mapping[int, bytes]) -> None:
        """Take the answers that arrived in a stage; Refused if too few are valid."""
        if stage == 1:
            if not answers:
                raise Refused("nobody decrypted the sum")
            return
        for client in sorted(answers):
            try:
                self._take(client, answers[client])
            except Refused as reason:
                self.dropped[client] = str(reason)
        self.survivors = tuple(sorted(self.sent))
        if len(self.survivors) < self._terms.fewest:
            raise Refused(f"{len(self.survivors)} clients sent an update, the threshold is {self._terms.fewest}")

    def _take(self, client: int, content: bytes) -> None:
        if self._authority:
            _checked(self._terms, client, content)
        else:
            self._sum.add(client, content)
        self.sent[client] = content


class Authority:
    """The party that decrypts, once in a round, what it added up itself.

    Args:
        terms: of the round.
        keys: the key pair.
    """

    def __init__(self, terms: Terms, keys: KeyPair) -> None:
        self._terms, self._keys, self._asked = terms, keys, False
        self.opened: np.ndarray | None = None
        """The decrypted sum [values]."""
        self.clear = np.zeros(0, dtype=np.float32)
        """The weighted sum of what crossed in the clear [clear]."""
        self.listed: tuple[int, ...] = ()
        """The clients whose updates are in it."""

    def answer(self, stage: int, request: bytes) -> bytes:
        """Return the answer to a request; see `fedsec.api.Party`."""
        if stage != 1 or self._asked:  # two sums of one round would differ by one client's update
            raise Refused("a round's sum is decrypted once")
        self._asked = True
        sent, total = _unpacked(request), _Sum(self._terms)
        self._terms.check(tuple(sent))
        for client, content in sent.items():
            try:
                total.add(client, content)
            except Refused as reason:
                raise Refused(f"client {client}: {reason}") from reason
        self.opened = self._keys.open(total.sealed, self._terms.values)
        self.listed, self.clear = tuple(sent), total.clear
        return b""


class _Sum:
    """A sum of what clients sent.

    Args:
        terms: of the round.
    """

    def __init__(self, terms: Terms) -> None:
        self._terms, self._clear = terms, np.zeros(terms.clear)
        self.sealed: list[Any] = []
        """The sum of the ciphertexts; none before the first update."""

    def add(self, client: int, content: bytes) -> None:
        """Add what a client sent; Refused, and the sum is as it was, if it is not valid."""
        clear, sealed = _checked(self._terms, client, content)
        self.sealed = add(self._terms.scheme, self.sealed, sealed) if self.sealed else sealed
        self._clear += self._terms.shares[client] * clear.astype(np.float64)

    @property
    def clear(self) -> np.ndarray:
        """Return the weighted sum of what crossed in the clear [clear], fp32."""
        return self._clear.astype("<f4")


def read(terms: Terms, keys: KeyPair, client: int, content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return what a client sent as who has the key reads it: the encrypted values, and the part in the clear.

    Args:
        terms: of the round.
        keys: the key pair.
        client: the sender.
        content: that the server took.
    """
    clear, sealed = _checked(terms, client, content)
    return keys.open(sealed, terms.values), clear


def _checked(terms: Terms, client: int, content: bytes) -> tuple[np.ndarray, list[Any]]:
    """Return a client's part in the clear and its ciphertexts, if it signed them for this round."""
    first, signature, sealed = split(content, 4 * terms.clear, SIGNATURE_BYTES)
    said = _sent(terms, client, first, sealed)
    if client not in terms.invited or not terms.directory.signed(client, signature, *said):
        raise Refused("its update is not signed by it for this round")
    clear = np.frombuffer(first, dtype="<f4")
    if not (np.abs(clear) <= LARGEST).all():
        raise Refused(f"its part in the clear holds a value that is no number, or beyond {LARGEST:g}")
    return clear, load(terms.scheme, sealed, terms.values)


def _sent(terms: Terms, client: int, clear: bytes, sealed: bytes) -> tuple[bytes, ...]:
    return b"encrypt", terms.session, join_numbers([client]), digest(clear, sealed)


def _packed(sent: Mapping[int, bytes]) -> bytes:
    """Return what each client sent, after its number and length, in rising order."""
    return b"".join(
        join_numbers([client]) + len(sent[client]).to_bytes(4, "little") + sent[client] for client in sorted(sent)
    )


def _unpacked(content: bytes) -> dict[int, bytes]:
    sent: dict[int, bytes] = {}
    while content:
        number, length, content = split(content, 4, 4)
        one, content = split(content, int.from_bytes(length, "little"))
        client = int.from_bytes(number, "little")
        if client <= max(sent, default=-1):
            raise Refused("the updates are not in rising order of their clients, each once")
        sent[client] = one
    return sent
