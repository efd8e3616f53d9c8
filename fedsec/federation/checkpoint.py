"""Checkpoints of a federation between rounds, so that a killed run continues instead of starting again."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedsec.store.bundle import DamagedBundleError, read_bundle, write_bundle

_log = logging.getLogger(__name__)
_PAUSES = 20
"""Least time between two checkpoints, as a multiple of the time that one takes: an attacked round has gigabytes of
updates."""


@dataclass(slots=True)
class Checkpoint:
    """The checkpoint file of one federation, of mode 0600, since it holds updates and texts of attacked rounds.

    Args:
        path: the file.
        identity: of everything that the training depends on; a file of another identity is not read.
        seconds: least time between two writings, which take 5 % of the time at most; 0 writes after every round.
    """

    path: Path
    identity: str
    seconds: float = 30.0
    _written: float = field(default_factory=time.monotonic)
    _took: float = 0.0

    def load(self) -> dict[str, Any] | None:
        """Return the stored state, or None if there is none, or it is damaged, or belongs to something else."""
        try:
            content = read_bundle(self.path)
        except DamagedBundleError:
            return None
        state = content.get("state")
        return state if content.get("identity") == self.identity and isinstance(state, dict) else None

    def due(self) -> bool:
        """Return whether enough time has passed to write again."""
        pause = max(self.seconds, _PAUSES * self._took) if self.seconds > 0.0 else 0.0
        return time.monotonic() - self._written >= pause

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the stored state; where the file cannot be written, training goes on without it."""
        began = time.monotonic()
        try:
            if self.path.parent.is_symlink():
                raise OSError("its folder is a link")  # to somewhere that is not the run's
            write_bundle(self.path, {"identity": self.identity, "state": state})
        except OSError as error:
            _log.warning("the checkpoint %s cannot be written (%s)", self.path, error)
        self._written = time.monotonic()
        self._took = self._written - began

    def remove(self) -> None:
        """Delete the file; called when every cell that depends on this training is stored."""
        self.path.unlink(missing_ok=True)
