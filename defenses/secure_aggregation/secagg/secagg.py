"""SecAgg: clients mask their updates so that the server reads their sum, and nothing of a single one."""

from dataclasses import dataclass, field
from math import floor

import torch

from fedsec.api import ExchangeContext, Exchanged, Measured
from fedsec.maths.fixed_point import FixedPoint

from ..keys import Directory, Identity
from .client import Client
from .server import Server
from .terms import Terms

MODULUS = 1 << 32
SESSION_BYTES, IDENTITY_BYTES = 16, 32


def threshold_of(clients: int, fraction: float) -> int:
    """Return how many of a round's clients have to take part to the end: more than that fraction of them."""
    return min(clients, floor(fraction * clients + 1e-9) + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class SecAgg:
    """Masks that cancel in the sum, with shares of their seeds for those that drop out.

    Args:
        range: the largest magnitude of an entry; what lies outside saturates at it.
        threshold: the fraction of a round's clients of which more have to stay to the end, from 0.5 to below 1.

    Source: Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving Machine Learning", CCS 2017, figure 4
        with the steps against a malicious server (signed advertisements, the consistency round).
    Deviations: X25519, HKDF-SHA256, AES-256 in counter mode and AES-GCM for the primitives that the paper leaves open;
        a digest of the self mask's seed goes along with the shares, so that wrong shares are noticed; updates are
        fixed-point numbers of one step, weighted by each client's claim over the largest one.
    """

    range: float = 8.0
    threshold: float = 2 / 3
    _identities: dict[int, Identity] = field(default_factory=dict, init=False, repr=False, compare=False)

    def exchange(self, rows: torch.Tensor, weights: torch.Tensor, context: ExchangeContext) -> Measured:
        """Return the weighted mean of the clients that stayed until their masked update arrived."""
        return play(rows, weights, context, self.range, self.threshold, None, self._identities)


def play(
    rows: torch.Tensor,
    weights: torch.Tensor,
    context: ExchangeContext,
    largest: float,
    fraction: float,
    neighbours: int | None,
    identities: dict[int, Identity],
) -> Measured:
    """Play the protocol for one round.

    Args:
        rows: fp32 [clients, parameters].
        weights: fp64 [clients].
        context: of the round.
        largest: magnitude at which an entry saturates.
        fraction: of the clients, of which more have to stay.
        neighbours: with how many others each client shares masks; None for all of them.
        identities: the clients' signature keys, which last over rounds; those of new clients are added.
    """
    number = FixedPoint(range=largest, terms=len(rows), modulus=MODULUS)
    order = sorted(range(len(rows)), key=lambda place: context.clients[place])
    shares = {context.clients[place]: float(weights[place] / weights.max()) for place in order}
    encoded = {context.clients[place]: number.encode(rows[place], shares[context.clients[place]]) for place in order}
    for client in encoded.keys() - identities.keys():
        identities[client] = Identity(context.lasting("identity", client).bytes(IDENTITY_BYTES))
    terms = Terms(
        session=context.secrets("session").bytes(SESSION_BYTES),
        invited=tuple(encoded),
        threshold=threshold_of(len(rows), fraction),
        neighbours=neighbours,
        words=rows.shape[1],
        directory=Directory({client: identities[client].public for client in encoded}),
    )
    parties = {
        client: Client(
            client,
            one.values.astype("uint32"),
            terms,
            identities[client],
            context.secrets("secure aggregation", client),
        )
        for client, one in encoded.items()
    }
    server = Server(terms)
    played = context.wire.play(server, parties)
    saturated = sum(one.saturated for one in encoded.values()) / max(1, rows.numel())
    measured = {"saturated": saturated, "in-the-sum": float(len(server.survivors))}
    if played.failed is not None:
        return Measured(Exchanged(None, skipped=played.failed, dropped=server.dropped), measured)
    divisor = sum(shares[client] for client in server.survivors)
    vector = number.decode(number.centred(server.total), divisor)
    return Measured(Exchanged(vector, clients=server.survivors, dropped=server.dropped), measured)
