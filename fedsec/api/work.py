"""How an attack goes about its work: the time that it has, and what it claims."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconstruction:
    """One text that an attack claims a client trained on."""

    client: int | None
    """Whose text it is; None where the attack saw only a sum, or the released model, and cannot tell."""
    tokens: tuple[int, ...]
    """Token ids without special tokens and padding, in order."""
    score: float
    """The attack's own measure of doubt; lower is surer."""
    verified: bool = False
    """The attack checked it against the update and found it at the numerical floor."""
    notes: Mapping[str, float] = field(default_factory=dict)
    """Diagnostics that the attack wants in the record."""


class Work:
    """What the engine tells a reading attack of its time; this one, of views made by hand, sets no limit."""

    def seconds_left(self) -> float:
        """Seconds that the attack may still take, at least 0; infinite without a limit."""
        return math.inf


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
