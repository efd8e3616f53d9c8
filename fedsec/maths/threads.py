"""How many threads a computation uses, where the number decides its bits or its time."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import numpy  # noqa: F401 - its matrix library is one of those that are held to one thread
import torch
from threadpoolctl import ThreadpoolController

Result = TypeVar("Result")
_WORTHWHILE = 1 << 21
"""Values from which on a thread of their own pays: some milliseconds' work."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch and numpy compute on one thread in here, and on as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _libraries().limit(limits=1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)


@cache
def _libraries() -> ThreadpoolController:
    """The matrix libraries that are loaded, numpy's among them; to look for them takes milliseconds."""
    return ThreadpoolController()


def over_columns(columns: int, work: Callable[[int, int], Result], rows: int = 1) -> list[Result]:
    """What `work(start, stop)` makes of as many ranges of columns as torch has threads, side by side, in their order.

    Each range is one thread's from beginning to end, and few values are one thread's altogether. Left to torch and its
    matrix library, the threads would be called together for every small step, and spend most of their time on that.

    Args:
        columns: how many there are.
        work: computes with torch or numpy, on one thread.
        rows: how many values each column has.
    """
    before = torch.get_num_threads()
    threads = max(1, min(before, columns, rows * columns // _WORTHWHILE))
    bounds = [columns * place // threads for place in range(threads + 1)]

    def alone(place: int) -> Result:
        torch.set_num_threads(1)  # of this thread, and of those that begin after it: hence back to what it was
        try:
            return work(bounds[place], bounds[place + 1])
        finally:
            torch.set_num_threads(before)

    with one_thread():
        if threads == 1:
            return [work(0, columns)]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(alone, range(threads)))
