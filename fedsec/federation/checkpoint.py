"""Where a federation's progress is kept between rounds, so that a killed run goes on instead of beginning anew."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedsec.store.bundle import DamagedBundleError, read_bundle, write_bundle

_log = logging.getLogger(__name__)
_PAUSES = 20
"""Least time between two writings, in units of what one takes: the rows of an attacked round are gigabytes."""


@dataclass(slots=True)
class Checkpoint:
    """One federation's file; mode 0600, since it holds updates and texts of the rounds that are attacked.

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
        """What was kept, or None: nothing, something damaged, or something else's."""
        try:
            content = read_bundle(self.path)
        except DamagedBundleError:
            return None
        state = content.get("state")
        return state if content.get("identity") == self.identity and isinstance(state, dict) else None

    def due(self) -> bool:
        """Whether enough time has passed to write again."""
        pause = max(self.seconds, _PAUSES * self._took) if self.seconds > 0.0 else 0.0
        return time.monotonic() - self._written >= pause

    def save(self, state: Mapping[str, Any]) -> None:
        """Keep this in place of what was kept before; where that cannot be written, training goes on without."""
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
        """Delete the file; called when every cell that rests on this training is written down."""
        self.path.unlink(missing_ok=True)
