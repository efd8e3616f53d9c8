"""The synthetic corpus `clinic-notes`: short hospital notes labelled with their department.

Every note carries one to four planted items of invented personal data, listed with the note, so that what
an attack recovers can be counted. Notes are put together from clauses (complaint, history, finding, plan,
contact, administration) drawn in varying number and order. The departments overlap because many phrases
belong to several of them and because patients have histories from other departments; labels are never
flipped.

The personal data belong to nobody:

* Telephone numbers are of the 555-0100 to 555-0199 kind, set aside for fiction under every area code.
* E-mail addresses are at example.org, a domain reserved for examples.
* Identifiers look like a US social security number with area number 000, which was never issued and is not
  valid. The 9xx area numbers were passed over because tax numbers (ITIN) use them.
* Dates lie in the years 2031 to 2059.
* Names combine a common first with a common last name. A combination may coincide with a real name by
  chance, but nothing else in a note is real.
"""

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple, TypeVar

import numpy as np

from fedsec.data import clinic_vocabulary as vocabulary

LABELS: tuple[str, ...] = vocabulary.DEPARTMENTS
PLANTED_KINDS: tuple[str, ...] = ("name", "date", "phone", "identifier", "email")

_FIRST_YEAR, _LAST_YEAR = 2031, 2059
_MAX_PLANTED = 4
# One of each kind but names keeps every value from being a part of another ("4 May 2031" of "14 May 2031").
_MAX_PER_KIND = {"name": 2, "date": 1, "phone": 1, "identifier": 1, "email": 1}

# A note takes clauses until it has the fewest words allowed and about as many tokens as a target drawn from
# this range. Tokens are estimated: long words and numbers split into several.
_MIN_WORDS = 10
_MIN_TARGET, _MAX_TARGET = 12, 30
_PIECE = re.compile(r"[A-Za-z]{1,8}|\d{1,2}|[^\w\s]")
# Every template of these kinds plants something.
_PERSONAL_CLAUSES = ("contact", "admin")
# Where a clause tends to stand; a jitter added to it varies the order.
_CLAUSE_RANK = {"admin": 0.0, "complaint": 0.6, "history": 1.4, "finding": 2.0, "plan": 2.8, "contact": 3.4}
_ORDER_JITTER = 2.0
_SEPARATORS = (". ", ". ", ". ", "; ")

# Shares of phrases drawn from the department's own and from its overlapping phrases; the rest fit everywhere.
# They set how hard the departments are to tell apart (tests/data/test_clinic_notes.py measures it).
_OWN_AND_SHARED = {
    "complaint": (0.62, 0.33),
    "history": (0.40, 0.0),
    "finding": (0.52, 0.36),
    "plan": (0.46, 0.36),
}
_OTHER_DEPARTMENT_HISTORY = 0.35

_SLOT = re.compile(r"\{(\w+)\}")
_T = TypeVar("_T")


class PlantedItem(NamedTuple):
    """One piece of invented personal data.

    Attributes:
        kind: One of `PLANTED_KINDS`.
        value: The text of the item, which occurs exactly once in its note.
    """

    kind: str
    value: str


class ClinicNote(NamedTuple):
    """One note of the corpus.

    Attributes:
        text: The note.
        label: Index of the department in `LABELS`.
        planted: The personal data of the note, in the order of the text.
    """

    text: str
    label: int
    planted: tuple[PlantedItem, ...]

    def masked(self) -> str:
        """Returns the text with every planted value replaced by its kind in brackets."""
        text = self.text
        for item in self.planted:
            text = text.replace(item.value, f"[{item.kind}]")
        return text


class _PhraseTable(NamedTuple):
    own: tuple[tuple[str, ...], ...]
    shared: tuple[tuple[str, ...], ...]
    common: tuple[str, ...]


def _parse_table(lines: Sequence[str]) -> _PhraseTable:
    own: list[list[str]] = [[] for _ in LABELS]
    shared: list[list[str]] = [[] for _ in LABELS]
    common: list[str] = []
    for line in lines:
        codes, _, rest = line.partition(": ")
        phrases = rest.split("; ")
        if codes == "*":
            common.extend(phrases)
            continue
        for code in codes:
            target = own if len(codes) == 1 else shared
            target[vocabulary.CODES.index(code)].extend(phrases)
    return _PhraseTable(tuple(map(tuple, own)), tuple(map(tuple, shared)), tuple(common))


