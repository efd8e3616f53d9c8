"""The time that a cell's attack has."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from fedsec.api import Work


class CellWork(Work):
    """The clock of one cell's attack.

    Args:
        limit: seconds that it may take, `threat.attack_seconds`; None sets no limit.
        spent: seconds that it took before.
    """

    def __init__(self, limit: float | None = None, spent: float = 0.0) -> None:
        self._limit = math.inf if limit is None else limit
        self._spent, self._since = spent, 0.0
        self._running = False
        self.stopped = False
        """Whether the attack was told that no time is left."""

    @property
    def spent(self) -> float:
        """Seconds that the attack took until now."""
        return self._spent + (time.perf_counter() - self._since if self._running else 0.0)

    @property
    def over(self) -> bool:
        """Whether the attack was told to end, or took longer than it may."""
        return self.stopped or self.spent > self._limit

    def seconds_left(self) -> float:
        """As the attack is told; that none is left is noted."""
        left = max(0.0, self._limit - self.spent)
        self.stopped |= left <= 0.0
        return left

    @contextmanager
    def running(self) -> Iterator[None]:
        """The clock runs in here."""
        self._since, self._running = time.perf_counter(), True
        try:
            yield
        finally:
            self._spent, self._running = self.spent, False
