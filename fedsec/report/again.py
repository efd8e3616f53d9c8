"""The command that runs a run again, or finishes it: every setting that it had lies in its folder."""

import os
from collections.abc import Mapping
from typing import Any


def again(record: Mapping[str, Any], run: str = "") -> list[str]:
    """The words of that command; its cells count as done, and what is missing runs.

    Args:
        record: record.json: the scenario's name, the plug-in files that were allowed, threads.
        run: the run's folder as seen from where the command is typed; empty for that folder itself.
    """
    above = ".." + "/.." * len(str(record.get("scenario") or "").split("/"))
    words = ["fedsec", "run", _from(run, "scenario.resolved.yaml"), "--out", _from(run, above)]
    for file in record.get("plugins") or ():
        words += ["--allow-plugins", _from(run, str(file))]
    threads = record.get("threads") or 1
    return words if threads == 1 else [*words, "--threads", str(threads)]


def _from(run: str, path: str) -> str:
    return os.path.normpath(os.path.join(run, path))  # noqa: PTH118  (pathlib keeps `..`)