_PHRASES = {
    "complaint": _parse_table(vocabulary.COMPLAINTS),
    "history": _parse_table(vocabulary.HISTORY),
    "finding": _parse_table(vocabulary.FINDINGS),
    "plan": _parse_table(vocabulary.PLANS),
}
_TEMPLATES = {
    "complaint": vocabulary.COMPLAINT_TEMPLATES,
    "history": vocabulary.HISTORY_TEMPLATES,
    "finding": vocabulary.FINDING_TEMPLATES,
    "plan": vocabulary.PLAN_TEMPLATES,
    "contact": vocabulary.CONTACT_TEMPLATES,
    "admin": vocabulary.ADMIN_TEMPLATES,
}


class _Draws:
    """Random draws for one note, fetched in blocks because single draws from numpy are slow."""

    __slots__ = ("_block", "_source")

    def __init__(self, seed: int, index: int) -> None:
        # A stream for each note keeps a note the same whatever the length of the corpus. PCG64 is named
        # because numpy may change which generator is its default.
        sequence = np.random.SeedSequence(seed, spawn_key=(index,))
        self._source = np.random.Generator(np.random.PCG64(sequence))
        self._block: list[float] = []

    def unit(self) -> float:
        if not self._block:
            self._block = self._source.random(64).tolist()
        return self._block.pop()

    def between(self, low: int, high: int) -> int:
        """Returns a whole number from low to high, both included."""
        return low + int(self.unit() * (high - low + 1))

    def pick(self, options: Sequence[_T]) -> _T:
        return options[int(self.unit() * len(options))]

    def shuffled(self, options: Sequence[_T]) -> list[_T]:
        keyed = sorted((self.unit(), place) for place in range(len(options)))
        return [options[place] for _, place in keyed]


def _draw_name(draws: _Draws) -> str:
    return f"{draws.pick(vocabulary.FIRST_NAMES)} {draws.pick(vocabulary.LAST_NAMES)}"


def _draw_date(draws: _Draws) -> str:
    # Day 28 is the last one that every month has.
    return f"{draws.between(1, 28)} {draws.pick(vocabulary.MONTHS)} {draws.between(_FIRST_YEAR, _LAST_YEAR)}"


def _draw_phone(draws: _Draws) -> str:
    # A last digit of 2 or more keeps clear of service codes such as 911.
    area = f"{draws.between(2, 9)}{draws.between(0, 8)}{draws.between(2, 9)}"
    return f"{area}-555-01{draws.between(0, 99):02d}"


def _draw_identifier(draws: _Draws) -> str:
    return f"000-{draws.between(1, 99):02d}-{draws.between(1, 9999):04d}"


def _draw_email(draws: _Draws) -> str:
    # Drawn apart from the names of the note, so that recovering a name does not give the address away.
    first, last = draws.pick(vocabulary.FIRST_NAMES).lower(), draws.pick(vocabulary.LAST_NAMES).lower()
    local = draws.pick((f"{first}.{last}", f"{first[0]}.{last}", f"{last}{draws.between(10, 99)}"))
    return f"{local}@example.org"


_PLANTERS: dict[str, Callable[[_Draws], str]] = {
    "name": _draw_name,
    "date": _draw_date,
    "phone": _draw_phone,
    "identifier": _draw_identifier,
    "email": _draw_email,
}


class _NoteWriter:
    """Writes the clauses of one note and keeps what was planted and which phrases were used."""

    __slots__ = ("draws", "label", "planted", "used")

    def __init__(self, draws: _Draws, label: int) -> None:
        self.draws = draws
        self.label = label
        self.planted: list[PlantedItem] = []
        self.used: set[str] = set()

    def write_clause(self, kind: str) -> str | None:
        """Returns a clause of the kind, or None where each of its templates would plant too much."""
        fitting = _fitting(kind, tuple(item.kind for item in self.planted))
        return self._fill(self.draws.pick(fitting)) if fitting else None

    def _fill(self, template: str) -> str:
        # Every second part is a slot's name.
        parts = _parts(template)
        return "".join(self._fill_slot(part) if place % 2 else part for place, part in enumerate(parts))

    def _fill_slot(self, slot: str) -> str:
        if slot in _PHRASES:
            return self._fill(self._new_phrase(slot))
        if slot in _PLANTERS:
            return self._plant(slot)
        if slot == "age":
            return str(self.draws.between(24, 93))
        return self.draws.pick(vocabulary.FILLERS[slot])

    def _plant(self, kind: str) -> str:
        item = PlantedItem(kind, _PLANTERS[kind](self.draws))
        while item in self.planted:
            item = PlantedItem(kind, _PLANTERS[kind](self.draws))
        self.planted.append(item)
        return item.value

    def _new_phrase(self, kind: str) -> str:
        phrase = self._draw_phrase(kind)
        while phrase in self.used:
            phrase = self._draw_phrase(kind)
        self.used.add(phrase)
        return phrase

    def _draw_phrase(self, kind: str) -> str:
        table = _PHRASES[kind]
        own, shared = _OWN_AND_SHARED[kind]
        chance = self.draws.unit()
        if chance < own:
            return self.draws.pick(table.own[self.label])
        if chance < own + shared:
            return self.draws.pick(table.shared[self.label])
        if kind == "history" and chance < own + _OTHER_DEPARTMENT_HISTORY:
            return self.draws.pick(self.draws.pick(table.own))
        return self.draws.pick(table.common)


