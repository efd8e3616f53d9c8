"""Rounds of secure aggregation without a federation around them."""

import gc
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FunctionType, ModuleType

import numpy as np

from fedsec.api import SERVER, Message, Played, Refused
from fedsec.defenses.secure_aggregation.keys import Directory, Identity
from fedsec.defenses.secure_aggregation.parts import split_list
from fedsec.defenses.secure_aggregation.secagg.client import STAGES, Client
from fedsec.defenses.secure_aggregation.secagg.server import Server
from fedsec.defenses.secure_aggregation.secagg.terms import Terms
from fedsec.privacy.keystream import KeyStream
from fedsec.wire.protocol import InProcessWire

Carries = Callable[[int, int, int, bytes], bytes]
KINDS = ("flip", "truncate", "replay", "swap")
"""What a network may do to a message."""


@dataclass
class Secrets:
    """Streams of a seed and a round, as the engine hands them out."""

    seed: int = 0
    round: int = 1

    def __call__(self, purpose: str, client: int = SERVER) -> KeyStream:
        return KeyStream(hashlib.sha256(f"{self.seed} {self.round} {purpose} {client}".encode()).digest())


@dataclass
class Round:
    """One round of `count` clients: their values, and what came of it."""

    count: int
    words: int = 20
    seed: int = 0
    number: int = 1
    neighbours: int | None = None

    def __post_init__(self) -> None:
        lasting, secrets = Secrets(self.seed, 0), Secrets(self.seed, self.number)
        everybody = tuple(range(3, 3 + 2 * self.count, 2))  # numbers with gaps
        self.identities = {client: Identity(lasting("identity", client).bytes(32)) for client in everybody}
        self.terms = Terms(
            session=secrets("session").bytes(16),
            invited=everybody,
            threshold=2 * self.count // 3 + 1,
            neighbours=self.neighbours,
            words=self.words,
            directory=Directory({client: one.public for client, one in self.identities.items()}),
        )
        drawn = np.random.default_rng(self.seed)
        self.rows = {c: drawn.integers(0, 2**32, self.words, dtype=np.uint32) for c in everybody}
        self.secrets = secrets
        self.clients = {client: self.client(client) for client in everybody}
        self.server = Server(self.terms)
        self.messages: list[Message] = []

    def client(self, number: int) -> Client:
        """A client at the beginning of the round."""
        return Client(
            number, self.rows[number], self.terms, self.identities[number], self.secrets("secure aggregation", number)
        )

    def play(
        self,
        leaves: Mapping[int, int] | None = None,
        says: Callable[[Message], bytes] = lambda message: message.content,
        carries: Carries = lambda stage, sender, receiver, crossed: crossed,
    ) -> Played:
        """Play it; `leaves` gives the stage before whose answer a client leaves."""
        gone = leaves or {}
        wire = InProcessWire(
            secrets=self.secrets,
            lasting=self.secrets,
            leaves=lambda stage, client: gone.get(client) == stage,
            says=says,
            carries=carries,
            keeps=True,
        )
        played = wire.play(self.server, self.clients)
        self.messages = wire.messages
        return played

    @property
    def right(self) -> bool:
        """Whether the sum is the integer sum of those that it says are in it."""
        return bool(np.array_equal(self.server.total, self.sum_of(self.server.survivors)))

    def sum_of(self, clients: tuple[int, ...]) -> np.ndarray:
        """Their sum modulo 2^32, word by word and in whole numbers."""
        return np.array(
            [sum(int(self.rows[c][word]) for c in clients) % 2**32 for word in range(self.words)], np.uint32
        )

    @property
    def reveals(self) -> bool:
        """Whether the shares that clients gave back open both secrets of one client, and so its row."""
        given: dict[tuple[int, bytes], int] = {}
        for message in self.messages:
            if message.stage == STAGES[-1] and message.receiver == SERVER:
                for owner, share in _shares(message.content).items():
                    given[owner, share[:4]] = given.get((owner, share[:4]), 0) + 1
        needed = self.terms.shares_needed
        opened = [owner for (owner, _), count in given.items() if count >= needed]
        return len(set(opened)) < len(opened)


def _shares(content: bytes) -> Mapping[int, bytes]:
    try:
        return split_list(content, 37)
    except Refused:  # of a party that lies
        return {}


def network(kind: str, drawn: np.random.Generator) -> Callable[[int, int, int, bytes], bytes]:
    """A network that alters some messages."""
    seen: list[bytes] = []

    def carries(stage: int, sender: int, receiver: int, crossed: bytes) -> bytes:
        seen.append(crossed)
        if drawn.random() > 1 / 20:
            return crossed
        if kind == "flip":
            changed = bytearray(crossed)
            changed[int(drawn.integers(len(changed)))] ^= 1 << int(drawn.integers(8))
            return bytes(changed)
        if kind == "truncate":
            return crossed[: int(drawn.integers(len(crossed)))]
        if kind == "replay":
            return seen[int(drawn.integers(len(seen)))]
        other = seen[int(drawn.integers(len(seen)))]  # swapped senders: another's content under this one's name
        return crossed[:12] + other[12:]

    return carries


def alter(content: bytes, kind: str, drawn: np.random.Generator, seen: list[bytes]) -> bytes:
    """What a party says in place of a message; `seen` holds what it heard before."""
    changed, place = bytearray(content), int(drawn.integers(max(1, len(content))))
    if kind == "flip":
        changed[place] ^= 1 << int(drawn.integers(8))
    elif kind == "truncate":
        changed = changed[:place]
    elif kind == "replay":
        changed = bytearray(seen[int(drawn.integers(len(seen)))])
    else:
        changed += bytes(drawn.integers(0, 256, int(drawn.integers(1, 50)), dtype=np.uint8))
    return bytes(changed)


def reachable(start: object, kind: type) -> bool:
    """Whether an object of that kind can be reached from another one."""
    seen: set[int] = set()
    queue = [start]
    while queue:
        one = queue.pop()
        if id(one) in seen or isinstance(one, (type, ModuleType)):
            continue
        seen.add(id(one))
        if isinstance(one, kind):
            return True
        # Of a function what it closes over, and not the module that it stands in.
        queue += [one.__closure__, one.__defaults__] if isinstance(one, FunctionType) else gc.get_referents(one)
    return False
