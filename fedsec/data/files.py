"""Rows of jsonl, csv, tsv, txt and parquet files, some of them gzipped."""

import gzip
import json
import os
import re
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from fedsec.config.endings import TEXT_ENDINGS
from fedsec.data.layout import Layout, Row, kind_of
from fedsec.data.tables import table_rows
from fedsec.errors import FedsecError

MAX_UNPACKED_BYTES = 1 << 30
"""A file that unpacks to more is refused: a decompression bomb."""
_BLANK_LINES = re.compile(r"\n(?:[^\S\n]*\n)+")


def read_rows(path: Path, layout: Layout | None = None) -> Iterator[Row]:
    """The rows of a file as mappings.

    Args:
        path: the file.
        layout: the columns that are needed, those of a labelled text if absent; it is told of a row (with its line) or
            a needed column that cannot be read.

    Raises:
        FedsecError: the file cannot be read.
    """
    layout = layout or Layout()
    if path.name.endswith(".parquet"):
        from fedsec.data.parquet import parquet_rows  # pyarrow takes a while to import

        with open_file(path) as raw:
            yield from parquet_rows(raw, layout, str(path), MAX_UNPACKED_BYTES)
        return
    text = _text(path)
    if path.name.endswith((".csv", ".tsv")):
        yield from table_rows(text, layout, path)
    elif path.name.endswith(TEXT_ENDINGS):
        yield from _blocks(text, layout, path)
    else:
        yield from _json_lines(text, layout, path)


def is_folder(path: Path) -> bool:
    """Whether a folder is there; whatever the file system does not want to look up is not."""
    try:
        return path.is_dir()
    except OSError:
        return False


def open_file(path: Path) -> BinaryIO:
    """An ordinary file, opened; whatever else is there (a pipe, a device) could keep a reader waiting for ever.

    Raises:
        FedsecError: there is no such file, or it may not be read.
    """
    try:
        raw = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 (Path.open takes no opener)
    except (OSError, ValueError) as error:
        raise FedsecError(f"{path} cannot be read: {error}") from error
    if not stat.S_ISREG(os.fstat(raw.fileno()).st_mode):
        raw.close()
        raise FedsecError(f"{path} cannot be read: it is no ordinary file")
    return raw


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _json_lines(text: str, layout: Layout, path: Path) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), 1):  # a JSON text may hold any other line separator
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_without_repeats)
        except (ValueError, RecursionError) as error:
            layout.how.fault("", f"{path}:{number} is not JSON: {error!s:.200}")
            continue
        if isinstance(row, dict):
            yield row
        else:
            layout.how.fault("", f"{path}:{number} is {kind_of(row)}, and no JSON object with a key for each column")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in row if names.count(name) > 1)
        raise ValueError(f"the key {twice!r:.60} stands twice")
    return row


def _blocks(text: str, layout: Layout, path: Path) -> Iterator[Row]:
    """Texts with blank lines between them, as in plain books: paragraphs, speeches, sections."""
    if layout.names_columns:
        layout.how.fault("columns", f"{path}: a txt file has no columns; take jsonl, csv, tsv or parquet for them")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    for block in _BLANK_LINES.split(f"\n{text}\n"):
        if block.strip():
            yield {"text": block}


def _text(path: Path) -> str:
    with open_file(path) as raw:
        try:
            stream = gzip.GzipFile(fileobj=raw) if path.name.endswith(".gz") else raw
            content = stream.read(MAX_UNPACKED_BYTES + 1)
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise FedsecError(f"{path} cannot be read: {error}") from error
    if len(content) > MAX_UNPACKED_BYTES:
        raise FedsecError(f"{path} holds more than {MAX_UNPACKED_BYTES:,} bytes unpacked; split it")
    try:
        text = content.decode("utf-8-sig")  # some programs put a byte order mark first
    except UnicodeDecodeError as error:
        raise FedsecError(f"{path} is not UTF-8: {error}") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise FedsecError(f"{path}:{line} holds a NUL character: it is a binary file, or UTF-16 instead of UTF-8")
    return text
