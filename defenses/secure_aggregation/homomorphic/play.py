"""One round of homomorphic aggregation, whatever the scheme."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import floor
from typing import Any

import numpy as np
import torch

from fedsec.api import AUTHORITY, ExchangeContext, Exchanged, Measured, Party, Played, Refused
from fedsec.privacy.keystream import KEY_BYTES, KeyStream

from ..keys import Directory, Identity, digest
from .parties import Authority, Client, Server, Terms, read
from .seal import KeyPair, Scheme, public_lock

Decoded = Callable[[np.ndarray, float], torch.Tensor]
"""Gives what decrypted numbers stand for, divided by a sum of weights [entries], fp32."""


@dataclass(slots=True)
class Keys:
    """What lasts over the rounds of a training; keys are never stored: a resumed one makes them anew."""

    identities: dict[int, Identity] = field(default_factory=dict)
    scheme: Scheme | None = None
    pair: KeyPair | None = None
    common: bytes = b""
    """A secret of all who have the key, from which they draw what has to be alike."""
    summed: int = 0
    """Bytes of all sums that were sent back so far, of each one once: clients with the key make the model of them."""
    had: dict[int, int] = field(default_factory=dict)
    """The same when a client last had all of them: it has to be sent the others before it can train again."""

    def state(self) -> dict[str, Any]:
        """Return what is counted over rounds, without any key."""
        return {"summed": self.summed, "had": [list(one) for one in sorted(self.had.items())]}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Count on from an earlier state."""
        self.summed, self.had = int(state["summed"]), {int(client): int(count) for client, count in state["had"]}

    def received(self, played: Played, clients: Mapping[int, Client], said: bytes) -> int:
        """Return the most bytes that a client received for the round, with the sums that it had missed before.

        Args:
            played: the round's protocol.
            clients: of the round; those that decrypted have the model.
            said: the sum as it was sent to each of them.
        """
        late = {client: self.summed - self.had.get(client, 0) for client in clients}
        self.had |= dict.fromkeys(clients, self.summed)
        decrypted = [client for client, one in clients.items() if one.opened is not None]
        if decrypted:
            self.summed += len(said)
            self.had |= dict.fromkeys(decrypted, self.summed)
        return max(played.received.get(client, 0) + missed for client, missed in late.items())

    def start(self, scheme: Any, context: ExchangeContext) -> Any:
        """Make the keys of a scheme, and return it."""
        draw = context.lasting("keys", AUTHORITY) if context.seeded else None
        self.scheme, self.pair = scheme, KeyPair(scheme, draw)
        self.common = context.lasting("common", AUTHORITY).bytes(KEY_BYTES)
        return scheme


@dataclass(frozen=True, slots=True)
class Found:
    """What came of a round."""

    terms: Terms
    pair: KeyPair
    common: bytes
    played: Played
    sent: Mapping[int, bytes]
    """What the server took of each client."""
    dropped: Mapping[int, str]
    """The clients of which it took nothing, and why."""
    opened: np.ndarray | None
    """The decrypted sum [values]."""
    clear: np.ndarray
    """The weighted sum of what crossed in the clear [entries], fp32."""
    clients: tuple[int, ...]
    divisor: float
    """The sum of the clients' weights over the largest."""
    saturated: float
    encrypted: float
    """The share of the entries that was encrypted."""
    shared: bool
    received: int | None
    """The most bytes that a client received, with what it had missed; None where the engine counts them."""

    def noise(self) -> KeyStream:
        """Return a stream of this round that all who have the key draw alike, and nobody else."""
        return KeyStream(digest(b"noise of the sum", self.terms.session, self.common))

    def measured(self, decoded: Decoded, flooded: Callable[[np.ndarray], np.ndarray] = np.asarray) -> Measured:
        """Return what the exchange returns, with what is recorded of the round.

        Args:
            decoded: gives a mean, from its decrypted sum.
            flooded: gives the decrypted sum as it leaves who decrypted it.
        """
        numbers = {"saturated": self.saturated, "in-the-sum": float(len(self.clients)), "encrypted": self.encrypted}
        if self.played.failed is not None or self.opened is None:
            why = self.played.failed or "nobody decrypted the sum"
            if AUTHORITY in self.played.refusals:
                why = f"the authority decrypts no sum: {self.played.refusals[AUTHORITY]}"
            done = Exchanged(None, skipped=why, dropped=self.dropped)
            return Measured(replace(done, sends_model=not self.shared, download_bytes=self.received), numbers)
        clear = torch.from_numpy((self.clear.astype(np.float64) / self.divisor).astype(np.float32))
        done = Exchanged(
            torch.cat([decoded(flooded(self.opened), self.divisor), clear]),
            clients=self.clients,
            sends_model=not self.shared,
            download_bytes=self.received,
            dropped=self.dropped,
            rows=lambda: torch.stack([self._row(client, decoded) for client in self.clients]),
        )
        return Measured(done, numbers)

    def _row(self, client: int, decoded: Decoded) -> torch.Tensor:
        """Return a client's update as who has the key reads it [parameters]; zeros where it holds no numbers alone."""
        try:
            opened, clear = read(self.terms, self.pair, client, self.sent[client])
        except Refused:
            assert self.opened is not None  # noqa: S101 - there is a sum
            opened, clear = np.zeros_like(self.opened), np.zeros_like(self.clear)
        return torch.cat([decoded(opened, self.terms.shares[client]), torch.from_numpy(clear.astype(np.float32))])


