"""Texts beside what an attack made of them, where a scenario keeps them."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from fedsec.comparison.rows import NONE
from fedsec.metrics.words import shown_words
from fedsec.report.scorecard import settings_label

MOST_TEXTS, LEAST_TEXTS, MOST_IN_ALL, MOST_WORDS = 40, 3, 400, 600

Row = Mapping[str, Any]


def texts(contents: Sequence[Row]) -> list[dict[str, Any]]:
    """The texts of the first seed of each attack, defense and setting that has any; fewer of each where there are many.

    Args:
        contents: cell files.
    """
    first: dict[str, Row] = {}
    for content in contents:
        cell = content["cell"]
        if content.get("texts"):
            first.setdefault(repr((cell["settings"], cell["attack"], cell["defense"])), content)
    most = max(LEAST_TEXTS, min(MOST_TEXTS, MOST_IN_ALL // max(1, len(first))))
    return [_of(content, most) for content in list(first.values())[: MOST_IN_ALL // LEAST_TEXTS]]


def _of(content: Row, most: int) -> dict[str, Any]:
    cell, own = content["cell"], content["texts"]
    defense = "no defense" if cell["defense"] == NONE else cell["defense"]
    return {
        "title": f"{cell['attack']} against {defense}, seed {cell['seed']}",
        "settings": settings_label(cell["settings"]),
        "status": cell["status"],
        "texts": [{**text, **_compared(text)} for text in own[:most]],
        "more": len(own[most:]),
    }


def _compared(text: Row) -> dict[str, list[tuple[bool, str]]]:
    """Both texts in pieces, each with whether it differs; joined they are the texts again, or their beginnings."""
    ours, theirs = (shown_words(str(text[key] or "")) for key in ("original", "recovered"))
    if max(len(ours), len(theirs)) > MOST_WORDS:  # comparing takes quadratic time
        ours, theirs = ([*words[:MOST_WORDS], "…"] if len(words) > MOST_WORDS else words for words in (ours, theirs))
    one, other = ([word.rstrip() for word in words] for words in (ours, theirs))
    pieces: dict[str, list[tuple[bool, str]]] = {"original_pieces": [], "recovered_pieces": []}
    for tag, i, j, k, m in difflib.SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        for name, piece in (("original_pieces", "".join(ours[i:j])), ("recovered_pieces", "".join(theirs[k:m]))):
            word = piece.rstrip()  # what is marked ends with its last letter
            pieces[name] += [(tag != "equal", word), (False, piece[len(word) :])]
    return pieces
