"""Labelled texts from jsonl, csv and tsv files, gzipped or not."""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fedsec.data.corpus import Example
from fedsec.errors import FedsecError

ENDINGS = (".jsonl", ".jsonl.gz", ".csv", ".tsv")
MAX_UNPACKED_BYTES = 1 << 30
"""A gzipped file that unpacks to more is refused: a decompression bomb."""
MAX_CLASSES = 10_000
"""Where the classes are not known, a label beyond this is a mistake: every label up to the largest gets a name."""


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file as mappings; FedsecError with the line for a row that cannot be read."""
    text = _text(path)
    if path.name.endswith((".csv", ".tsv")):
        yield from _table(text, "\t" if path.name.endswith(".tsv") else ",", path)
        return
    for number, line in enumerate(text.split("\n"), 1):  # a JSON text may hold any other line separator
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise FedsecError(f"{path}:{number} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise FedsecError(f"{path}:{number} is no JSON object with `text` and `label`")
        yield row


def examples(path: Path, text_fields: Iterable[str] = ("text",), classes: int | None = None) -> tuple[Example, ...]:
    """The labelled texts of a file.

    Args:
        path: the file.
        text_fields: columns that make up the text, joined by a space.
        classes: number of classes; None takes labels below `MAX_CLASSES`.

    Raises:
        FedsecError: a row lacks a column, its text is empty, or its label is no whole number in range.
    """
    found = []
    for number, row in enumerate(read_rows(path), 1):
        parts = [row.get(field) for field in text_fields]
        text = " ".join(part.strip() for part in parts if isinstance(part, str)).strip()
        if not text or not all(isinstance(part, str) for part in parts) or not _is_unicode(text):
            raise FedsecError(f"{path}: row {number} needs a text in {', '.join(text_fields)}")
        found.append(Example(text, _label(row.get("label"), classes, f"{path}: row {number}")))
    if not found:
        raise FedsecError(f"{path} holds no rows")
    return tuple(found)


def _table(text: str, delimiter: str, path: Path) -> Iterator[dict[str, Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        yield from reader
    except csv.Error as error:
        raise FedsecError(f"{path}:{reader.line_num} cannot be read: {error}") from error


def _is_unicode(text: str) -> bool:
    """Whether no half of a surrogate pair stands alone; JSON can escape one, and no tokenizer takes it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _label(value: object, classes: int | None, where: str) -> int:
    try:
        label = int(str(value))
    except ValueError:
        label = -1
    largest = (MAX_CLASSES if classes is None else classes) - 1
    if isinstance(value, bool) or not 0 <= label <= largest:
        shown = f"{value!r:.40}"
        raise FedsecError(f"{where} has label {shown}; allowed: a whole number from 0 to {largest}")
    return label


def _text(path: Path) -> str:
    try:
        with path.open("rb") as raw:
            stream = gzip.GzipFile(fileobj=raw) if path.name.endswith(".gz") else raw
            content = stream.read(MAX_UNPACKED_BYTES + 1)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise FedsecError(f"{path} cannot be read: {error}") from error
    if len(content) > MAX_UNPACKED_BYTES:
        raise FedsecError(f"{path} holds more than {MAX_UNPACKED_BYTES:,} bytes unpacked; split it")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FedsecError(f"{path} is not UTF-8: {error}") from error
