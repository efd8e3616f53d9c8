"""What a round left behind: what the server saw, and, apart from it, the truth that only metrics open."""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from fedsec.wire.receive import Rejection


@dataclass(frozen=True, slots=True)
class RoundSummary:
    """A round in numbers."""

    round: int
    clients: tuple[int, ...]
    loss: float
    """Mean over the cohort of each client's mean local loss."""
    rejected: tuple[Rejection, ...]
    weights: tuple[float, ...] | None
    """What the rule gave each received row; None under a coordinate-wise rule or if the round was skipped."""
    skipped: str | None
    """Why the global model was kept, if it was."""
    upload_bytes: int
    download_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Observed:
    """A round as it crossed the wire, kept for attacks that ask for it."""

    round: int
    clients: tuple[int, ...]
    rows: torch.Tensor
    """[clients, parameters]"""
    aggregate: torch.Tensor
    """[parameters]"""
    start: torch.Tensor
    """The broadcast trainables [parameters]."""


class Secret(NamedTuple):
    """The ground truth of one client in one round, in its batches' order."""

    tokens: tuple[tuple[int, ...], ...]
    """Content token ids of each text."""
    lengths: tuple[int, ...]
    """Tokens of each text as the model saw them, special tokens included."""
    labels: tuple[int, ...]
    planted: tuple[tuple[str, ...], ...]


@dataclass(slots=True)
class Vault:
    """Ground truth by (round, client). Metrics open it; views are built without it, but for what is granted."""

    secrets: dict[tuple[int, int], Secret] = field(default_factory=dict)
