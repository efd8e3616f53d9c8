"""Protocols on the wire: requests and answers, stage by stage, through authenticated channels."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from fedsec.api import AUTHORITY, SERVER, Centre, Message, Party, Played, Refused, Secrets
from fedsec.wire.channel import Channel

_T = TypeVar("_T")


def _as_it_is(message: Message) -> bytes:
    return message.content


def _stays(stage: int, client: int) -> bool:
    return False


def _arrives(stage: int, sender: int, receiver: int, crossed: bytes) -> bytes:
    return crossed


@dataclass(slots=True, kw_only=True)
class InProcessWire:
    """All parties of a round in one process: what they say to one another is bytes, as on a network.

    Args:
        secrets: where the parties' secrets of this round come from, the channels' keys among them.
        lasting: where secrets of the whole training come from.
        leaves: whether a client leaves for good before it answers in a stage.
        says: what a party really says, where it is malicious, in place of the message that it should send.
        carries: what arrives of what was sent: a network that alters messages.
        keeps: whether the messages are recorded.
        seeded: whether the secrets come from a seed.
    """

    secrets: Secrets
    lasting: Secrets
    leaves: Callable[[int, int], bool] = _stays
    says: Callable[[Message], bytes] = _as_it_is
    carries: Callable[[int, int, int, bytes], bytes] = _arrives
    keeps: bool = False
    seeded: bool = True
    messages: list[Message] = field(default_factory=list, init=False)
    """What crossed the network, where it is recorded, in its order; a stage's requests before its answers."""
    absent: dict[int, str] = field(default_factory=dict, init=False)
    """Clients that left before the protocol was over, or stopped, and why."""
    sent: dict[int, int] = field(default_factory=lambda: defaultdict(int), init=False)
    """Bytes that each party sent, by its number."""
    received: dict[int, int] = field(default_factory=lambda: defaultdict(int), init=False)
    """Bytes that each party received."""

    seconds: dict[int, float] = field(default_factory=lambda: defaultdict(float), init=False)
    """CPU seconds of each party."""

    @property
    def party_seconds(self) -> dict[str, float]:
        """Return CPU seconds by kind of party; the mean over clients."""
        clients = [spent for party, spent in self.seconds.items() if party >= 0]
        mean = {"client": sum(clients) / len(clients)} if clients else {}
        return mean | {_kind(party): spent for party, spent in sorted(self.seconds.items()) if party < 0}

    @property
    def link_bytes(self) -> dict[str, int]:
        """Return bytes by link, all clients together."""
        found: dict[str, int] = defaultdict(int)
        for counted, form in ((self.sent, "{}-server"), (self.received, "server-{}")):
            for party, count in sorted(counted.items()):
                if party != SERVER:
                    found[form.format(_kind(party))] += count
        return dict(found)

    @property
    def most_sent(self) -> int:
        """Return the most bytes that any client sent."""
        return max((count for party, count in self.sent.items() if party >= 0), default=0)

    @property
    def most_received(self) -> int:
        """Return the most bytes that any client received."""
        return max((count for party, count in self.received.items() if party >= 0), default=0)

    def play(self, server: Centre, parties: Mapping[int, Party]) -> Played:
        """Carry a protocol's messages; see `fedsec.api.Wire`."""
        game = _Game(self, server, parties)
        failed = None
        try:
            for stage in range(len(server.stages)):
                game.stage(stage)
        except Refused as reason:
            failed = str(reason)
        self.absent |= game.refusals
        return Played(
            failed=failed,
            refusals=game.refusals,
            sent=dict(self.sent),
            received=dict(self.received),
            seconds=dict(self.seconds),
        )


def _kind(party: int) -> str:
    return {SERVER: "server", AUTHORITY: "authority"}.get(party, "client")


class _Game:
    """One protocol under way."""

    def __init__(self, wire: InProcessWire, server: Centre, parties: Mapping[int, Party]) -> None:
        self._wire, self._server, self._parties = wire, server, parties
        self._channels = {party: Channel(wire.secrets("channel", party).bytes(32)) for party in parties}
        self._gone: set[int] = set()
        self.refusals: dict[int, str] = {}

    def stage(self, stage: int) -> None:
        """Ask every party that is left, and give the server what they answer."""
        requests = self._timed(SERVER, lambda: self._server.requests(stage))
        asked = {party: requests[party] for party in sorted(requests) if party in self._parties}
        arrived = {party: self._cross(stage, SERVER, party, asked[party]) for party in asked}
        answers = {party: self._answer(stage, party, request) for party, request in arrived.items()}
        given = {party: answer for party, answer in answers.items() if answer is not None}
        crossed = {party: self._cross(stage, party, SERVER, answer) for party, answer in given.items()}
        valid = {party: answer for party, answer in crossed.items() if answer is not None}
        self._timed(SERVER, lambda: self._server.collect(stage, valid))

    def _answer(self, stage: int, party: int, request: bytes | None) -> bytes | None:
        """Return what a party answers; None if it left, stopped, or was not reached."""
        if party in self._gone or request is None:
            return None
        if self._wire.leaves(stage, party):
            self._gone.add(party)
            self._wire.absent[party] = f"left before the stage '{self._server.stages[stage]}'"
            return None
        try:
            return self._timed(party, lambda: self._parties[party].answer(stage, request))
        except Refused as reason:
            self._gone.add(party)
            self.refusals[party] = str(reason)
            return None

    def _cross(self, stage: int, sender: int, receiver: int, content: bytes) -> bytes | None:
        """Return what the receiver takes for the sender's message; None if nothing that it believes arrives."""
        wire, party = self._wire, receiver if sender == SERVER else sender
        if party in self._gone and sender == SERVER:
            return None
        message = Message(self._server.stages[stage], sender, receiver, content)
        said = wire.says(message)
        if wire.keeps:
            wire.messages.append(Message(message.stage, sender, receiver, said))
        channel = self._channels[party]
        crossed = channel.seal(stage, sender, receiver, said)
        wire.sent[sender] += len(crossed)
        wire.received[receiver] += len(crossed)
        return channel.open(stage, sender, receiver, wire.carries(stage, sender, receiver, crossed))

    def _timed(self, party: int, work: Callable[[], _T]) -> _T:
        began = time.thread_time()
        try:
            return work()
        finally:
            self._wire.seconds[party] += time.thread_time() - began
