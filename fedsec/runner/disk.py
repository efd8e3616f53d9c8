"""The disk that a run needs for rounds that attacks look at, and whether it is there."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from fedsec.errors import FedsecError
from fedsec.plan.estimate import disk_of
from fedsec.plan.tasks import Group


def disk_needed(groups: Iterable[Group], workers: int) -> int:
    """Bytes that the worst trainings need side by side; what a training kept is deleted when its cells are scored."""
    return sum(sorted(map(disk_of, groups), reverse=True)[:workers])


def disk_free(folder: Path) -> int:
    """Bytes that are free where a folder lies, or will."""
    place = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    return shutil.disk_usage(place).free


def check_disk(needed: int, folder: Path) -> None:
    """FedsecError if so many bytes are not free there."""
    free = disk_free(folder)
    if needed > free:
        raise FedsecError(
            f"the rounds that attacks look at need {_size(needed)} of disk at {folder}, where {_size(free)} are free; "
            "ask for fewer in threat.attack_rounds, take an attack that observes, lower --workers, or give another "
            "folder with --out"
        )


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
