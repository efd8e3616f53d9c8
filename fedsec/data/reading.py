"""How data are read, and what becomes of a fault in them: it ends the reading, or is noted and read past."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fedsec.errors import FedsecError

Fault = Callable[[str, str], None]
"""Is told the setting that a fault is to be mended at, below the section that names the data (`columns.text`; empty for
the file or set itself), and what is wrong."""


def refuse(setting: str, message: str) -> None:
    """End the reading: FedsecError with the message."""
    raise FedsecError(message)


@dataclass(frozen=True, slots=True)
class Reading:
    """How data are read."""

    fault: Fault = refuse
    """What is done with a fault. If it returns, reading goes on as if something harmless had stood there."""
    most: int | None = None
    """Rows of a file that are read at most; all of them if None."""
    offline: bool = False
    """Whether nothing is fetched from the hub, even if it can be reached."""
    section: str = "data"
    """The section of a scenario that names the data, for what messages advise."""


class Faults:
    """Notes the first fault of every setting and lets the reading go on."""

    def __init__(self) -> None:
        self._found: dict[str, str] = {}

    def __call__(self, setting: str, message: str) -> None:
        """Note a fault."""
        self._found.setdefault(setting, message)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Settings and messages in the order found."""
        return iter(self._found.items())

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._found)
