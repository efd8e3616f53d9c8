"""Quantities as people give them."""


def duration(seconds: float) -> str:
    """A time in the unit that suits it, at least a second: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
