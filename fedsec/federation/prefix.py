"""The honest rounds before the first attacked one, trained once for all cells that share them."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedsec.federation.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True)
class Prefix:
    """A file with the state after the last honest round; the first process that needs it writes it.

    Args:
        path: the file.
        identity: of everything that these rounds depend on; a file of another identity is not read.
        rounds: how many they are, at least 1.
    """

    path: Path
    identity: str
    rounds: int

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let one process at a time train them; the others wait, and read what it wrote."""
        with ExitStack() as held:
            with suppress(OSError):  # a folder that cannot be written: each trains for itself
                self.path.parent.mkdir(parents=True, exist_ok=True)
                lock = os.open(self.path.with_suffix(".lock"), os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
                held.callback(os.close, lock)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def load(self) -> dict[str, Any] | None:
        """Return the stored state, or None if there is none, or it is damaged, or belongs to something else."""
        return Checkpoint(self.path, self.identity).load()

    def save(self, state: dict[str, Any]) -> None:
        """Store the state for the others; where it cannot be written, each process trains for itself."""
        Checkpoint(self.path, self.identity).save(state)
