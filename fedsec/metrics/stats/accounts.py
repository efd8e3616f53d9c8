"""Accounts of how far a difference may be off: by Student's t, or by two intervals put together."""

from dataclasses import dataclass
from math import inf, sqrt
from typing import NamedTuple, Protocol

import numpy as np

from fedsec.metrics.stats.intervals import Z95

_FAR = 40.0
"""Standard errors beyond which a normal tail is 0 in double precision."""


class Account(Protocol):
    """One account of how far a difference may be off."""

    def reach(self, tail: float, side: int) -> float:
        """Return the distance from the value to the end that leaves `tail` (0..0.5) outside, on a side (-1 or 1)."""

    def beyond(self, distance: float, side: int) -> float:
        """Return the tail whose end is `distance` (at least 0) away on that side."""

    def scale(self) -> tuple[float, float]:
        """Return the standard error and its degrees of freedom."""


class Ends(NamedTuple):
    """A value and the ends of its 95 % interval."""

    value: float
    low: float
    high: float
    wilson: bool

    def reach(self, z: float, side: int) -> float:
        """The distance to the end at `z` standard errors, on a side.

        Ends of Wilson's interval are his at that `z`, with as many trials as the end at 95 % tells; others move in
        proportion.
        """
        end = self.low if side < 0 else self.high
        known = abs(end - self.value)
        if not self.wilson or known == 0 or not 0 < end < 1:
            return known * z / Z95 if not self.wilson else known
        trials = Z95**2 * end * (1 - end) / known**2
        shift = z**2 / trials
        centre = (self.value + shift / 2) / (1 + shift)
        half = z / (1 + shift) * sqrt(max(0.0, self.value * (1 - self.value) / trials + shift / (4 * trials)))
        return max(0.0, side * (centre - self.value) + half)


@dataclass(frozen=True, slots=True)
class Student:
    """A standard error with degrees of freedom."""

    error: float
    freedom: float

    def reach(self, tail: float, side: int) -> float:
        """The same on both sides."""
        from scipy.stats import t

        return float(t.isf(tail, self.freedom)) * self.error

    def beyond(self, distance: float, side: int) -> float:
        """Student's tail; an error of 0 leaves none."""
        from scipy.stats import t

        if self.error == 0:
            return 0.5 if distance == 0 else 0.0
        return float(t.sf(distance / self.error, self.freedom))

    def scale(self) -> tuple[float, float]:
        """Both as given."""
        return self.error, self.freedom


class _Normal:
    """What reaches as far as a normal quantile says."""

    def at(self, z: float, side: int) -> float:
        raise NotImplementedError

    def reach(self, tail: float, side: int) -> float:
        from scipy.stats import norm

        return self.at(float(norm.isf(tail)), side)

    def beyond(self, distance: float, side: int) -> float:
        from scipy.optimize import brentq
        from scipy.stats import norm

        if distance <= self.at(0.0, side):
            return 0.5
        if self.at(_FAR, side) <= distance:
            return 0.0
        return float(norm.sf(brentq(lambda z: self.at(z, side) - distance, 0.0, _FAR, xtol=1e-12)))

    def scale(self) -> tuple[float, float]:
        return (self.at(Z95, -1) + self.at(Z95, 1)) / 2 / Z95, inf


@dataclass(frozen=True, slots=True)
class Added(_Normal):
    """Two intervals squared and added, less what their correlation takes away."""

    new: Ends
    old: Ends
    correlation: float

    def at(self, z: float, side: int) -> float:
        """Newcombe's square and add."""
        own, other = self.new.reach(z, side), self.old.reach(z, -side)
        return sqrt(max(0.0, own**2 - 2 * self.correlation * own * other + other**2))


@dataclass(frozen=True, slots=True)
class Mean(_Normal):
    """The mean of the seeds' own ends."""

    seeds: tuple[Added, ...]

    def at(self, z: float, side: int) -> float:
        """The mean distance."""
        return float(np.mean([one.at(z, side) for one in self.seeds]))
