"""Cost: bytes and seconds."""

from collections.abc import Sequence

from fedsec.api import BetterFor, MetricValue
from fedsec.federation.transcript import RoundSummary


def costs(rounds: Sequence[RoundSummary]) -> dict[str, MetricValue]:
    """Bytes up and down per client and round, and seconds per round, means over the rounds."""
    columns: dict[str, tuple[str, list[float]]] = {
        "cost/upload-bytes": ("bytes", [r.upload_bytes for r in rounds]),
        "cost/download-bytes": ("bytes", [r.download_bytes for r in rounds]),
        "cost/seconds-per-round": ("seconds", [r.seconds for r in rounds]),
    }
    return {
        name: plain(sum(values) / len(values) if values else None, unit, len(values))
        for name, (unit, values) in columns.items()
    }


def plain(value: float | None, unit: str, n: int) -> MetricValue:
    """A cost without an interval; None where n is 0."""
    return MetricValue(value=value, unit=unit, better_for=BetterFor.NEITHER, n=n)
