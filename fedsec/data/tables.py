"""Rows of csv and tsv tables, with texts in quotes or bare."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fedsec.data.layout import Layout, Row
from fedsec.errors import FedsecError

_DOUBLED = re.compile(r'"[^"]*(?:""[^"]*)+"')
"""A quoted cell with quotes inside, as programs write it."""


class _Record(NamedTuple):
    """One row."""

    cells: list[str]
    lines: tuple[str, ...]
    """The file's lines that it takes up; several if a text in quotes has line breaks."""
    first: int
    """The number of the first of them."""


class _Broken(NamedTuple):
    """A row of several lines."""

    opened: int
    """The line in which its last quote opens."""
    last: int
    lines: int
    labels: list[str]
    """What stands where the label would be, of those of its lines that could be rows."""


def table_rows(text: str, layout: Layout, path: Path) -> Iterator[Row]:
    """The rows of a table whose first line names the columns.

    Under `quoting: auto` a tsv file is bare, as tweets and GLUE come: a quote is a character like any other. A csv file
    has texts in quotes; a quote that happens to close in another row swallows the rows between, and that is refused.

    Args:
        text: the file's content.
        layout: the columns that are needed, and whether cells are quoted; it is told of columns that are not there, and
            of rows that cannot be read, with the line where they begin.
        path: what messages call the file; its ending tells the delimiter.

    Raises:
        FedsecError: a row cannot be read, nor anything after it.
    """
    delimiter, auto = "\t" if path.name.endswith(".tsv") else ",", layout.quoting == "auto"
    section = layout.how.section
    bare = layout.quoting == "none" or (auto and delimiter == "\t")
    header: list[str] | None = None
    place: int | None = None
    labels: set[str] = set()
    broken: list[_Broken] = []
    for cells, lines, first in _records(text, delimiter, path, section, bare=bare):
        if auto and bare:
            _check_bare(cells, f"{path}:{first}", layout, is_header=header is None)
        if header is None:
            header = cells
            layout.check_columns(header, str(path))
            place = header.index(layout.columns.label) if layout.columns.label in header else None
            continue
        if len(cells) != len(header):
            quotes = f"needs double quotes and {section}.quoting: csv" if bare else "stands in double quotes"
            layout.how.fault(
                "",
                f"{path}:{first} has {len(cells)} cells, and the header {len(header)}; "
                f"a text with a delimiter or a line break in it {quotes}",
            )
            continue
        if place is not None:
            labels.add(cells[place].strip())
        if place is not None and auto and len(lines) > 1:
            opened = first + _last_opened(lines, delimiter)
            could = [split for line in lines if len(split := line.split(delimiter)) == len(header)]
            broken.append(_Broken(opened, first + len(lines) - 1, len(lines), [split[place] for split in could]))
        yield dict(zip(header, cells, strict=True))
    for row in broken:
        rows = sum(label.strip().strip('"') in labels for label in row.labels)
        if rows > max(1, row.lines / 2):
            layout.how.fault(
                "quoting",
                f"{path}:{row.opened}: the quote that opens here closes in line {row.last}, and the lines between look "
                f"like rows of their own; say {section}.quoting: none if quotes are part of the texts, and csv if this "
                "is one text",
            )


def _records(text: str, delimiter: str, path: Path, section: str, *, bare: bool) -> Iterator[_Record]:
    lines: list[str] = []

    def read() -> Iterator[str]:
        for line in io.StringIO(text, newline=""):
            lines.append(line)
            yield line

    # Not lenient: a text that begins with a stray quote would swallow the rows that follow it.
    reader = (
        csv.reader(read(), delimiter=delimiter, quoting=csv.QUOTE_NONE, strict=True)
        if bare
        else csv.reader(read(), delimiter=delimiter, strict=True)
    )
    while True:
        lines.clear()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            first, advice = reader.line_num - len(lines) + 1, ""
            if not bare:
                first += _last_opened(lines, delimiter)
                advice = (
                    " a text with a quote in it stands in double quotes, with its own quotes doubled, or say "
                    f"{section}.quoting: none if no text stands in quotes;"
                )
            swallowed = f" after a quote that opens here, in line {reader.line_num}" if len(lines) > 1 else ""
            raise FedsecError(
                f"{path}:{first} cannot be read: {error}{swallowed};{advice} texts beyond 131,072 characters take jsonl"
            ) from error
        if cells is None:
            return
        if cells:  # no blank line
            yield _Record(cells, tuple(lines), reader.line_num - len(lines) + 1)


def _last_opened(lines: Sequence[str], delimiter: str) -> int:
    """In which line of a row, counted from 0, its last text in quotes begins."""
    quoted = re.compile(rf'(?:^|{delimiter})"[^"]*(?:""[^"]*)*"?')
    whole = "".join(lines)
    start = max((match.group().index('"') + match.start() for match in quoted.finditer(whole)), default=0)
    for number, line in enumerate(lines):
        start -= len(line)
        if start < 0:
            return number
    return 0


def _check_bare(cells: list[str], where: str, layout: Layout, *, is_header: bool) -> None:
    """Refuse to guess where a program that quotes seems to have written a table that is read as bare."""
    for cell in cells:
        if _DOUBLED.fullmatch(cell) or (is_header and len(cell) > 1 and cell[0] == cell[-1] == '"'):
            section = layout.how.section
            layout.how.fault(
                "quoting",
                f"{where} has {cell!r:.60}, which looks quoted, and tsv files are read as they stand; say "
                f"{section}.quoting: csv if quotes stand around texts, and none if they are part of them",
            )
