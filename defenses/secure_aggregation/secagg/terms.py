"""What every party of a round knows before it: who was invited, who is whose neighbour, and how many have to stay."""

import hashlib
from dataclasses import dataclass

from ..keys import Directory


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The public settings of one round.

    Args:
        session: 16 bytes that no other round has.
        invited: the clients of the round, in rising order.
        threshold: parties that have to take part to the end.
        neighbours: with how many others each client shares masks and keys, an even number; None for all of them.
        words: 32-bit words of an update.
        directory: the clients' public signature keys.
    """

    session: bytes
    invited: tuple[int, ...]
    threshold: int
    neighbours: int | None
    words: int
    directory: Directory

    def neighbours_of(self, client: int, present: tuple[int, ...]) -> tuple[int, ...]:
        """Return the neighbours of a client, in rising order.

        They lie on a circle in an order that the session and everybody's presence decide, next to one another: a
        Harary graph, which falls apart only where as many neighbours as `neighbours` fail.

        Args:
            client: one of `present`.
            present: the clients that advertised keys, in rising order.
        """
        if self.neighbours is None or self.neighbours >= len(present) - 1:
            return tuple(other for other in present if other != client)
        circle = self._circle(present)
        place, half = circle.index(client), self.neighbours // 2
        near = {circle[(place + step) % len(circle)] for away in range(1, half + 1) for step in (-away, away)}
        return tuple(sorted(near))

    @property
    def shares_needed(self) -> int:
        """Return how many of a client's shares give its secret back; the client and its neighbours hold one each.

        With all others as neighbours this is the threshold; otherwise it is the same part of a neighbourhood.
        """
        if self.neighbours is None:
            return self.threshold
        return -(-self.threshold * min(self.neighbours + 1, len(self.invited)) // len(self.invited))

    def _circle(self, present: tuple[int, ...]) -> list[int]:
        def rank(client: int) -> bytes:
            return hashlib.sha256(b"circle" + self.session + about + client.to_bytes(4, "little")).digest()

        about = hashlib.sha256(b"".join(client.to_bytes(4, "little") for client in present)).digest()
        return sorted(present, key=rank)
