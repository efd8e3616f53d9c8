"""Which columns are read, and the examples made of them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from math import isfinite
from typing import Any, NamedTuple

from fedsec.api import Columns
from fedsec.data.corpus import Example
from fedsec.data.reading import Reading

Row = Mapping[str, Any]
MAX_CLASSES = 10_000
"""A label beyond this, or more names than this, is a mistake: every label up to the largest gets a name."""
MAX_TEXT = 10_000_000
"""Characters of a text: no tokenizer takes a longer one in bearable time."""
MAX_NAME = 200
"""Characters of a label's name."""
MAX_SHOWN = 6
"""Names of labels that a message lists."""
_PLAIN = Columns()
_STRICT = Reading()
_NUMBER = re.compile(r"\s*[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?\s*")


@dataclass(frozen=True, slots=True)
class Layout:
    """What is read of each row.

    Args:
        columns: text, label and prompt.
        group: column whose values `by-column` deals to clients.
        labelled: whether a row without the label's column is a fault, and not a text without a label.
        quoting: of csv and tsv files, `auto`, `none` or `csv`.
        how: what becomes of faults, and how much is read.
    """

    columns: Columns = _PLAIN
    group: str | None = None
    labelled: bool = False
    quoting: str = "auto"
    how: Reading = _STRICT

    @property
    def required(self) -> tuple[str, ...]:
        """Columns without which nothing can be read."""
        label = (self.columns.label,) if self.labelled and self.columns.label else ()
        group = (self.group,) if self.group else ()
        return tuple(dict.fromkeys((*self.columns.text, *self.columns.prompt, *label, *group)))

    @property
    def wanted(self) -> tuple[str, ...]:
        """All columns that are read where they exist."""
        label = (self.columns.label,) if self.columns.label else ()
        return tuple(dict.fromkeys((*self.required, *label)))

    @property
    def names_columns(self) -> bool:
        """Whether it needs more than bare texts offer."""
        return self.required != ("text",)

    def check_columns(self, found: Sequence[str], where: str) -> None:
        """Tell of a table that lacks columns, or has one of those wanted twice."""
        lacking: dict[str, list[str]] = {}
        for name in self.wanted:
            if found.count(name) > 1:
                self.how.fault(self.setting_of(name), f"{where} has the column '{name}' twice")
            if name in self.required and name not in found:
                lacking.setdefault(self.setting_of(name), []).append(f"'{name}'")
        shown = ", ".join(repr(name)[:60] for name in found[:20]) or "none"
        for setting, names in lacking.items():
            advice = f"it has {shown}. Choose with {self.how.section}.columns"
            self.how.fault(setting, f"{where} has no column {' and no column '.join(names)}; {advice}")

    def setting_of(self, column: str) -> str:
        """The setting that chooses a column."""
        if column in self.columns.text:
            return "columns.text"
        if column in self.columns.prompt:
            return "columns.prompt"
        return "columns.label" if column == self.columns.label else "partition.column"


class Read(NamedTuple):
    """What was read of one row."""

    text: str
    prompt: str
    group: str
    label: object
    """As it stands in the file; None where there is none."""


class Split(NamedTuple):
    """The rows of one file."""

    where: str
    """What messages call it."""
    rows: list[Read]


def read_split(rows: Iterable[Row], layout: Layout, where: str) -> Split:
    """The texts of a file with their prompts, groups and labels.

    Args:
        rows: as they come out of the file.
        layout: which columns are taken; it is told of a row that lacks one or holds something else than text there, and
            of a file without rows.
        where: what messages call the file.
    """
    found = [
        _read(row, layout, f"{where}: row {number}") for number, row in enumerate(islice(rows, layout.how.most), 1)
    ]
    if not found:
        layout.how.fault("", f"{where} holds no rows")
    return Split(where, found)


