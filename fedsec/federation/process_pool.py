"""A process pool of forked copies of this process, for independent pieces of work.

A copy shares the model's memory until it writes to it, has a random state of its own, and returns its results through
shared tensors, and plug-ins' state as bytes. Every piece is computed by one thread, so the result does not depend on
the number of processes, to the last bit.

A copy shares the model's memory until it writes to it, has a random state of its own, and hands its results back
through shared tensors, and what a plug-in remembers as bytes. Every piece is computed by one thread, so that results do
not depend, to the last bit, on how many copies there are.
"""

import ctypes
import math
import mmap
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from fedsec.store.bundle import packed, unpacked

WORTH_SECONDS = 0.2
"""Seconds: work expected to take less than this in all is done in this process, since a fork takes some hundredths of a
second."""
_DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of Linux's prctl."""

Tree = Mapping[str, Any]
"""Types that a plug-in's state may hold: mappings with text keys, lists, numbers, texts and tensors."""
Work = Callable[[int], Tree | None]
Done = tuple[Tree | None, bool]
"""The result of a piece, and whether a copy computed it, so that what it changed did not change here."""


class ProcessPool:
    """Runs pieces of work in up to `size` processes, this one included.

    Args:
        size: processes, at least 1; only Linux gets more than one.
    """

    def __init__(self, size: int = 1) -> None:
        self.size = size if sys.platform == "linux" else 1
        self._seconds: dict[str, float] = {}  # of one piece, by kind of work

    def empty(self, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Return a tensor that the copies write to and this process reads; plain memory where there are no copies."""
        count = math.prod(shape)
        if self.size == 1 or count == 0:
            return torch.empty(*shape, dtype=dtype)
        memory = mmap.mmap(-1, count * dtype.itemsize)  # anonymous and shared: no file, no name, no limit but memory
        return torch.frombuffer(memory, dtype=dtype).view(*shape)

    def run(self, pieces: int, work: Work, kind: str = "", here: Collection[int] = ()) -> list[Done]:
        """`work(0)` to `work(pieces - 1)`, each once, in any order; what each of them returned.

        Whether copies are made depends on how long pieces of this kind took the last time: forking has to be worth
        its while. What a copy could not do is done again here, so that an error looks as it would without copies.

        Args:
            pieces: how many.
            work: does one; leaves results in tensors from `empty`, or returns them.
            kind: of work, for which times are remembered.
            here: pieces that this process does itself, in their order: they change what others of them read.
        """
        if pieces == 0:
            return []
        worth = self._seconds.get(kind, WORTH_SECONDS) * pieces >= WORTH_SECONDS
        shares = _shares(pieces, self.size if worth else 1, here)
        began = time.perf_counter()
        copies = [_copy(share, work) for share in shares[1:] if share]
        done: dict[int, Done] = {}
        try:
            for piece in shares[0]:
                done[piece] = work(piece), False
        except BaseException:
            for copy in copies:
                copy.kill()
            raise
        if shares[0]:
            self._seconds[kind] = (time.perf_counter() - began) / len(shares[0])
        for copy in copies:
            found = copy.results()
            for piece in copy.share:
                done[piece] = (work(piece), False) if found is None else (found[str(piece)], True)
        return [done[piece] for piece in range(pieces)]


def _shares(pieces: int, size: int, here: Collection[int]) -> list[list[int]]:
    """Return the pieces of each process, this one's first, each given to the process with the fewest."""
    shares: list[list[int]] = [sorted(here), *([] for _ in range(size - 1))]
    for piece in range(pieces):
        if piece not in here:
            min(shares, key=len).append(piece)
    return [sorted(share) for share in shares]


@dataclass(frozen=True, slots=True)
class _Copy:
    """A process that does some pieces, and the end of the pipe on which it sends their results."""

    process: int
    share: list[int]
    pipe: int

    def results(self) -> dict[str, Any] | None:
        """Return the results of its pieces by number; None if it failed."""
        with os.fdopen(self.pipe, "rb") as stream:
            content = stream.read()
        if os.waitpid(self.process, 0)[1] != 0:
            return None
        return unpacked(content)

    def kill(self) -> None:
        """End the process at once."""
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)
        os.close(self.pipe)


def _copy(share: list[int], work: Work) -> _Copy:
    """Fork a process that does these pieces and ends."""
    parent, (reader, writer) = os.getpid(), os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads' locks: the copy computes and nothing else
        process = os.fork()
    if process:
        os.close(writer)
        return _Copy(process, share, reader)
    status = 1
    try:
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        if os.getppid() == parent:
            torch.set_num_threads(1)
            os.close(reader)
            found = packed({str(piece): work(piece) for piece in share})
            with os.fdopen(writer, "wb") as stream:
                stream.write(found)
            status = 0
    finally:
        os._exit(status)  # no clean-up: files, threads and exit handlers are the parent's
