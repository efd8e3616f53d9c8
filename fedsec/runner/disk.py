"""Checks that a disk has space for the rounds that attacks look at."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from fedsec.errors import FedsecError
from fedsec.plan.estimate import disk_of
from fedsec.plan.tasks import Group


def disk_needed(groups: Iterable[Group], workers: int) -> int:
    """Return the bytes that the largest trainings need side by side; rounds are deleted when cells are scored."""
    return sum(sorted(map(disk_of, groups), reverse=True)[:workers])


def disk_free(folder: Path) -> int:
    """Return the free bytes where a folder is, or will be."""
    place = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    return shutil.disk_usage(place).free


def check_disk(needed: int, folder: Path) -> None:
    """Raise FedsecError if so many bytes are not free there."""
    free = disk_free(folder)
    if needed > free:
        raise FedsecError(
            f"the rounds that attacks look at need {_size(needed)} of disk at {folder}, where {_size(free)} are free; "
            "ask for fewer in threat.attack_rounds, take an attack that observes, lower --workers, or give another "
            "folder with --out"
        )


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
