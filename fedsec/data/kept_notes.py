"""Generated notes, kept in the user's cache folder: every process of a run reads in 0.2 s what takes 3 s to write.

A file is of one version of the generator, by a hash of its sources, and holds a hash of its own content: what is
damaged, or of another version, is generated anew. Where the folder cannot be written, every process generates.
"""

import hashlib
import json
import os
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

from fedsec.data import clinic_notes, clinic_vocabulary
from fedsec.data.clinic_notes import ClinicNote, PlantedItem


def cache_folder() -> Path:
    """`$FEDSEC_CACHE`, or `~/.cache/fedsec`."""
    given = os.environ.get("FEDSEC_CACHE", "")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "fedsec"


def kept_notes(count: int, seed: int = 0) -> list[ClinicNote]:
    """The first notes of the corpus with that seed, as `clinic_notes.generate` writes them.

    Args:
        count: number of notes, at least 0.
        seed: of the corpus, at least 0.
    """
    with suppress(RuntimeError, OSError):  # no home folder, or sources that cannot be read
        path = cache_folder() / "notes" / f"{_version()}-{seed}-{count}.json"
        found = _read(path)
        if found is not None and len(found) == count:
            return found
        notes = clinic_notes.generate(count, seed)
        _write(path, notes)
        return notes
    return clinic_notes.generate(count, seed)


@cache
def _version() -> str:
    found = hashlib.sha256()
    for module in (clinic_notes, clinic_vocabulary):
        found.update(Path(str(module.__file__)).read_bytes())
    return found.hexdigest()[:16]


def _read(path: Path) -> list[ClinicNote] | None:
    """The notes of a file; None if it is missing or damaged."""
    try:
        digest, _, content = path.read_text(encoding="utf-8").partition("\n")
        if digest != _hash(content):
            return None
        return [
            ClinicNote(text, label, tuple(PlantedItem(kind, value) for kind, value in planted))
            for text, label, planted in json.loads(content)
        ]
    except (OSError, ValueError, TypeError):
        return None


def _write(path: Path, notes: list[ClinicNote]) -> None:
    content = json.dumps(notes, ensure_ascii=True, separators=(",", ":"))
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(f"{_hash(content)}\n{content}")
            Path(name).replace(path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise


def _hash(content: str) -> str:
    return hashlib.sha256(content.encode("utf-8")).hexdigest()
