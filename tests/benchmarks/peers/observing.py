"""A federation whose every round an attack may look at, in a process of its own: what keeping the rounds costs."""

import json
import threading
import time
from argparse import ArgumentParser
from pathlib import Path
from tempfile import TemporaryDirectory

from ours import cell
from plain import add_arguments, work_of, write_corpus

from fedsec.cell.resources import Resources
from fedsec.cell.training import train
from fedsec.federation.rounds import RoundStore
from fedsec.federation.transcript import Observed

TICK_SECONDS = 0.02


def main() -> None:
    """Write the most anonymous memory that the process held, and how long it trained and kept rounds."""
    parser = ArgumentParser()
    add_arguments(parser)
    parser.add_argument("--kind", required=True)
    arguments = parser.parse_args()
    work = work_of(arguments)
    keeping: list[float] = []
    keep = RoundStore.keep

    def timed(store: RoundStore, observed: Observed) -> None:
        began = time.perf_counter()
        keep(store, observed)
        keeping.append(time.perf_counter() - began)

    RoundStore.keep = timed  # type: ignore[method-assign]
    with TemporaryDirectory() as folder, Peak() as peak:
        write_corpus(work, Path(folder))
        chosen = cell(work, model="minilm", kind=arguments.kind, data=Path(folder), evaluate_every=work.rounds)
        trained = train(chosen, frozenset(range(1, work.rounds + 1)), Resources(), lambda _: None)
        for observed in trained.outcome.observed.values():  # as an attack does that reads them one after the other
            observed.rows.sum(dim=1)
    result = {
        "peak": peak.bytes,
        "parameters": trained.model.layout.size,
        "rounds": len(trained.outcome.observed),
        "training": sum(summary.seconds for summary in trained.outcome.rounds),
        "keeping": sum(keeping),
    }
    arguments.out.write_text(json.dumps(result))


class Peak:
    """The most anonymous and shared memory of this process while it is open; pages that lie in files do not count."""

    def __init__(self) -> None:
        self.bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(TICK_SECONDS):
            lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
            held = sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "RssShmem:")))
            self.bytes = max(self.bytes, 1024 * held)


if __name__ == "__main__":
    main()
