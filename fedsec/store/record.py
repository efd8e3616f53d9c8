"""What ran: versions, code state and hardware, so that a result can be placed."""

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_LIBRARIES = ("fedsec", "torch", "transformers", "peft", "tokenizers", "numpy", "scipy", "rouge-score")


def environment() -> dict[str, Any]:
    """Versions, git state of the engine's checkout, and the machine; no user names, no paths, no secrets."""
    import torch

    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _LIBRARIES},
        "git": _git_state(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": "cpu",
        "randomness": "seeded",
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git_state() -> dict[str, Any] | None:
    here = Path(__file__).parent
    revision = _git(here, "rev-parse", "HEAD")
    if revision is None or not re.fullmatch(r"[0-9a-f]{40,64}", revision):
        return None
    return {"commit": revision, "dirty": bool(_git(here, "status", "--porcelain"))}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        command = ["git", *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
