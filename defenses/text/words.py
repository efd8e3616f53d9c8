"""The words of a text, and of a query that is token ids."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from fedsec.api import Tokens

_WORD = re.compile(r"\S+")
_SPACES = ("\u0120", "\u2581")
"""How byte pairs and sentence pieces mark the space before a word."""


class Word(NamedTuple):
    """A word of a query."""

    text: str
    start: int
    """Place of its first token."""
    stop: int
    """Place behind its last one."""


def words_of(query: Tokens, tokenizer: Any) -> list[Word]:
    """Return a query's words in their order; special tokens, but for the unknown one, belong to none.

    Args:
        query: token ids.
        tokenizer: the model's. Of WordPiece, a token goes on with a word where it begins with `##`; of other pieces, it
            begins one where it begins with a mark for a space, or stands behind a space, a line break or a tab; these
            belong to no word.
    """
    framing = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    pieces = type(tokenizer.backend_tokenizer.model).__name__ in ("BPE", "Unigram")
    words: list[Word] = []
    inside = False
    for place, (token, piece) in enumerate(zip(query, tokenizer.convert_ids_to_tokens(list(query)), strict=True)):
        if token in framing:
            inside = False
            continue
        said = tokenizer.decode([token]) if pieces else piece
        if not said.strip() and piece != tokenizer.unk_token:  # spaces alone
            inside = False
            continue
        joins = not (piece.startswith(_SPACES) or said[:1].isspace()) if pieces else piece.startswith("##")
        start = words.pop().start if inside and joins else place
        words.append(Word(tokenizer.decode(list(query[start : place + 1])).strip(), start, place + 1))
        inside = not said[-1:].isspace()
    return words


def without(query: Tokens, words: Sequence[Word]) -> Tokens:
    """Return the query without some of its words."""
    gone = {place for word in words for place in range(word.start, word.stop)}
    return tuple(token for place, token in enumerate(query) if place not in gone)


def text_without(text: str, places: Sequence[int]) -> str:
    """Return a text without the words at these places, each with the space behind it; other spaces stay."""
    spans = list(_WORD.finditer(text))
    if not spans:
        return text
    ends = [*(span.start() for span in spans[1:]), len(text)]
    gone = set(places)
    kept = [text[: spans[0].start()]]
    for place, (span, end) in enumerate(zip(spans, ends, strict=True)):
        last = place == len(spans) - 1
        if place not in gone:
            kept.append(text[span.start() : end])
        elif last:  # the spaces at the end of a text are its own
            kept.append(text[span.end() :])
    return "".join(kept)
