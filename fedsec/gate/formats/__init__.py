"""What a verdict is written as, one file each; all of them read the same settled verdict."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from fedsec.gate.formats import annotations, junit, metrics_text, plain_json, sarif, step_summary, table
from fedsec.gate.verdict import Verdict
from fedsec.store.atomic import write_text


class Format(NamedTuple):
    """One of them."""

    file: str
    """Its file's name."""
    render: Callable[[Verdict], str]


FORMATS = {
    "summary": Format("summary.md", step_summary.render),
    "annotations": Format("annotations.txt", annotations.render),
    "junit": Format("junit.xml", junit.render),
    "sarif": Format("results.sarif", sarif.render),
    "metrics": Format("metrics.txt", metrics_text.render),
    "csv": Format("gate.csv", table.render),
    "json": Format("gate.json", plain_json.render),
}
"""By the name that the command line gives them."""


def write(verdict: Verdict, folder: Path, names: Iterable[str]) -> list[str]:
    """Write a verdict, whatever it is; return what could not be written, in words.

    Args:
        verdict: a settled one.
        folder: made if it is not there.
        names: keys of `FORMATS`.
    """
    faults = []
    for name in dict.fromkeys(names):
        path = folder / FORMATS[name].file
        try:
            write_text(path, FORMATS[name].render(verdict))
        except Exception as error:  # whatever a format stumbles over, the verdict stands and the others are written
            why = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
            faults.append(f"{path} cannot be written: {why or error}")
    return faults