def number_labels(
    splits: Sequence[Split], names: tuple[str, ...], *, labelled: bool, how: Reading = _STRICT
) -> tuple[list[tuple[Example, ...]], tuple[str, ...]]:
    """The examples of every split with their labels as numbers, and the labels' names.

    Whole numbers stay as they are, however they are written (1, "1", 1.0); names get numbers in their sorted order,
    over all splits together. Numbers with a fraction are scores and no classes.

    Args:
        splits: at least one.
        names: of the labels, where they are known: a label is then one of them, or its number; else empty.
        labelled: whether a text without a label is a fault even where no text has one.
        how: is told of a label that is missing where others are there, that is no whole number in range, or no name
            among names.
    """
    first = next((row.label for split in splits for row in split.rows if row.label is not None), None)
    if first is None and not labelled:
        return [tuple(Example(row.text, prompt=row.prompt, group=row.group) for row in s.rows) for s in splits], ()
    if not names and _is_name(first):
        names = _distinct_names(splits, how)
    known = {name: place for place, name in enumerate(names)}
    if not names:
        _check_whole(splits, how)
    largest = (len(names) or MAX_CLASSES) - 1
    numbered = [
        tuple(
            Example(row.text, _number(row.label, known, largest, split.where, place, how), (), row.prompt, row.group)
            for place, row in enumerate(split.rows, 1)
        )
        for split in splits
    ]
    most = max((row.label for rows in numbered for row in rows), default=0)
    return numbered, names or tuple(str(n) for n in range(most + 1))


def _read(row: Row, layout: Layout, where: str) -> Read:
    columns, how = layout.columns, layout.how
    needs = f"{where} needs a text in {', '.join(columns.text)}"
    text = " ".join(_string(row, name, needs, layout).strip() for name in columns.text).strip()
    if not text:
        how.fault("columns.text", f"{needs}, and there is nothing but spaces")
    prompt = _prompt(row, layout, where)
    if len(text) + len(prompt) > MAX_TEXT:
        found = f"{where} has {len(text) + len(prompt):,} characters"
        how.fault("columns.text", f"{found}; allowed: at most {MAX_TEXT:,}")
    group = _group(row, layout.group, where, layout) if layout.group else ""
    if columns.label and layout.labelled and columns.label not in row:
        how.fault("columns.label", f"{where} needs a label in {columns.label}{_absent(row, columns.label, how)}")
    return Read(text, prompt, group, row.get(columns.label) if columns.label else None)


def _string(row: Row, name: str, needs: str, layout: Layout) -> str:
    """The string in a column; `needs` begins the message where there is none."""
    value = row.get(name)
    if isinstance(value, str) and _is_unicode(value):
        return value
    fault = f", and '{name}' holds {kind_of(value)}" if name in row else _absent(row, name, layout.how)
    layout.how.fault(layout.setting_of(name), f"{needs}{fault}")
    return ""


def _absent(row: Row, name: str, how: Reading) -> str:
    """That a row lacks a column, and what it has in place of it."""
    shown = ", ".join(f"{column!r:.30}" for column in list(row)[:MAX_SHOWN]) or "no columns"
    more = f" and {len(row) - MAX_SHOWN} more" if len(row) > MAX_SHOWN else ""
    return f", and there is no '{name}' but {shown}{more}; choose with {how.section}.columns"


def kind_of(value: object) -> str:
    """What messages call a value that is out of place, in the words of JSON."""
    if isinstance(value, str):
        return "a text" if _is_unicode(value) else "half a surrogate pair, which is no character"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, Mapping):
        return "an object"
    return "a number" if isinstance(value, int | float | Decimal) else f"a {type(value).__name__}"


def _prompt(row: Row, layout: Layout, where: str) -> str:
    parts, columns = [], layout.columns
    for place, name in enumerate(columns.prompt):
        needs = f"{where} needs a text, which may be empty, in {name}, a part of the prompt"
        value = "" if name in row and row[name] is None else _string(row, name, needs, layout)
        if value.strip():
            parts.append((columns.headings[place] if columns.headings else "") + value.strip())
    return "\n\n".join(parts) + columns.ending if parts else ""


