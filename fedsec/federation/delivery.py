"""What arrives of a round's updates: late messages are held back, and the server checks those that are there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from fedsec.federation.availability import Attendance, Availability, Held
from fedsec.wire.receive import Message, Received, Rejection, receive


@dataclass(frozen=True, slots=True)
class Delivery:
    """What arrived in a round."""

    received: Received
    kept: list[Held]
    """The messages behind the received rows, in their order."""
    number: int

    def of(self, clients: tuple[int, ...], rejected: tuple[Rejection, ...] = ()) -> "Delivery":
        """Return what arrived of some clients: those that are in a protocol's sum.

        Args:
            clients: those.
            rejected: others whose messages broke the protocol, and how.
        """
        chosen = [place for place, client in enumerate(self.received.clients) if client in clients]
        arrived = self.received._replace(
            rows=self.received.rows[chosen],
            clients=tuple(self.received.clients[place] for place in chosen),
            examples=tuple(self.received.examples[place] for place in chosen),
            rejected=self.received.rejected + rejected,
        )
        return Delivery(arrived, [self.kept[place] for place in chosen], self.number)

    @property
    def staleness(self) -> tuple[int, ...]:
        """Rounds by which each row is late; empty if none is."""
        late = tuple(self.number - held.sent for held in self.kept)
        return late if any(late) else ()


def delivered(
    number: int,
    messages: Sequence[Message],
    attendance: Attendance,
    started: Mapping[int, torch.Tensor],
    availability: Availability,
    enrolled: Sequence[int],
    buffer: torch.Tensor,
    *,
    readable: bool,
) -> Delivery:
    """Return what the server receives in a round (step 5); late messages are held back.

    Args:
        number: the round.
        messages: what clients sent, in the cohort's order; updates may lie in `buffer` already.
        attendance: who of them is late.
        started: the trainables that each of them received [parameters].
        availability: holds late messages.
        enrolled: examples that each client enrolled with.
        buffer: takes the rows where they are this round's own, without a copy [clients, parameters].
        readable: whether the server reads values.
    """
    now: list[Held] = []
    for message in messages:
        lateness = attendance.late.get(message.client, 0)
        held = Held(message, enrolled[message.client], number, number + lateness, started[message.client])
        if lateness:
            availability.hold(held)
        else:
            now.append(held)
    arrivals = availability.arrivals(number)
    now = sorted([*now, *arrivals], key=lambda held: held.message.client)
    same = len(now) == len(messages) and not arrivals
    parameters = buffer.shape[1]
    out = buffer[: len(now)] if same else torch.empty(len(now), parameters)
    claims = [held.enrolled for held in now]
    found = receive([held.message for held in now], parameters, claims, out, readable=readable)
    return Delivery(found, [next(h for h in now if h.message.client == c) for c in found.clients], number)
