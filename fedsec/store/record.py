"""The record of a run: versions, code state and hardware."""

import os
import platform
import re
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fedsec.store.sources import scoring_hash, training_hash

_LIBRARIES = ("fedsec", "torch", "transformers", "peft", "tokenizers", "numpy", "scipy", "rouge-score")


def environment(
    *, threads: int = 1, workers: int = 1, device: str = "cpu", randomness: str = "seeded"
) -> dict[str, Any]:
    """Return versions, what the engine's sources are, and the machine, without user names, paths and secrets.

    Args:
        threads: of every worker's numerics; results depend on it in their last bits.
        workers: processes that ran cells; no result depends on it.
        device: `cpu` or `cuda`.
        randomness: of the scenario.
    """
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _LIBRARIES},
        "git": _git_state(Path(__file__)),
        "sources": {"training": training_hash(), "scoring": scoring_hash()},
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": threads,
        "workers": workers,
        "device": device,
        "randomness": randomness,
    }


def history(before: Mapping[str, Any] | None, *, resumes: bool) -> dict[str, Any]:
    """Return when a run began and when it was continued.

    Args:
        before: the run's record so far, if it has one.
        resumes: whether something is left to run now.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    if before is None:
        return {"created": now, "resumed": []}
    resumed = before.get("resumed")
    times = [*(resumed if isinstance(resumed, list) else []), *([now] if resumes else [])]
    return {"created": before.get("created", now), "resumed": times}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git_state(source: Path) -> dict[str, Any] | None:
    """Return the commit of a source file; None where it does not belong to the checkout around it (site-packages)."""
    if _git(source.parent, "ls-files", "--error-unmatch", source.name) is None:
        return None
    revision = _git(source.parent, "rev-parse", "HEAD")
    if revision is None or not re.fullmatch(r"[0-9a-f]{40,64}", revision):
        return None
    return {"commit": revision, "dirty": bool(_git(source.parent, "status", "--porcelain"))}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        command = ["git", *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
