"""Progress on stderr: bars on a terminal, plain lines off it, nothing on request."""

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from fedsec.cli.options import Display
from fedsec.cli.words import duration
from fedsec.federation.progress import ClientsRead
from fedsec.federation.progress import Progress as Round
from fedsec.plan.cells import Cell
from fedsec.report.visible import visible
from fedsec.runner.observer import Observer

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


def _reading_text(progress: ClientsRead) -> str:
    left = f", about {duration(progress.seconds_left)} left" if progress.done < progress.clients else ""
    return f"{progress.done} of {progress.clients} clients read{left}"


class _TimeLeft:
    """What the cells that are left will take, by those that are finished: each attack of each scenario by its own.

    The time between two cells that end is counted for the one that ended, which on average is right for any number of
    workers; a cell that does not apply ends at once and is no measure of the others.
    """

    def __init__(self, cells: Sequence[Cell] = ()) -> None:
        self._left = Counter(map(_kind, cells))
        self._took: dict[tuple[str, str], list[float]] = {}
        self._last = time.monotonic()

    def finish(self, cell: Cell, status: str) -> None:
        """One of them has ended."""
        now, kind = time.monotonic(), _kind(cell)
        if status != "n/a":
            self._took.setdefault(kind, []).append(now - self._last)
        self._last, self._left[kind] = now, self._left[kind] - 1

    def __str__(self) -> str:
        """`about 40 s left`; `at least` while other cells are of attacks that were not yet tried; or empty."""
        counts = {kind: count for kind, count in self._left.items() if count > 0}
        means = {kind: sum(took) / len(took) for kind, took in self._took.items() if kind in counts}
        if not means:
            return ""
        seconds = sum(counts[kind] * mean for kind, mean in means.items())
        untried = sum(count for kind, count in counts.items() if kind not in means)
        if not untried:
            return f"about {duration(seconds)} left"
        return f"at least {duration(seconds)} left, {untried} cells not known yet"


def _kind(cell: Cell) -> tuple[str, str]:
    """Cells that are alike in what they take."""
    return cell.scenario.name, cell.attack.name


class _Names:
    """What cells are called: with their scenario where there are several."""

    def __init__(self) -> None:
        self._several = False

    def know(self, cells: Sequence[Cell]) -> None:
        """Hear of all the run's cells."""
        self._several = len({cell.scenario.name for cell in cells}) > 1

    def of(self, cell: Cell) -> str:
        """The name of one cell."""
        return f"{cell.scenario.name}: {cell.label}" if self._several else cell.label


class _LeftColumn(TimeRemainingColumn):
    """The time that is left as the task says it, or by its pace."""

    def render(self, task: Task) -> Text:
        """Its text."""
        left = task.fields.get("left")
        return super().render(task) if left is None else Text(left, style="progress.remaining")


