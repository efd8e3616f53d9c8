"""What a run tells whoever watches it."""

from collections.abc import Sequence

from fedsec.federation.progress import ClientsRead, Progress
from fedsec.plan.cells import Cell


class Observer:
    """Watches a run; this one says nothing."""

    def started(self, cells: Sequence[Cell], waiting: Sequence[Cell]) -> None:
        """The run begins; `waiting` are those of its cells that were not finished before."""

    def worker(self, number: int) -> "Observer":
        """Who hears of the training, rounds and attacks of worker `number`, from 1; itself unless it tells them apart.

        Called once per worker, and only in a run with worker processes.
        """
        return self

    def training(self, cell: Cell) -> None:
        """A federation starts to train for this cell (and for others that share it)."""

    def round(self, progress: Progress) -> None:
        """A round is over."""

    def attacking(self, cell: Cell) -> None:
        """A curious server starts to read the updates of this cell."""

    def reading(self, progress: ClientsRead) -> None:
        """The attack has read another client."""

    def idle(self) -> None:
        """This worker has nothing more to do."""

    def finished(self, cell: Cell, status: str) -> None:
        """A cell is done."""

    def notice(self, text: str) -> None:
        """Something that whoever watches should know: a worker died, memory ran short."""
