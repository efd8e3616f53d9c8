"""One round of homomorphic aggregation, whatever the scheme."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import floor
from typing import Any

import numpy as np
import torch

from fedsec.api import AUTHORITY, ExchangeContext, Exchanged, Measured, Party, Played

from ..keys import Directory, Identity
from .parties import Authority, Client, Server, Terms
from .seal import KeyPair, Scheme, public_lock


@dataclass(slots=True)
class Keys:
    """What lasts over the rounds of a training and is never stored: a resumed one makes keys anew."""

    identities: dict[int, Identity] = field(default_factory=dict)
    scheme: Scheme | None = None
    pair: KeyPair | None = None

    def start(self, scheme: Any, context: ExchangeContext) -> Any:
        """Make the keys of a scheme, and return it."""
        draw = context.lasting("keys", AUTHORITY) if context.seeded else None
        self.scheme, self.pair = scheme, KeyPair(scheme, draw)
        return scheme


@dataclass(frozen=True, slots=True)
class Found:
    """What came of a round."""

    played: Played
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

    def measured(self, decoded: Callable[[np.ndarray], torch.Tensor]) -> Measured:
        """Return what the exchange returns, with what is recorded of the round.

        Args:
            decoded: gives the mean of what was encrypted [entries], fp32, from its decrypted sum.
        """
        numbers = {"saturated": self.saturated, "in-the-sum": float(len(self.clients)), "encrypted": self.encrypted}
        if self.played.failed is not None or self.opened is None:
            return Measured(Exchanged(None, skipped=self.played.failed or "nobody decrypted the sum"), numbers)
        clear = torch.from_numpy((self.clear.astype(np.float64) / self.divisor).astype(np.float32))
        vector = torch.cat([decoded(self.opened), clear])
        return Measured(Exchanged(vector, clients=self.clients, sends_model=not self.shared), numbers)


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
        client: Client(
            client,
            encoded[client][0],
            rows[place[client], hidden:].numpy(),
            terms,
            kept.identities[client],
            _lock(kept, context, client, shared=shared),
            kept.pair if shared else None,
        )
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
    return Found(played, opened, clear, listed, divisor, saturated, encrypted, shared)


def _lock(kept: Keys, context: ExchangeContext, client: int, *, shared: bool) -> Callable[[Any], Any]:
    """Return what encrypts a client's update, with seeds of its own where everything has to repeat."""
    assert kept.scheme is not None  # noqa: S101 - it was started
    assert kept.pair is not None  # noqa: S101 - it was started
    draw = context.secrets("encryption", client) if context.seeded else None
    return kept.pair.lock(draw) if shared else public_lock(kept.scheme, kept.pair.public, draw)
