"""How an attack goes about its work: what it claims, the time that it has, and clients that are read one by one."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconstruction:
    """One text that an attack claims a client trained on."""

    client: int | None
    """Whose text it is; None where the attack cannot tell, since it saw only a sum or the released model."""
    tokens: tuple[int, ...]
    """Token ids in order, without special tokens and padding."""
    score: float
    """The attack's own uncertainty; lower is surer."""
    verified: bool = False
    """True only if the attack checked the text against the update and it fits to floating-point accuracy."""
    notes: Mapping[str, float] = field(default_factory=dict)
    """Diagnostics for the record."""


class Work:
    """What the engine knows of a reading attack's work; this one, of views made by hand, sets no limit."""

    def seconds_left(self) -> float:
        """Seconds that the attack may still take, at least 0; infinite without a limit."""
        return math.inf

    def each(
        self, round_number: int, clients: Sequence[int], read: Callable[[int], list[Reconstruction]]
    ) -> list[Reconstruction]:
        """Read clients one after the other, as long as time is left.

        Args:
            round_number: the round that they are read in.
            clients: who is read.
            read: gives the claims about the client at a place of `clients`.
        """
        claims: list[Reconstruction] = []
        for place in range(len(clients)):
            if self.seconds_left() <= 0.0:
                break
            claims += read(place)
        return claims


class Part(Work):
    """One client's part of a larger work: it shares the clock, and nothing of it is kept.

    Args:
        whole: the larger work.
    """

    def __init__(self, whole: Work) -> None:
        self._whole = whole

    def seconds_left(self) -> float:
        """Those of the larger work."""
        return self._whole.seconds_left()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limited:
    """A view of an attack whose time `threat.attack_seconds` may limit."""

    work: Work = field(default_factory=Work, repr=False, compare=False)
    """The engine's, for the methods of the view."""

    def seconds_left(self) -> float:
        """Seconds that the attack may still take, at least 0; infinite without `threat.attack_seconds`.

        An attack that finds 0 returns what it has read until then.
        """
        return self.work.seconds_left()


def own_generator(generator: "torch.Generator", client: int) -> "torch.Generator":
    """A generator for one client, the same whatever was drawn from `generator` before.

    Args:
        generator: the attack's, whose first seed is taken.
        client: whose it is.
    """
    import torch

    digest = hashlib.sha256(f"{generator.initial_seed()} client {client}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
