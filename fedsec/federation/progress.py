"""What the round loop and attacks tell whoever watches them; imports no torch."""

from dataclasses import dataclass


@dataclass(slots=True)
class Progress:
    """One finished round, for progress displays."""

    round: int
    rounds: int
    clients: int
    loss: float
    accuracy: float | None
    rejected: int = 0


@dataclass(slots=True)
class ClientsRead:
    """How far an attack is that reads clients one by one."""

    done: int
    clients: int
    """Clients of all rounds that it reads, as far as is known."""
    seconds_left: float
    """About how long the others take, by those that are read, or until `threat.attack_seconds` ends it."""
