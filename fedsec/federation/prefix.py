"""The honest rounds before the first hostile one, trained once for every cell that has them."""

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
    """A file with the state after the last honest round; whoever comes first writes it.

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
        """One process at a time trains them; the others wait, and then read what it wrote."""
        with ExitStack() as held:
            with suppress(OSError):  # a folder that cannot be written: each trains for itself
                self.path.parent.mkdir(parents=True, exist_ok=True)
                lock = os.open(self.path.with_suffix(".lock"), os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
                held.callback(os.close, lock)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def load(self) -> dict[str, Any] | None:
        """The state, or None: nothing, something damaged, or something else's."""
        return Checkpoint(self.path, self.identity).load()

    def save(self, state: dict[str, Any]) -> None:
        """Write it down for the others; where that cannot be written, each trains for itself."""
        Checkpoint(self.path, self.identity).save(state)