def play(
    rows: torch.Tensor,
    weights: torch.Tensor,
    context: ExchangeContext,
    encode: Callable[[torch.Tensor, float], tuple[np.ndarray, int]],
    kept: Keys,
    *,
    shared: bool,
    fraction: float,
    values: int,
    hidden: int,
) -> Found:
    """Play the protocol for one round.

    Args:
        rows: fp32 [clients, parameters].
        weights: fp64 [clients].
        context: of the round.
        encode: returns the numbers that an update is encrypted as, and how many entries saturated.
        kept: the keys; those of new clients are added.
        shared: whether all clients have the secret key, in place of an authority.
        fraction: of the round's clients, of which more have to be in the sum.
        values: that an update takes in ciphertexts.
        hidden: entries of an update that are encrypted, from the first on.
    """
    assert kept.scheme is not None  # noqa: S101 - it was started
    assert kept.pair is not None  # noqa: S101 - it was started
    place = {client: at for at, client in enumerate(context.clients)}
    share = {client: float(weights[at] / weights.max()) for client, at in place.items()}
    for client in place.keys() - kept.identities.keys():
        kept.identities[client] = Identity(context.lasting("identity", client).bytes(32))
    terms = Terms(
        session=context.secrets("session").bytes(16),
        invited=tuple(sorted(place)),
        fewest=min(len(rows), max(2, floor(fraction * len(rows) + 1e-9) + 1)),
        values=values,
        clear=rows.shape[1] - hidden,
        shares=share,
        scheme=kept.scheme,
        directory=Directory({client: kept.identities[client].public for client in place}),
    )
    encoded = {client: encode(rows[place[client], :hidden], share[client]) for client in terms.invited}
    clients = {
        client: _client(client, encoded[client][0], rows[place[client], hidden:], terms, kept, context, shared=shared)
        for client in terms.invited
    }
    server, authority = Server(terms, authority=not shared), Authority(terms, kept.pair)
    parties: dict[int, Party] = {**clients, **({} if shared else {AUTHORITY: authority})}
    played = context.wire.play(server, parties)
    reader = next((one for one in clients.values() if one.opened is not None), None) if shared else authority
    listed = () if reader is None else reader.listed
    saturated = sum(count for _, count in encoded.values()) / max(1, len(rows) * hidden)
    divisor = sum(share[client] for client in listed)
    opened, clear = (None, np.zeros(0)) if reader is None else (reader.opened, reader.clear)
    encrypted = hidden / max(1, rows.shape[1])
    return Found(
        terms,
        kept.pair,
        kept.common,
        played,
        server.sent,
        server.dropped,
        opened,
        clear,
        listed,
        divisor,
        saturated,
        encrypted,
        shared,
        kept.received(played, clients, server.said) if shared else None,
    )


def _client(
    client: int,
    values: np.ndarray,
    clear: torch.Tensor,
    terms: Terms,
    kept: Keys,
    context: ExchangeContext,
    *,
    shared: bool,
) -> Client:
    """Return a client with what it encrypts and what it sends in the clear."""
    lock = _lock(kept, context, client, shared=shared)
    pair = kept.pair if shared else None
    return Client(client, values, clear.numpy(), terms, kept.identities[client], lock, pair)


def _lock(kept: Keys, context: ExchangeContext, client: int, *, shared: bool) -> Callable[[Any], Any]:
    """Return what encrypts a client's update, with seeds of its own where everything has to repeat."""
    assert kept.scheme is not None  # noqa: S101 - it was started
    assert kept.pair is not None  # noqa: S101 - it was started
    draw = context.secrets("encryption", client) if context.seeded else None
    return kept.pair.lock(draw) if shared else public_lock(kept.scheme, kept.pair.public, draw)
