"""Where rules stand: the file and line that findings point at."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fedsec.config import yaml_tree
from fedsec.config.problems import ConfigError


class Place(NamedTuple):
    """A line of a file."""

    file: str
    """From the top of the repository that the working directory is in, with `/`; from there if it is in none."""
    line: int


def places_of(file: Path, count: int) -> list[Place | None]:
    """Where the rules of a scenario or suite file stand; None of each that has no line there.

    Args:
        file: the scenario's, as it was run; what cannot be read has no lines.
        count: rules of the run.
    """
    try:
        with file.open("rb") as stream:
            text = yaml_tree.decode(stream.read(yaml_tree.MAX_BYTES + 1), file.name)
        tree, _ = yaml_tree.read(text, file.name)
    except (OSError, ConfigError):
        return [None] * count
    shown = shown_path(file)
    lines = [None if tree is None else tree.lines.get(("gate", place)) for place in range(count)]
    return [None if line is None else Place(shown, line) for line in lines]


def shown_path(file: Path) -> str:
    """A path from the top of the repository around the working directory; only its name if it lies elsewhere."""
    here = Path.cwd()
    top = next((folder for folder in (here, *here.parents) if (folder / ".git").exists()), here)
    relative = os.path.relpath(os.path.realpath(file), os.path.realpath(top))
    return file.name if relative.startswith("..") else Path(relative).as_posix()


def first_known(*found: Sequence[Place | None]) -> list[Place | None]:
    """For each rule the first place that is known."""
    return [next((place for place in of_rule if place is not None), None) for of_rule in zip(*found, strict=True)]
