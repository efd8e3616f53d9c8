"""YAML text to a tree of plain data with lines, collecting every fault on the way.

PyYAML composes nodes, with their places in the text, and nothing is constructed of them. What nests too deep, is too
much, or is an alias ends there.
"""

import re
from typing import Any

import yaml
from yaml import events

from fedsec.config.problems import ConfigError, Problem, TreePath, render, shorten, show
from fedsec.config.scalars import resolve
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
    """Nothing from this line on can be trusted."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class _Composer(yaml.SafeLoader):
    """Composes a text within limits, and keeps the event that each node began with."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.yaml_implicit_resolvers = {}  # `scalars` says what plain texts mean
        self.began: dict[yaml.Node, Any] = {}
        self._depth = self._values = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> Any:
        """The next node; of an alias, an empty one."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        mark = event.start_mark
        line = mark.line + 1
        self._values += 1
        if self._depth >= MAX_DEPTH and isinstance(event, events.CollectionStartEvent):
            raise _StopReading(line, f"nested deeper than {MAX_DEPTH} levels")
        if self._values > MAX_VALUES:
            raise _StopReading(line, f"more than {MAX_VALUES:,} keys and values")
        if isinstance(event, events.AliasEvent):
            self.get_event()  # type: ignore[no-untyped-call]
            node = yaml.ScalarNode("", "", mark)
        else:
            self.anchors = {}  # the reader refuses each; that a name comes twice is no other fault
            self._depth += 1
            node = super().compose_node(parent, index)  # type: ignore[assignment]
            self._depth -= 1
        self.began[node] = event
        return node


class _Reader:
    """Makes plain data of the nodes of one text."""

    def __init__(self, text: str) -> None:
        self.findings: list[tuple[int, TreePath, str]] = []
        self.lines: dict[TreePath, int] = {}
        self.faulty: set[TreePath] = set()
        self.stopped = False
        self._text = text
        self._began: dict[yaml.Node, Any] = {}

    def note(self, line: int, path: TreePath, message: str) -> None:
        """Add a fault."""
        self.findings.append((line, path, message))

    def document(self) -> Any:
        """The document's data; `stopped` if it could not be read to its end."""
        if self._check_text():
            return None
        composer: Any = _Composer(self._text)
        self._began = composer.began
        try:
            data = self._plain(composer.get_node(), ()) if composer.check_node() else None
            if composer.check_node():
                line = composer.peek_event().start_mark.line + 1
                raise _StopReading(line, "a second document starts here; a scenario is one document")
            return data
        except _StopReading as stop:
            fault = (stop.line, str(stop))
        except yaml.MarkedYAMLError as error:
            line = composer.line if error.problem_mark is None else error.problem_mark.line
            fault = (line + 1, f"not readable as YAML: {_reason(error)}")
        except (yaml.YAMLError, ValueError, OverflowError):  # ValueError: chr() of "\U00110000", let through
            fault = (composer.line + 1, "not readable as YAML: an escape for a character that does not exist")
        self.stopped = True
        self.note(fault[0], (), fault[1])
        return None

    def _check_text(self) -> bool:
        """Whether the text is too large, or holds characters that YAML refuses."""
        if len(self._text) > MAX_BYTES or len(self._text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
            self.note(1, (), f"larger than {MAX_BYTES // 1024} KiB")
        else:
            for number, line in enumerate(_LINE_BREAK.split(self._text), 1):
                if found := _UNPRINTABLE.search(line):
                    self.note(number, (), f"the character U+{ord(found[0]):04X} is not allowed")
        self.stopped = bool(self.findings)
        return self.stopped

    def _plain(self, node: Any, path: TreePath) -> Any:
        event = self._began[node]
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        if isinstance(event, events.AliasEvent):
            return self._refuse(line, path, f"the alias *{shorten(str(event.anchor))} is not allowed; write the value")
        if event.anchor is not None:
            self.note(line, path, f"the anchor &{shorten(event.anchor)} is not allowed")
        if isinstance(node, yaml.MappingNode):
            found: Any = self._mapping(node, path)
        elif isinstance(node, yaml.SequenceNode):
            found = [self._plain(item, (*path, place)) for place, item in enumerate(node.value)]
        else:
            found = self._scalar(node, line, path)
        if event.tag is not None:
            return self._refuse(line, path, f"the tag {shorten(event.tag)} is not allowed; write a plain value")
        return found

    def _refuse(self, line: int, path: TreePath, message: str) -> None:
        self.note(line, path, message)
        self.faulty.add(path)

    def _scalar(self, node: Any, line: int, path: TreePath) -> Any:
        fault = unsafe_text(node.value)
        try:
            if fault is None:
                return node.value if node.style else resolve(node.value)
        except ValueError as error:
            fault = str(error)
        return self._refuse(line, path, str(fault))

    def _mapping(self, node: yaml.MappingNode, path: TreePath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key, line = self._key(key_node, path), key_node.start_mark.line + 1
            place = (*path, _NO_KEY if key is None else key)
            again = key in found
            if key is not None:
                self.lines.setdefault(place, line)
            value = self._plain(value_node, place)
            if again:
                self.note(line, place, f"the key {show(key)} stands here again; first in line {self.lines[place]}")
            elif key is not None:
                found[key] = value
        return found

    def _key(self, node: yaml.Node, path: TreePath) -> str | None:
        before, line = len(self.findings), node.start_mark.line + 1
        key = self._plain(node, (*path, _NO_KEY))
        if isinstance(node, yaml.ScalarNode) and key == "<<" and not node.style:
            self._refuse(line, path, "the merge key << is not allowed; write the values out")
        if len(self.findings) == before and not isinstance(key, str):
            self.note(line, path, f"keys must be text, not {show(key)}; put it into quotes")
        return key if len(self.findings) == before else None


_NO_KEY = "<no key>"


def _reason(error: yaml.MarkedYAMLError) -> str:
    if error.problem and "'\\t'" in error.problem:
        return "a tab; indent with spaces"
    return ", ".join(part for part in (error.context, error.problem) if part)
