"""Protocols of secure aggregation: stages of messages between the server, the clients and an authority.

The server asks, and the other parties answer: a stage is one request of the server to each party from which it wants an
answer, and the answers that arrive. The engine carries the messages (`RoundContext.wire`): it authenticates them,
counts their bytes, lets clients drop out, lets a malicious party alter what it says, and shows each position what it
saw.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from fedsec.privacy.keystream import KeyStream

SERVER, AUTHORITY = -1, -2
"""Numbers of the parties that are no clients."""


class Refused(Exception):
    """A party stops, since what it received breaks the protocol; the text says why, and holds no secret."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a protocol as it crossed the network."""

    stage: str
    sender: int
    """A client's number, `SERVER` or `AUTHORITY`."""
    receiver: int
    content: bytes


class Party(Protocol):
    """A client or the authority in one round."""

    def answer(self, stage: int, request: bytes) -> bytes:
        """Return the answer to a request of the server.

        Args:
            stage: its number, from 0.
            request: of the server, authenticated; a malicious server may have sent anything.

        Raises:
            Refused: the request breaks the protocol; the party then takes no further part.
        """
        ...


class Centre(Protocol):
    """The server in one round."""

    @property
    def stages(self) -> tuple[str, ...]:
        """Return the names of the stages, in their order."""
        ...

    def requests(self, stage: int) -> Mapping[int, bytes]:
        """Return what is asked of each party in a stage.

        Raises:
            Refused: the server gives up.
        """
        ...

    def collect(self, stage: int, answers: Mapping[int, bytes]) -> None:
        """Take the answers that arrived in a stage; malicious clients may have sent anything.

        Raises:
            Refused: the server gives up, since there are too few of them, say.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What came of a protocol, as the engine saw it."""

    failed: str | None
    """Why the server gave up, or None."""
    refusals: Mapping[int, str] = field(default_factory=dict)
    """Parties that stopped, and why."""
    sent: Mapping[int, int] = field(default_factory=dict)
    """Bytes that each party sent, by its number."""
    received: Mapping[int, int] = field(default_factory=dict)
    """Bytes that each party received."""
    seconds: Mapping[int, float] = field(default_factory=dict)
    """CPU seconds that each party computed."""


class Wire(Protocol):
    """The engine's network in one round."""

    def play(self, server: Centre, parties: Mapping[int, Party]) -> Played:
        """Carry the messages of a protocol from its first stage to its last, or until the server gives up.

        Args:
            server: the one party that talks to all others.
            parties: clients by their number, and the authority, where there is one.
        """
        ...


class Secrets(Protocol):
    """Where a party's keys and masks come from, as `randomness` says: a seed, or the operating system."""

    def __call__(self, purpose: str, client: int = SERVER) -> "KeyStream":
        """Return a stream of a party's own; the same one for the same purpose and party where it is seeded."""
        ...
