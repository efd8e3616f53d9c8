"""Rounds that attacks look at: stored on disk until they are scored, or shown as they happen.

What a round leaves is as good as the clients' texts, and under full tuning it is a gigabyte: it lies in files of mode
0600 that are mapped into memory when they are read, and deleted with the training.
"""

import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from fedsec.api import Message
from fedsec.federation.transcript import Observed
from fedsec.store.atomic import write_bytes

_log = logging.getLogger(__name__)
_TENSORS = ("rows", "aggregate", "start", "end", "started")
"""The fp32 tensors of a round, in their order in its file."""
BYTES_PER_VALUE = 4


class Watcher(Protocol):
    """An attack that looks at rounds as they happen."""

    @property
    def rounds(self) -> frozenset[int]:
        """The rounds that it may see."""
        ...

    def look(self, observed: Observed) -> None:
        """Show the attack one of these rounds; the engine stores nothing of it."""
        ...

    def state(self) -> Mapping[str, Any]:
        """Return the attack's state."""
        ...

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore the attack's state."""
        ...

    def reset(self) -> None:
        """Forget everything, since training starts again."""
        ...


class RoundStore(Mapping[int, Observed]):
    """Rounds by number, each in two files; a round is read anew each time it is requested.

    Args:
        folder: where they lie; a temporary folder, gone with this object, if absent.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="fedsec-rounds-") if folder is None else None
        self.folder = Path(self._temporary.name) if self._temporary is not None else folder or Path()
        self._numbers: set[int] = set()

    def keep(self, observed: Observed) -> None:
        """Store a round, in place of an earlier one of that number.

        Where its folder is a link to somewhere else, or cannot be made, rounds go to a temporary one: training goes on,
        and a resumed run starts again.
        """
        self._open()
        values, about = self._paths(observed.round)
        about.unlink(missing_ok=True)
        partial = values.with_suffix(".part")
        partial.unlink(missing_ok=True)
        shapes: dict[str, list[int] | None] = {}
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            for name in _TENSORS:
                tensor = getattr(observed, name)
                shapes[name] = None if tensor is None else list(tensor.shape)
                if tensor is not None:
                    stream.write(tensor.contiguous().numpy().data)
        partial.replace(values)
        heads = [[m.stage, m.sender, m.receiver, len(m.content)] for m in observed.messages]
        if heads:
            write_bytes(_said(values), b"".join(message.content for message in observed.messages), 0o600)
        rest = {**observed.as_json(), **shapes, "messages": heads}
        rest["weights"] = None if observed.weights is None else observed.weights.tolist()
        write_bytes(about, json.dumps(rest).encode(), 0o600)
        self._numbers.add(observed.round)

    def _open(self) -> None:
        if not self._numbers:
            try:
                if self.folder.is_symlink() or self.folder.parent.is_symlink():
                    raise OSError("a link leads out of the run's folder")
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                _log.warning("rounds cannot be kept at %s (%s); they go to a temporary folder", self.folder, error)
                self._temporary = tempfile.TemporaryDirectory(prefix="fedsec-rounds-")
                self.folder = Path(self._temporary.name)

    def __getitem__(self, number: int) -> Observed:
        """Return the round; changes to its tensors change no file. KeyError if it was not stored."""
        values, about = self._paths(number)
        if number not in self._numbers:
            raise KeyError(number)
        rest = json.loads(about.read_text(encoding="utf-8"))
        sizes = [_size(rest[name]) for name in _TENSORS]
        if values.stat().st_size != BYTES_PER_VALUE * sum(sizes):
            raise ValueError(f"{values} is not as long as its description says")
        mapped = torch.from_file(str(values), shared=False, size=sum(sizes), dtype=torch.float32)
        parts = dict(zip(_TENSORS, mapped.split(sizes), strict=True))
        tensors = {name: None if rest[name] is None else parts[name].view(rest[name]) for name in _TENSORS}
        weights = None if rest["weights"] is None else torch.tensor(rest["weights"], dtype=torch.float64)
        return Observed.from_json(
            {**rest, **tensors, "weights": weights, "messages": _messages(values, rest["messages"])}
        )

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._numbers))

    def __len__(self) -> int:
        return len(self._numbers)

    def take_up(self, numbers: list[int]) -> None:
        """Continue with rounds that an earlier process wrote; ValueError if one of them is missing or incomplete."""
        for number in numbers:
            self._numbers.add(number)
            try:
                self[number]
            except (OSError, ValueError, KeyError, TypeError) as error:
                self._numbers.clear()
                raise ValueError(f"round {number} cannot be read: {error}") from error

    def clear(self) -> None:
        """Delete every round."""
        self._numbers.clear()
        if not (self.folder.is_symlink() or self.folder.parent.is_symlink()):
            shutil.rmtree(self.folder, ignore_errors=True)

    def _paths(self, number: int) -> tuple[Path, Path]:
        return self.folder / f"{number}.f32", self.folder / f"{number}.json"


def _said(values: Path) -> Path:
    """Return where the messages of a round lie, whose tensors lie in `values`."""
    return values.with_suffix(".messages")


def _messages(values: Path, heads: list[list[Any]]) -> tuple[Message, ...]:
    """Return a protocol's messages by their descriptions; ValueError if their file is of another length."""
    said = _said(values).read_bytes() if heads else b""
    if len(said) != sum(length for *_, length in heads):
        raise ValueError(f"{_said(values)} is not as long as its description says")
    found, start = [], 0
    for stage, sender, receiver, length in heads:
        found.append(Message(stage, sender, receiver, said[start : start + length]))
        start += length
    return tuple(found)


def _size(shape: list[int] | None) -> int:
    size = 0 if shape is None else 1
    for length in shape or ():
        size *= length
    return size
