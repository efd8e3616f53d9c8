"""Progress on stderr: bars on a terminal, plain lines off it, nothing on request."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from fedsec.cli.options import Display
from fedsec.experiment.observer import Observer
from fedsec.experiment.plan import Cell
from fedsec.federation.progress import Progress as Round

PLAIN_SECONDS = 5.0
"""Plain lines about rounds come at most this often."""


@contextmanager
def make_observer(display: Display | None) -> Iterator[Observer]:
    """An observer for `fedsec.run`; None chooses bars on a terminal outside CI and plain lines elsewhere."""
    if display is None:
        display = Display.RICH if sys.stderr.isatty() and "CI" not in os.environ else Display.PLAIN
    if display == Display.RICH:
        with _Bars(Console(stderr=True)) as observer:
            yield observer
    else:
        yield _Lines(sys.stderr) if display == Display.PLAIN else Observer()


def _round_text(progress: Round) -> str:
    accuracy = "" if progress.accuracy is None else f", accuracy {progress.accuracy:.3f}"
    rejected = f", {progress.rejected} updates rejected" if progress.rejected else ""
    return (
        f"round {progress.round}/{progress.rounds}, {progress.clients} clients, "
        f"loss {progress.loss:.3f}{accuracy}{rejected}"
    )


class _Lines(Observer):
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._began = time.monotonic()
        self._spoke = 0.0
        self._total = self._done = self._before = 0

    def _say(self, text: str) -> None:
        self._spoke = time.monotonic()
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def started(self, cells: Sequence[Cell], done: int) -> None:
        self._total, self._done, self._before = len(cells), done, done
        self._say(f"{len(cells)} cells" + (f", {done} of them done before" if done else ""))

    def training(self, cell: Cell) -> None:
        self._say(f"training: {cell.label}")

    def round(self, progress: Round) -> None:
        if time.monotonic() - self._spoke > PLAIN_SECONDS or progress.round == progress.rounds:
            self._say(f"  {_round_text(progress)}")

    def attacking(self, cell: Cell) -> None:
        self._say(f"attacking: {cell.label}")

    def finished(self, cell: Cell, status: str) -> None:
        self._done += 1
        left = ""
        if 0 < self._done < self._total:
            spent = time.monotonic() - self._began
            left = f", about {spent / (self._done - self._before) * (self._total - self._done):.0f} s left"
        self._say(f"[{self._done}/{self._total}] {status}: {cell.label}{left}")


class _Bars(Observer):
    def __init__(self, console: Console) -> None:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
        )
        self._progress = Progress(*columns, TimeRemainingColumn(), console=console, transient=True)
        self._cells = self._progress.add_task("cells", total=None)
        self._rounds = self._progress.add_task("starting", total=None)

    def __enter__(self) -> "_Bars":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def started(self, cells: Sequence[Cell], done: int) -> None:
        self._progress.update(self._cells, total=len(cells), completed=done)

    def training(self, cell: Cell) -> None:
        self._progress.reset(self._rounds, total=None, description=f"training for {cell.label}")

    def round(self, progress: Round) -> None:
        self._progress.update(
            self._rounds, total=progress.rounds, completed=progress.round, description=_round_text(progress)
        )

    def attacking(self, cell: Cell) -> None:
        self._progress.reset(self._rounds, total=None, description=f"attacking: {cell.label}")

    def finished(self, cell: Cell, status: str) -> None:
        self._progress.advance(self._cells)
