"""Measurements of hooks, collected in a round and recorded as means."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from fedsec.api import Measured
from fedsec.errors import FedsecError


class Measurements:
    """The measurements of one round, by plug-in and name."""

    def __init__(self) -> None:
        self._found: dict[str, list[float]] = {}

    def of(self, label: str, found: Any) -> Any:
        """Return the value that a hook returned, and note its measurements.

        Args:
            label: the plug-in's.
            found: what it returned: a value, or `Measured`.

        Raises:
            FedsecError: a measurement is no finite number.
        """
        if not isinstance(found, Measured):
            return found
        if found.spent is not None:
            raise FedsecError(f"{label} reports spent privacy; only step hooks that calibrate and such rules count")
        self.note(label, found)
        return found.value

    def note(self, label: str, found: Measured) -> None:
        """Note the measurements that came with a hook's value; see `of`."""
        for name, value in found.measurements.items():
            fits = isinstance(name, str) and isinstance(value, (int, float)) and isfinite(value)
            if not fits:
                raise FedsecError(f"{label} measured {name!r:.40} as {value!r:.40}; measurements are finite numbers")
            self._found.setdefault(f"{label}/{name}", []).append(float(value))

    def add(self, found: Mapping[str, Sequence[float]]) -> None:
        """Add measurements that were made in another process, from `found`."""
        for name, values in found.items():
            self._found.setdefault(name, []).extend(values)

    @property
    def found(self) -> Mapping[str, Sequence[float]]:
        """Return all measurements so far, by `plug-in/name`."""
        return self._found

    def means(self) -> Mapping[str, float]:
        """Return the mean of each, by `plug-in/name`, and forget them."""
        found = {name: sum(values) / len(values) for name, values in sorted(self._found.items())}
        self._found.clear()
        return found
