"""YAML text to a tree of plain data with lines, collecting every fault on the way.

PyYAML only splits the text into events. Nodes are built here, so no tag can construct anything, and aliases
are refused before they could multiply.
"""

import re
from collections.abc import Iterator
from typing import Any, NoReturn

import yaml
from yaml import events

from fedsec.config.problems import ConfigError, Problem, TreePath, render, shorten, show
from fedsec.config.scalars import Scalar, resolve
from fedsec.config.tree import MAX_DEPTH, MAX_VALUES, Tree, unsafe_text

__all__ = ["MAX_BYTES", "Tree", "decode", "head", "parse", "read", "value"]

MAX_BYTES = 256 * 1024

_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def decode(raw: bytes, source: str) -> str:
    """The text of a file; ConfigError if it is no UTF-8 or too large."""
    if len(raw) > MAX_BYTES:
        raise ConfigError([Problem(source, None, "", f"larger than {MAX_BYTES // 1024} KiB")])
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        message = f"not UTF-8: byte 0x{raw[error.start]:02x}. Save the file as UTF-8"
        raise ConfigError([Problem(source, line, "", message)]) from error


def parse(text: str, source: str) -> Tree:
    """The tree of a YAML text; ConfigError with all faults if there are any.

    Args:
        text: one YAML document whose top level is a mapping.
        source: what problems call it.
    """
    tree, problems = read(text, source)
    if tree is None or problems:
        raise ConfigError(problems)
    return tree


def read(text: str, source: str) -> tuple[Tree | None, list[Problem]]:
    """What could be read of a YAML text, and all faults; None if they leave nothing to check further.

    Args:
        text: one YAML document whose top level is a mapping.
        source: what problems call it.
    """
    reader = _Reader(text)
    data = reader.document()
    if not reader.stopped and not isinstance(data, dict):
        reader.stopped = True
        if () not in reader.faulty:
            found = "the file is empty" if data is None else f"the file holds {show(data)}"
            reader.note(reader.lines.get((), 1), (), f"{found}; a scenario is a mapping")
    problems = [Problem(source, line, render(path), message) for line, path, message in reader.findings]
    if reader.stopped:
        return None, problems
    return Tree(data, source, reader.lines, frozenset(reader.faulty)), problems


def value(text: str) -> tuple[Any, str | None]:
    """A value on its own (`20`, `[0, 1]`) by the rules for files, and what is wrong with it or None."""
    reader = _Reader(text)
    found = reader.document()
    return found, "; ".join(message for _, _, message in reader.findings) or None


def head(text: str, keys: tuple[str, ...]) -> dict[str, str]:
    """The texts under some keys of the top level, reading no further than the last of them."""
    found: dict[str, str] = {}
    depth = 0
    key: str | None = None
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, events.CollectionStartEvent):
                depth, key = depth + 1, None
            elif isinstance(event, events.CollectionEndEvent):
                depth, key = depth - 1, None
            elif isinstance(event, events.ScalarEvent) and depth == 1:
                if key is not None and key in keys:
                    found[key] = event.value
                    if len(found) == len(keys):
                        break
                key = event.value if key is None else None
    except (yaml.YAMLError, ValueError):
        return found
    return found


class _StopReading(Exception):
    """Nothing after this point can be trusted."""


