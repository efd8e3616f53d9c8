"""What the round loop tells whoever watches it; imports no torch."""

from dataclasses import dataclass


@dataclass(slots=True)
class Progress:
    """One finished round, for whoever shows it."""

    round: int
    rounds: int
    clients: int
    loss: float
    accuracy: float | None
    rejected: int = 0
