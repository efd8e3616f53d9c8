"""What the searches of an attack have done, in one unit, and whether they may go on."""

from collections.abc import Callable
from math import inf

_TEXT = 16
"""Tokens of the text whose way through the first layer is the unit."""

_SLOW = 40
"""A decomposition's multiply-adds take as long as this many of a large product's (measured for singular values of
matrices of rank 10 to 400 on one core: 10 to 50)."""


class Effort:
    """Counts everything that takes time towards one limit, whatever stage it is done in.

    The unit is a text of 16 tokens through the first layer: 192 times the hidden size squared multiply-adds, of which
    attention's projections are a third and the feed-forward part the rest.

    Args:
        width: hidden size.
        limit: units.
        seconds_left: that there may still be taken.
    """

    def __init__(self, width: int, limit: float = inf, seconds_left: Callable[[], float] = lambda: inf) -> None:
        self._unit, self._limit, self._seconds_left = 12.0 * _TEXT * width**2, limit, seconds_left
        self.spent = 0.0

    def tokens(self, count: float) -> None:
        """Count tokens that were run through the first layer."""
        self.spent += count / _TEXT

    def products(self, multiplied: float) -> None:
        """Count the multiply-adds of matrix products."""
        self.spent += multiplied / self._unit

    def decompositions(self, multiplied: float) -> None:
        """Count the multiply-adds of singular values, eigenvalues or least squares."""
        self.products(_SLOW * multiplied)

    @property
    def over(self) -> bool:
        """Whether no more may be done."""
        return self.spent >= self._limit or self._seconds_left() <= 0.0