class _Lines(Observer):
    """Plain lines; those of a worker begin with the cell that it trains."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._spoke = time.monotonic()
        self._left = _TimeLeft()
        self.names = _Names()
        self._total = self._done = 0

    def say(self, text: str) -> None:
        """Write a line."""
        self._spoke = time.monotonic()
        self._stream.write(f"{text}\n")
        self._stream.flush()

    def say_round(self, text: str, *, last: bool) -> None:
        """Write a line about a round, unless there was one just now."""
        if last or time.monotonic() - self._spoke > PLAIN_SECONDS:
            self.say(text)

    def worker(self, number: int) -> Observer:
        return _WorkerLines(self)

    def started(self, cells: Sequence[Cell], waiting: Sequence[Cell]) -> None:
        self._total, self._done = len(cells), (done := len(cells) - len(waiting))
        self._left = _TimeLeft(waiting)
        self.names.know(cells)
        self.say(f"{len(cells)} cells" + (f", {done} of them done before" if done else ""))

    def training(self, cell: Cell) -> None:
        self.say(f"training: {self.names.of(cell)}")

    def round(self, progress: Round) -> None:
        self.say_round(f"  {_round_text(progress)}", last=progress.round == progress.rounds)

    def attacking(self, cell: Cell) -> None:
        self.say(f"attacking: {self.names.of(cell)}")

    def reading(self, progress: ClientsRead) -> None:
        self.say_round(f"  {_reading_text(progress)}", last=progress.done == progress.clients)

    def notice(self, text: str) -> None:
        self.say(visible(text))

    def finished(self, cell: Cell, status: str) -> None:
        self._done += 1
        self._left.finish(cell, status)
        left = str(self._left)
        self.say(f"[{self._done}/{self._total}] {status}: {self.names.of(cell)}{left and f', {left}'}")


class _WorkerLines(Observer):
    def __init__(self, lines: _Lines) -> None:
        self._lines = lines
        self._label = ""

    def training(self, cell: Cell) -> None:
        self._label = self._lines.names.of(cell)
        self._lines.training(cell)

    def round(self, progress: Round) -> None:
        self._lines.say_round(f"  {self._label}: {_round_text(progress)}", last=progress.round == progress.rounds)

    def attacking(self, cell: Cell) -> None:
        self._label = self._lines.names.of(cell)
        self._lines.attacking(cell)

    def reading(self, progress: ClientsRead) -> None:
        last = progress.done == progress.clients
        self._lines.say_round(f"  {self._label}: {_reading_text(progress)}", last=last)


class _Bars(Observer):
    """A bar for the cells, and one for the rounds of each worker."""

    def __init__(self, console: Console) -> None:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=16),  # labels need the room
            MofNCompleteColumn(),
        )
        self._left = _TimeLeft()
        self._names = _Names()
        self.progress = Progress(*columns, _LeftColumn(), console=console, transient=True)
        self._cells = self.progress.add_task("cells", total=None, left="")
        self._lines = {1: _BarLine(self.progress, self._names)}

    def __enter__(self) -> "_Bars":
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def worker(self, number: int) -> Observer:
        if number not in self._lines:
            self._lines[number] = _BarLine(self.progress, self._names)
        return self._lines[number]

    def started(self, cells: Sequence[Cell], waiting: Sequence[Cell]) -> None:
        self._left = _TimeLeft(waiting)
        self._names.know(cells)
        self.progress.update(self._cells, total=len(cells), completed=len(cells) - len(waiting))

    def training(self, cell: Cell) -> None:
        self._lines[1].training(cell)

    def round(self, progress: Round) -> None:
        self._lines[1].round(progress)

    def attacking(self, cell: Cell) -> None:
        self._lines[1].attacking(cell)

    def reading(self, progress: ClientsRead) -> None:
        self._lines[1].reading(progress)

    def notice(self, text: str) -> None:
        self.progress.console.print(Text(visible(text)))

    def finished(self, cell: Cell, status: str) -> None:
        self._left.finish(cell, status)
        self.progress.update(self._cells, advance=1, left=str(self._left))


class _BarLine(Observer):
    """The bar of one worker."""

    def __init__(self, progress: Progress, names: _Names) -> None:
        self._progress, self._names = progress, names
        self._line = progress.add_task("starting", total=None)
        self._label = ""

    def training(self, cell: Cell) -> None:
        self._label = self._names.of(cell)
        self._progress.reset(self._line, total=None, description=f"training for {self._label}", visible=True, left=None)

    def round(self, progress: Round) -> None:
        text = f"{self._label}: {_round_text(progress).partition(', ')[2]}"  # the bar counts the rounds
        self._progress.update(self._line, total=progress.rounds, completed=progress.round, description=text)

    def attacking(self, cell: Cell) -> None:
        self._label = self._names.of(cell)
        self._progress.reset(self._line, total=None, description=f"attacking: {self._label}", left=None)

    def reading(self, progress: ClientsRead) -> None:
        left = f"about {duration(progress.seconds_left)} left" if progress.done < progress.clients else ""
        text = f"attacking: {self._label}, clients"
        self._progress.update(self._line, total=progress.clients, completed=progress.done, description=text, left=left)

    def idle(self) -> None:
        self._progress.update(self._line, visible=False)
