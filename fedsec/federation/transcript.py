"""The record of a round: what crossed the wire and, separately, the ground truth that only metrics read."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple

import torch

from fedsec.api import Message
from fedsec.wire.receive import Rejection

_TUPLES = ("cohort", "clients", "examples", "staleness")


@dataclass(frozen=True, slots=True)
class RoundSummary:
    """A round in numbers."""

    round: int
    clients: tuple[int, ...]
    """Clients whose messages arrived in this round, late ones included."""
    loss: float
    """Mean over the clients that trained of each one's mean local loss; NaN if none did."""
    rejected: tuple[Rejection, ...]
    """Messages that the server refused."""
    clamped: tuple[Rejection, ...]
    """Claims of more examples than were enrolled, which were clamped."""
    absent: tuple[Rejection, ...]
    """Sampled clients that did not report, and why."""
    staleness: tuple[int, ...]
    """Rounds by which each row is late; empty if none is."""
    weights: tuple[float, ...] | None
    """The weight of each received update; None under a coordinate-wise rule or if the round was skipped."""
    skipped: str | None
    """Why the global model was kept, or None."""
    upload_bytes: int
    download_bytes: int
    seconds: float
    norms: tuple[float, ...] | None = None
    """The norm of each received update as it enters the sum; only with filters or a rule with weights."""
    measurements: Mapping[str, float] = field(default_factory=dict)
    """Measurements of hooks, by `plug-in/name`, as means over the clients."""
    party_seconds: Mapping[str, float] = field(default_factory=dict)
    """CPU seconds of a protocol: `client` (mean), `server`, and `authority` where there is one."""
    party_bytes: Mapping[str, int] = field(default_factory=dict)
    """Bytes of a protocol by link: `client-server`, `server-client`, `authority-server`, `server-authority`; those of
    all clients together."""

    def as_json(self) -> dict[str, Any]:
        """Return the record in values that JSON and checkpoints hold."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "RoundSummary":
        """Return the record from `as_json`."""
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
    """Claimed numbers of examples, clamped."""
    rows: torch.Tensor
    """[clients, parameters]; under ciphertexts as who has the key reads them."""
    weights: torch.Tensor | None
    """The weight of each row, fp64 [clients]."""
    aggregate: torch.Tensor
    """[parameters]"""
    start: torch.Tensor
    """The global parameters before the round [parameters]."""
    end: torch.Tensor
    """The global parameters after it [parameters]."""
    staleness: tuple[int, ...]
    """Rounds by which each row is late; empty if none is."""
    started: torch.Tensor | None
    """The parameters that each of `clients` started from [clients, parameters]; None if that was `start` for all of
    them."""
    upload_bytes: int
    messages: tuple[Message, ...] = ()
    """What a protocol of secure aggregation sent."""

    def as_json(self) -> dict[str, Any]:
        """Return all fields, tensors unchanged."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Observed":
        """Return the round from `as_json`."""
        return cls(**{**content, **{name: tuple(content[name]) for name in _TUPLES}})


class Secret(NamedTuple):
    """The ground truth of one client in one round, in its batches' order."""

    tokens: tuple[tuple[int, ...], ...]
    """Content token ids of each text that it trained on."""
    lengths: tuple[int, ...]
    """Tokens of each text as the model saw them, special tokens included."""
    labels: tuple[int, ...]
    planted: tuple[tuple[str, ...], ...]
    """Personal data in the text that the client holds, before any defense changes it."""
    originals: tuple[tuple[int, ...], ...] = ()
    """Content token ids of the texts that the client holds; empty if it trained on these."""
    rows: tuple[int | None, ...] = ()
    """Index in the training split of each text, or of its origin; None for an invented one."""

    @classmethod
    def from_json(cls, content: Any) -> "Secret":
        """Return the secrets from the lists that a checkpoint holds."""
        tokens, lengths, labels, planted, originals, rows = content
        nested = (tuple(map(tuple, part)) for part in (tokens, planted, originals))
        tokens, planted, originals = nested
        return cls(tokens, tuple(lengths), tuple(labels), planted, originals, tuple(rows))


@dataclass(slots=True)
class Vault:
    """Ground truth by (round, client). Metrics read it; views are built without it, except for granted knowledge."""

    secrets: dict[tuple[int, int], Secret] = field(default_factory=dict)


def _rejections(content: Any) -> tuple[Rejection, ...]:
    return tuple(Rejection(client, reason) for client, reason in content)
