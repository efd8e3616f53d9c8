"""Content hashes of the data and weights that a cell reads. `sources` has those of the code."""

import hashlib
import json
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fedsec import registry
from fedsec.data.named import folder_of
from fedsec.errors import FedsecError

_SETTLED_SECONDS = 2.0
"""Seconds: a file that changed more recently is read each time, since a second change may keep its time stamps."""
_known: dict[tuple[str, int, int, int, int], str] = {}


def digest(content: Any) -> str:
    """Return 16 hex digits of the sha256 of `content` as canonical JSON."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_hashes(paths: Iterable[Path]) -> dict[str, str]:
    """Return the sha256 of each file that exists, by name; a file is read once per process and state.

    Raises:
        FedsecError: a file is there and cannot be read.
    """
    try:
        return {path.name: file_hash(path) for path in sorted(paths) if path.is_file()}
    except OSError as error:
        raise FedsecError(f"data or weights cannot be read: {error}") from error


def data_hash(name: str | None, path: str | None, revision: str | None = None) -> str:
    """Return the hash of the files behind `data.path` or `data.name`, or of the commit on the hub that replaces them.

    A full commit hash pins the content. A generated corpus is covered by the engine's hash.
    """
    if path is not None:
        here = Path(path)
        return digest(_folder_hashes(here) if _is_folder(here) else file_hashes([here]))
    folder = folder_of(str(name))
    if revision is None and folder is not None and _is_folder(folder):
        return digest([name, _folder_hashes(folder)])
    hub = registry.datasets().get(str(name)).hub if name in registry.datasets() else None
    commit = revision or (hub.revision if hub else None)
    if commit is None:
        return digest([name, {}])
    return digest([name, {"hub": hub.id if hub else name, "revision": commit}])


def weights_hash(name: str) -> str:
    """Return the hash of a local model folder's files, or of the name with the revision in the hub's cache."""
    folder = Path(name)
    if _is_folder(folder):
        return digest(_folder_hashes(folder))
    revision = _cached_revision(name)
    return digest([name, revision] if revision else name)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # too long for a path, or not to be looked at
        return False


def _folder_hashes(folder: Path) -> dict[str, str]:
    try:
        paths = list(folder.iterdir())
    except OSError as error:
        raise FedsecError(f"data or weights cannot be read: {error}") from error
    return file_hashes(paths)


def file_hash(path: Path) -> str:
    """Return the sha256 of a file in hex; it is read once per process and state, OSError if it cannot be."""
    state = path.stat()
    key = (str(path.absolute()), state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
    if key in _known:
        return _known[key]
    with path.open("rb") as stream:
        before = os.fstat(stream.fileno())
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    same = (before.st_ino, before.st_mtime_ns, before.st_ctime_ns) == (key[1], key[3], key[4])
    if same and time.time() - max(state.st_mtime, state.st_ctime) > _SETTLED_SECONDS:
        _known[key] = found
    return found


def _cached_revision(name: str) -> str | None:
    """Return the commit that transformers takes from the hub's cache for a hub id; None if it is not cached."""
    from huggingface_hub import try_to_load_from_cache

    try:
        found = try_to_load_from_cache(name, "config.json")
    except (OSError, ValueError):  # not the form of a hub id
        return None
    return Path(found).parent.name if isinstance(found, str) else None
