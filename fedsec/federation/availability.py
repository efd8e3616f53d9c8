"""Clients that fail without malice: they drop out, or their updates are late by some rounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any, NamedTuple

import torch

from fedsec.seeds import SeedTree
from fedsec.wire.receive import Message, Rejection, fault

_REST = ("enrolled", "sent", "arrives", "started")


@dataclass(frozen=True, slots=True, kw_only=True)
class AvailabilitySettings:
    """How reliable clients are."""

    drop_out: float = 0.0
    """Probability that a sampled client sends no update."""
    deadline: float | None = None
    """Simulated time that the server waits, in units of the median client's time; None waits for all clients."""
    spread: float = 0.5
    """Sigma of the log-normal speeds: one draw per client, and half of it per client and round."""
    max_staleness: int = 0
    """The most rounds by which an update may be late and still count."""
    protocol_drop_out: float = 0.0
    """Probability that a client leaves before it answers in a stage of a protocol of secure aggregation."""


class Attendance(NamedTuple):
    """What each client of a cohort does."""

    working: tuple[int, ...]
    """Clients that train in this round, in the cohort's order."""
    late: dict[int, int]
    """By how many rounds the update of each of these clients will be late."""
    absent: tuple[Rejection, ...]
    """The other clients, and why they are absent."""


@dataclass(frozen=True, slots=True)
class Held:
    """A message that has not arrived yet."""

    message: Message
    enrolled: int
    sent: int
    """The round that it belongs to."""
    arrives: int
    started: torch.Tensor
    """The parameters that its client started from [parameters]."""


@dataclass(slots=True)
class Availability:
    """Decides which clients report, and holds late messages back.

    Staleness is Nguyen et al., "Federated Learning with Buffered Asynchronous Aggregation", AISTATS 2022: how many
    server steps lie between the model that an update started from and the one that it meets.

    Args:
        settings: how reliable clients are.
        parameters: length of an update.
        seeds: the seed tree.
    """

    settings: AvailabilitySettings
    parameters: int
    seeds: SeedTree
    _held: list[Held] = field(default_factory=list)

    def attend(self, number: int, cohort: Sequence[int]) -> Attendance:
        """Return which clients of the cohort train in this round; a client whose message is under way does not."""
        busy = {held.message.client for held in self._held}
        working, late, absent = [], {}, []
        for client in cohort:
            lateness, reason = self._lot(number, client)
            if client in busy:
                absent.append(Rejection(client, "is still at work for an earlier round"))
            elif reason is not None:
                absent.append(Rejection(client, reason))
            else:
                working.append(client)
                if lateness:
                    late[client] = lateness
        return Attendance(tuple(working), late, tuple(absent))

    def leaves(self, number: int, stage: int, client: int) -> bool:
        """Return whether a client leaves in a round before it answers in a stage of a protocol; no other party does."""
        if client < 0 or not self.settings.protocol_drop_out:
            return False
        lots = self.seeds.numpy("protocol availability", round_number=number, client=client).random(stage + 1)
        return bool(lots[stage] < self.settings.protocol_drop_out)

    def hold(self, held: Held) -> None:
        """Keep a message until its round; of an invalid one only that it is invalid."""
        message = held.message
        usable = fault(message.payload, self.parameters) is None
        kept = message._replace(payload=message.payload.detach().clone() if usable else None)
        kept = kept._replace(examples=message.examples if type(message.examples) is int else None)
        self._held.append(replace(held, message=kept, started=held.started.clone()))

    def arrivals(self, number: int) -> list[Held]:
        """Return the late messages that arrive in this round."""
        due = [held for held in self._held if held.arrives == number]
        self._held = [held for held in self._held if held.arrives != number]
        return due

    def state(self) -> list[dict[str, Any]]:
        """Return the messages that have not arrived."""
        return [
            {
                "client": held.message.client,
                "payload": held.message.payload,
                "examples": held.message.examples,
                "size": held.message.size,
                "enrolled": held.enrolled,
                "sent": held.sent,
                "arrives": held.arrives,
                "started": held.started,
            }
            for held in self._held
        ]

    def load_state(self, state: Sequence[Mapping[str, Any]]) -> None:
        """Restore messages that have not arrived."""
        self._held = [
            Held(Message(one["client"], one["payload"], one["examples"], one["size"]), *(one[name] for name in _REST))
            for one in state
        ]

    def _lot(self, number: int, client: int) -> tuple[int, str | None]:
        """Return by how many rounds a client is late, or why it does not report at all."""
        settings = self.settings
        generator = self.seeds.numpy("availability", round_number=number, client=client)
        if generator.random() < settings.drop_out:
            return 0, "dropped out"
        if settings.deadline is None:
            return 0, None
        own = self.seeds.numpy("speed", client=client).normal(0.0, settings.spread)
        time = float(torch.tensor(own + generator.normal(0.0, settings.spread / 2), dtype=torch.float64).exp())
        lateness = max(0, ceil(time / settings.deadline) - 1)
        if lateness > settings.max_staleness:
            return 0, f"needs {time:.2f} times the median client's time, the deadline is {settings.deadline:g}"
        return lateness, None