_PLANTED_SLOTS: dict[str, tuple[str, ...]] = {
    template: tuple(slot for slot in _SLOT.findall(template) if slot in _PLANTERS)
    for templates in _TEMPLATES.values()
    for template in templates
}


@cache
def _parts(template: str) -> tuple[str, ...]:
    """A template's texts and slots in turn."""
    return tuple(_SLOT.split(template))


@cache
def _fitting(kind: str, planted: tuple[str, ...]) -> tuple[str, ...]:
    """The templates of a kind that do not plant too much beside what is planted."""

    def fits(needed: tuple[str, ...]) -> bool:
        few = len(planted) + len(needed) <= _MAX_PLANTED
        return not needed or (few and all(planted.count(slot) < _MAX_PER_KIND[slot] for slot in needed))

    return tuple(template for template in _TEMPLATES[kind] if fits(_PLANTED_SLOTS[template]))


def _long_enough(clauses: Sequence[tuple[str, str]], target: int) -> bool:
    text = ". ".join(clause for _, clause in clauses)
    return len(text.split()) >= _MIN_WORDS and len(_PIECE.findall(text)) >= target


def _write_clauses(writer: _NoteWriter) -> list[tuple[str, str]]:
    target = writer.draws.between(_MIN_TARGET, _MAX_TARGET)
    waiting = ["complaint", *writer.draws.shuffled(("history", "finding", "plan", *_PERSONAL_CLAUSES))]
    clauses: list[tuple[str, str]] = []
    while waiting and not (writer.planted and _long_enough(clauses, target)):
        kind = waiting[0]
        if clauses and not writer.planted:
            # Personal data come early where still missing: a long note that needed them would grow too long.
            kind = writer.draws.pick(_PERSONAL_CLAUSES)
        waiting.remove(kind)
        clause = writer.write_clause(kind)
        if clause is not None:
            clauses.append((kind, clause))
    return clauses


def _join_clauses(draws: _Draws, clauses: Sequence[tuple[str, str]]) -> str:
    ranked = sorted((_CLAUSE_RANK[kind] + _ORDER_JITTER * draws.unit(), clause) for kind, clause in clauses)
    text = ""
    for _, clause in ranked:
        separator = draws.pick(_SEPARATORS) if text else ""
        opens_sentence = separator != "; "
        text += separator + (clause[0].upper() + clause[1:] if opens_sentence else clause)
    return f"{text}."


def _write_note(seed: int, index: int) -> ClinicNote:
    draws = _Draws(seed, index)
    label = draws.between(0, len(LABELS) - 1)
    writer = _NoteWriter(draws, label)
    text = _join_clauses(draws, _write_clauses(writer))
    planted = sorted(writer.planted, key=lambda item: text.index(item.value))
    return ClinicNote(text, label, tuple(planted))


def generate(count: int, seed: int = 0) -> list[ClinicNote]:
    """Writes the first notes of the corpus with the given seed.

    A longer corpus begins with the same notes as a shorter one of the same seed.

    Args:
        count: Number of notes, zero or more.
        seed: Seed of the corpus, zero or more.

    Returns:
        The notes, in a fixed order.

    Raises:
        ValueError: If count or seed is negative.
    """
    if count < 0 or seed < 0:
        raise ValueError(f"count and seed must not be negative, got {count} and {seed}")
    return [_write_note(seed, index) for index in range(count)]