class _Reader:
    """Builds plain data from the events of one text."""

    def __init__(self, text: str) -> None:
        self.findings: list[tuple[int, TreePath, str]] = []
        self.lines: dict[TreePath, int] = {}
        self.faulty: set[TreePath] = set()
        self.stopped = False
        self._text = text
        self._events: Iterator[events.Event] = yaml.parse(text, Loader=yaml.SafeLoader)
        self._values = 0
        self._line = 1

    def note(self, line: int, path: TreePath, message: str) -> None:
        """Add a fault."""
        self.findings.append((line, path, message))

    def document(self) -> Any:
        """The document's data; `stopped` if it could not be read to its end."""
        try:
            self._check_text()
            return self._document()
        except _StopReading:
            self.stopped = True
        except yaml.MarkedYAMLError as error:
            self.stopped = True
            line = self._line if error.problem_mark is None else error.problem_mark.line + 1
            self.note(line, (), f"not readable as YAML: {_reason(error)}")
        except (yaml.YAMLError, ValueError, OverflowError):  # ValueError: chr() of "\U00110000", let through
            self.stopped = True
            self.note(self._line, (), "not readable as YAML: an escape for a character that does not exist")
        return None

    def _check_text(self) -> None:
        if len(self._text) > MAX_BYTES or len(self._text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
            self._stop(1, (), f"larger than {MAX_BYTES // 1024} KiB")
        for number, line in enumerate(_LINE_BREAK.split(self._text), 1):
            found = _UNPRINTABLE.search(line)
            if found:
                self.note(number, (), f"the character U+{ord(found[0]):04X} is not allowed")
        if self.findings:
            raise _StopReading

    def _document(self) -> Any:
        self._next()  # the start of the stream
        if isinstance(self._next(), events.StreamEndEvent):
            return None
        data = self._node(self._next(), (), 1)
        self._next()  # the end of the document
        if not isinstance(self._next(), events.StreamEndEvent):
            self._stop(self._line, (), "a second document starts here; a scenario is one document")
        return data

    def _next(self) -> events.Event:
        event = next(self._events)
        self._line = _line(event)
        return event

    def _stop(self, line: int, path: TreePath, message: str) -> NoReturn:
        self.note(line, path, message)
        raise _StopReading

    def _node(self, event: events.Event, path: TreePath, depth: int) -> Any:
        line = _line(event)
        self.lines.setdefault(path, line)
        self._values += 1
        if depth > MAX_DEPTH and isinstance(event, events.CollectionStartEvent):
            self._stop(line, (), f"nested deeper than {MAX_DEPTH} levels")
        if self._values > MAX_VALUES:
            self._stop(line, (), f"more than {MAX_VALUES:,} keys and values")
        if isinstance(event, events.AliasEvent):
            return self._refuse(line, path, f"the alias *{shorten(str(event.anchor))} is not allowed; write the value")
        if isinstance(event, events.NodeEvent) and event.anchor is not None:
            self.note(line, path, f"the anchor &{shorten(event.anchor)} is not allowed")
        if isinstance(event, events.MappingStartEvent):
            found: Any = self._mapping(path, depth)
        elif isinstance(event, events.SequenceStartEvent):
            found = self._sequence(path, depth)
        else:
            assert isinstance(event, events.ScalarEvent)  # noqa: S101  -- what the grammar of events leaves
            found = self._scalar(event, path)
        tag = getattr(event, "tag", None)
        if tag is not None:
            return self._refuse(line, path, f"the tag {shorten(tag)} is not allowed; write a plain value")
        return found

    def _refuse(self, line: int, path: TreePath, message: str) -> None:
        self.note(line, path, message)
        self.faulty.add(path)

    def _scalar(self, event: events.ScalarEvent, path: TreePath) -> Scalar:
        fault = unsafe_text(event.value)
        if fault is None and event.style:
            return event.value
        try:
            if fault is None:
                return resolve(event.value)
        except ValueError as error:
            fault = str(error)
        self._refuse(_line(event), path, str(fault))
        return None

    def _sequence(self, path: TreePath, depth: int) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := self._next(), events.SequenceEndEvent):
            found.append(self._node(event, (*path, len(found)), depth + 1))
        return found

    def _mapping(self, path: TreePath, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        first: dict[str, int] = {}
        while not isinstance(event := self._next(), events.MappingEndEvent):
            line = _line(event)
            key = self._key(event, path, depth)
            if key is not None:
                self.lines.setdefault((*path, key), line)
            value = self._node(self._next(), (*path, _NO_KEY if key is None else key), depth + 1)
            if key in first:
                self.note(line, (*path, key), f"the key {show(key)} stands here again; first in line {first[key]}")
            elif key is not None:
                found[key] = value
                first[key] = line
        return found

    def _key(self, event: events.Event, path: TreePath, depth: int) -> str | None:
        before = len(self.findings)
        key = self._node(event, (*path, _NO_KEY), depth + 1)
        if isinstance(event, events.ScalarEvent) and key == "<<" and not event.style:
            self._refuse(_line(event), path, "the merge key << is not allowed; write the values out")
            return None
        if len(self.findings) > before:
            return None
        if isinstance(key, str):
            return key
        self.note(_line(event), path, f"keys must be text, not {show(key)}; put it into quotes")
        return None


_NO_KEY = "<no key>"


def _line(event: events.Event) -> int:
    return 1 if event.start_mark is None else event.start_mark.line + 1


def _reason(error: yaml.MarkedYAMLError) -> str:
    if error.problem and "'\\t'" in error.problem:
        return "a tab; indent with spaces"
    return ", ".join(part for part in (error.context, error.problem) if part)
