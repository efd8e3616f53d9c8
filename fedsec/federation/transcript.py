"""What a round left behind: what crossed the wire, and, apart from it, the truth that only metrics open."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple

import torch

from fedsec.wire.receive import Rejection

_TUPLES = ("cohort", "clients", "examples", "staleness")


@dataclass(frozen=True, slots=True)
class RoundSummary:
    """A round in numbers."""

    round: int
    clients: tuple[int, ...]
    """Whose messages arrived in this round, late ones included."""
    loss: float
    """Mean over the clients that trained of each one's mean local loss; NaN if none did."""
    rejected: tuple[Rejection, ...]
    """Messages that the server refused."""
    clamped: tuple[Rejection, ...]
    """Claims of more examples than were enrolled, which count as what was enrolled."""
    absent: tuple[Rejection, ...]
    """Sampled clients that did not report, and why."""
    staleness: tuple[int, ...]
    """Rounds by which each row is late; empty if none is."""
    weights: tuple[float, ...] | None
    """What the rule gave each received row; None under a coordinate-wise rule or if the round was skipped."""
    skipped: str | None
    """Why the global model was kept, if it was."""
    upload_bytes: int
    download_bytes: int
    seconds: float
    norms: tuple[float, ...] | None = None
    """Of each received row, as it enters the sum; only with filters or a rule that give weights."""
    measurements: Mapping[str, float] = field(default_factory=dict)
    """What hooks measured, by `plug-in/name`: means over the clients."""

    def as_json(self) -> dict[str, Any]:
        """In values that JSON and checkpoints hold."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "RoundSummary":
        """The inverse of `as_json`."""
        known = {**content, **{name: _rejections(content[name]) for name in ("rejected", "clamped", "absent")}}
        for name in ("clients", "staleness", "weights", "norms"):
            known[name] = None if known[name] is None else tuple(known[name])
        return cls(**known)


@dataclass(frozen=True, slots=True)
class Observed:
    """A round as it happened, for attacks that ask for it; views show what a position sees of it."""

    round: int
    cohort: tuple[int, ...]
    """Clients that took part."""
    clients: tuple[int, ...]
    """Senders of the rows."""
    examples: tuple[int, ...]
    """What they claim, clamped."""
    rows: torch.Tensor
    """[clients, parameters]"""
    weights: torch.Tensor | None
    """What each row got, fp64 [clients]."""
    aggregate: torch.Tensor
    """[parameters]"""
    start: torch.Tensor
    """The global trainables before the round [parameters]."""
    end: torch.Tensor
    """The global trainables after it [parameters]."""
    staleness: tuple[int, ...]
    """Rounds by which each row is late; empty if none is."""
    started: torch.Tensor | None
    """What each of `clients` started from [clients, parameters]; None if that was `start` for all of them."""
    upload_bytes: int

    def as_json(self) -> dict[str, Any]:
        """All fields, tensors as they are."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Observed":
        """The inverse of `as_json`."""
        return cls(**{**content, **{name: tuple(content[name]) for name in _TUPLES}})


class Secret(NamedTuple):
    """The ground truth of one client in one round, in its batches' order."""

    tokens: tuple[tuple[int, ...], ...]
    """Content token ids of each text that it trained on."""
    lengths: tuple[int, ...]
    """Tokens of each text as the model saw them, special tokens included."""
    labels: tuple[int, ...]
    planted: tuple[tuple[str, ...], ...]
    """Personal data in the text that the client holds, whatever a defense made of it before training."""
    originals: tuple[tuple[int, ...], ...] = ()
    """Content token ids of the texts that the client holds; empty if these are what it trained on."""
    rows: tuple[int | None, ...] = ()
    """Row of the training split that each text is, or was made from; None for an invented one."""

    @classmethod
    def from_json(cls, content: Any) -> "Secret":
        """From the lists that a checkpoint holds."""
        tokens, lengths, labels, planted, originals, rows = content
        nested = (tuple(map(tuple, part)) for part in (tokens, planted, originals))
        tokens, planted, originals = nested
        return cls(tokens, tuple(lengths), tuple(labels), planted, originals, tuple(rows))


@dataclass(slots=True)
class Vault:
    """Ground truth by (round, client). Metrics open it; views are built without it, but for what is granted."""

    secrets: dict[tuple[int, int], Secret] = field(default_factory=dict)


def _rejections(content: Any) -> tuple[Rejection, ...]:
    return tuple(Rejection(client, reason) for client, reason in content)