def _group(row: Row, column: str, where: str, layout: Layout) -> str:
    value = row.get(column)
    group = str(value).strip() if isinstance(value, str | int) else ""
    if group and _is_unicode(group):
        return group
    empty = isinstance(value, str) and not value.strip()
    holds = f", and it holds {'nothing but spaces' if empty else kind_of(value)}"
    needs = f"{where} needs a name or a whole number in {column}, which data.partition.column names"
    fault = holds if column in row else _absent(row, column, layout.how)
    layout.how.fault(layout.setting_of(column), f"{needs}{fault}")
    return ""


def _shown(label: object) -> str:
    """A label as messages show it."""
    if label is None:
        return "no label, or null for one"
    is_scalar = isinstance(label, str | int | float | Decimal) and not isinstance(label, bool)
    if not is_scalar:
        return f"{kind_of(label)} for a label"
    half = "" if not isinstance(label, str) or _is_unicode(label) else ", half a surrogate pair"
    return f"label {label!r:.40}{half}"


def _is_unicode(text: str) -> bool:
    """Whether no half of a surrogate pair stands alone; JSON can escape one, and no tokenizer takes it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_name(label: object) -> bool:
    if not isinstance(label, str) or _NUMBER.fullmatch(label):
        return False
    return 0 < len(label.strip()) <= MAX_NAME and _is_unicode(label)


def _number_in(label: object) -> int | float | None:
    """The number that a label is, as a file of whatever kind may hold it; None if it is none."""
    if isinstance(label, str):
        return float(label) if _NUMBER.fullmatch(label) else None
    if isinstance(label, Decimal):
        return float(label)
    return label if isinstance(label, int | float) and not isinstance(label, bool) else None


def _is_fraction(number: int | float | None) -> bool:
    return isinstance(number, float) and isfinite(number) and not number.is_integer()


def _check_whole(splits: Sequence[Split], how: Reading) -> None:
    """Tell of scores, with the first that is no whole number and how many different ones there are."""
    first, different = "", set[int | float]()
    for split in splits:
        for place, row in enumerate(split.rows, 1):
            number = _number_in(row.label)
            if number is None:
                continue
            different.add(number)
            if not first and _is_fraction(number):
                first = f"{split.where}: row {place} has label {row.label!r:.40}"
    if first:
        how.fault(
            "columns.label",
            f"{first}; there are {len(different):,} different numbers, and numbers with a fraction are no classes; "
            f"allowed: whole numbers from 0 to {MAX_CLASSES - 1}, or names; choose with {how.section}.columns.label",
        )


def _distinct_names(splits: Sequence[Split], how: Reading) -> tuple[str, ...]:
    names: set[str] = set()
    for split in splits:
        for place, row in enumerate(split.rows, 1):
            if isinstance(row.label, str) and _is_name(row.label):
                names.add(row.label.strip())
                continue
            how.fault(
                "columns.label",
                f"{split.where}: row {place} has {_shown(row.label)}; other rows have names for labels, so "
                f"allowed is: a name of at most {MAX_NAME} characters",
            )
        if len(names) > MAX_CLASSES:
            found = f"{split.where} has more than {MAX_CLASSES:,} different labels"
            how.fault("columns.label", f"{found}; is it the right column?")
    return tuple(sorted(names))


def _number(label: object, known: Mapping[str, int], largest: int, where: str, place: int, how: Reading) -> int:
    number = _number_in(label)
    if number is not None and 0 <= number <= largest and number == int(number):
        return int(number)
    if isinstance(label, str) and label.strip() in known:
        return known[label.strip()]
    names = f", or one of {', '.join(known)}" if 0 < len(known) <= MAX_SHOWN else ""
    allowed = f"allowed: a whole number from 0 to {largest}{names}"
    how.fault("columns.label", f"{where}: row {place} has {_shown(label)}; {allowed}")
    return 0
