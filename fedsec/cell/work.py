"""The work of one cell's attack: its clock, how far it is, and what is kept of it over an interruption."""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from fedsec.api import Reconstruction, Work
from fedsec.cell.claims_file import ClaimsFile, ClientRead, Read
from fedsec.federation.progress import ClientsRead

_log = logging.getLogger(__name__)
_PAUSES = 20
"""Least time between two writings, in units of what one takes."""


class CellWork(Work):
    """The work of one cell's attack.

    Args:
        limit: seconds that it may take, `threat.attack_seconds`; None sets no limit.
        spent: seconds that it took before.
        rounds: how many rounds it reads.
        file: where clients that were read are kept; None keeps none.
        pause: seconds of work that an interruption may cost at most, beside the client that is being read.
        told: called after each client.
    """

    def __init__(
        self,
        limit: float | None = None,
        *,
        spent: float = 0.0,
        rounds: int = 1,
        file: ClaimsFile | None = None,
        pause: float = 1.0,
        told: Callable[[ClientsRead], None] = lambda _: None,
    ) -> None:
        self.limit = math.inf if limit is None else limit
        self._rounds, self._file, self._pause, self._told = rounds, file, pause, told
        self._read: Read = {} if file is None else file.load()
        self._begun: dict[int, int] = {}
        self._seconds: list[float] = []
        self._saved = time.monotonic()
        self._spent = spent + sum(one.seconds for one in self._read.values())
        self._since: float | None = None
        self.stopped = False
        """Whether the attack was told that no time is left."""

    @property
    def spent(self) -> float:
        """Seconds that the attack took until now, those before an interruption included."""
        return self._spent + (0.0 if self._since is None else time.perf_counter() - self._since)

    @property
    def over(self) -> bool:
        """Whether the attack was told to end, or took longer than it may."""
        return self.stopped or self.spent > self.limit

    def seconds_left(self) -> float:
        """As the attack is told; that none is left is noted."""
        left = max(0.0, self.limit - self.spent)
        self.stopped |= left <= 0.0
        return left

    def verdict(self) -> str:
        """Why the attack's result is not all that it would have read."""
        if not self.stopped:
            return f"it took {self.spent:.0f} s of threat.attack_seconds {self.limit:g}, at which it does not look"
        clients = sum(self._begun.values())
        read = f", with {len(self._seconds)} of {clients} clients read" if clients else ""
        return f"threat.attack_seconds {self.limit:g} ended it{read}"

    @contextmanager
    def running(self) -> Iterator[None]:
        """The clock runs in here."""
        self._since = time.perf_counter()
        try:
            yield
        finally:
            self._spent, self._since = self.spent, None

    def each(
        self, round_number: int, clients: Sequence[int], read: Callable[[int], list[Reconstruction]]
    ) -> list[Reconstruction]:
        """Read clients one after the other, those aside that were read before an interruption."""
        if round_number in self._begun:  # what was kept is that of the first time
            return super().each(round_number, clients, read)
        self._begun[round_number] = len(clients)
        claims: list[Reconstruction] = []
        for place, client in enumerate(clients):
            one = self._read.get((round_number, client))
            if one is None:
                if self.seconds_left() <= 0.0:
                    break
                one = self._timed(partial(read, place))
                if not self.stopped:  # else it may be read in part
                    self._read[round_number, client] = one
                    self._save()
            claims += one.claims
            self._tell(one.seconds)
        return claims

    def _timed(self, read: Callable[[], list[Reconstruction]]) -> ClientRead:
        """Read one client; where that is interrupted, those before it are kept."""
        began = time.perf_counter()
        try:
            claims = tuple(read())
        except BaseException:
            self._save(at_once=True)
            raise
        return ClientRead(claims, time.perf_counter() - began)

    def _save(self, *, at_once: bool = False) -> None:
        """Keep what was read, a little of the time at most; where that cannot be written, the attack goes on."""
        began = time.monotonic()
        if self._file is None or not self._read or not (at_once or began - self._saved >= self._pause):
            return
        try:
            self._file.save(self._read)
        except OSError as error:
            _log.warning("what an attack has read cannot be kept in %s (%s)", self._file.path, error)
        self._saved = time.monotonic()
        self._pause = max(self._pause, _PAUSES * (self._saved - began))

    def _tell(self, seconds: float) -> None:
        """Say how far the attack is, and when it will be done if the others take as long as those that are read."""
        self._seconds.append(seconds)
        done, here = len(self._seconds), next(reversed(self._begun.values()))
        clients = sum(self._begun.values()) + (self._rounds - len(self._begun)) * here
        left = sum(self._seconds) / done * (clients - done)
        self._told(ClientsRead(done, clients, min(left, max(0.0, self.limit - self.spent))))
