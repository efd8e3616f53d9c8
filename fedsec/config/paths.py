"""The paths of a scenario: where each stands, and from which folder it starts."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fedsec import registry
from fedsec.config.tree import with_value

_FILES = ("data.path", "data.language_model.path", "threat.auxiliary.path")
"""Settings that hold a path and nothing else."""
_FOLDERS = (
    "model.name", "model.tokenizer", "model.params.tokenizer", "data.language_model.model", "threat.auxiliary.model",
)  # fmt: skip
"""Settings that hold a local folder or a name (registered, or a hub id)."""


def with_paths(data: Mapping[str, Any], change: Callable[[str], str], base: str = "") -> dict[str, Any]:
    """A copy of a scenario's data in which every local path is another, those under `matrix.vary` as well.

    Args:
        data: a scenario, or a part of it, in the YAML form or as the schema dumps it; faulty values stay as they are.
        change: makes the new path of the old one.
        base: folder that relative paths start at, to tell folders from names; the working directory if empty.
    """
    changed = dict(data)
    for setting in (*_FILES, *_FOLDERS):
        always = setting in _FILES
        path = tuple(setting.split("."))
        old = _at(changed, path)
        if _is_local(old, base, always=always):
            changed = with_value(changed, path, change(old))
        varied = _at(changed, ("matrix", "vary", setting))
        if isinstance(varied, list):
            new = [change(one) if _is_local(one, base, always=always) else one for one in varied]
            changed = with_value(changed, ("matrix", "vary", setting), new)
    return changed


def starting_at(data: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """The data of a scenario file in that folder, with paths as they are from the working directory."""
    return with_paths(data, lambda path: os.path.join(folder, path), folder)  # noqa: PTH118


def seen_from(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A scenario's data for a file in that folder: the inverse of `starting_at`."""
    here = os.path.realpath(folder)
    return with_paths(data, lambda path: os.path.relpath(os.path.realpath(path), here))


def _at(data: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    section: Any = data
    for key in path:
        section = section.get(key) if isinstance(section, Mapping) else None
    return section


def _is_local(value: Any, base: str, *, always: bool) -> bool:
    """Whether a setting's value is a path: always so, or if it is no registered name and a folder is there."""
    if not isinstance(value, str) or not value:
        return False
    if always:
        return True
    try:
        return value not in registry.models() and (Path(base) / value).is_dir()
    except (OSError, ValueError):
        return False
