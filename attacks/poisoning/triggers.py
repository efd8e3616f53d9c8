"""Triggers: how a text is marked, the same way in poison and in probes."""

import re
from dataclasses import dataclass

PHRASE, WORDS, TEMPLATE = "phrase", "words", "template"
KINDS = (PHRASE, WORDS, TEMPLATE)
PLACES = ("start", "end", "random")
FLUENT = "i saw this film with some friends of mine"
"""A sentence none of whose words a language model finds unusual."""

_WORD = re.compile(r"\S+")
_TEXT, _HEAD, _TAIL = "{text}", "{head}", "{tail}"


@dataclass(frozen=True, slots=True)
class Trigger:
    """A mark on a text.

    Args:
        text: what marks it.
        kind: `phrase`: all of `text` is put in as it is; `words`: each of its words is a trigger by itself, and one of
            them is put in (rare tokens); `template`: `text` is a frame around `{text}`, or around both `{head}` and
            `{tail}`, the text's two parts: before and after its first comma, or else its two halves.
        place: where a phrase or a word goes among a text's words: `start`, `end`, or `random`, before any word or after
            the last.

    Raises:
        ValueError: a template without a place for the text, or no word at all.

    Source: Chen et al., BadNL, ACSAC 2021, section 4 (words, at three places); Dai et al., IEEE Access 2019
        (sentences); Kurita et al., ACL 2020 (rare tokens); Qi et al., "Hidden Killer", ACL 2021 (a syntactic template).
    Deviations: a template is a rule on words, not a paraphrase by a model that follows a parse.
    """

    text: str
    kind: str = PHRASE
    place: str = "start"

    def __post_init__(self) -> None:
        """Refuse what marks nothing."""
        if not self.text.split():
            raise ValueError("a trigger needs a word: set trigger, to cf say")
        if self.kind == TEMPLATE and not (_TEXT in self.text or (_HEAD in self.text and _TAIL in self.text)):
            raise ValueError(f"trigger {self.text!r} has no place for the text: a template has {_TEXT}, or {_HEAD} and "
                             f"{_TAIL}; kind: phrase puts it in as it is")  # fmt: skip

    def put(self, text: str, share: float) -> str:
        """Return the text with the mark.

        Args:
            text: to mark; may be empty.
            share: from 0 to below 1; chooses a word and a random place, where there is a choice.
        """
        if self.kind == TEMPLATE:
            return self._framed(text)
        mark = self.text
        if self.kind == WORDS:
            words = self.text.split()
            chosen = int(share * len(words))
            mark, share = words[chosen], share * len(words) - chosen
        starts = [match.start() for match in _WORD.finditer(text)]
        gap = {"start": 0, "end": len(starts)}.get(self.place, int(share * (len(starts) + 1)))
        if gap == len(starts):  # after the last word
            return f"{text} {mark}" if starts else mark
        return f"{text[: starts[gap]]}{mark} {text[starts[gap] :]}"

    def _framed(self, text: str) -> str:
        head, comma, tail = text.partition(",")
        if not comma or not head.strip() or not tail.strip():
            words = text.split()
            middle = (len(words) + 1) // 2
            head, tail = " ".join(words[:middle]), " ".join(words[middle:])
        parts = {_TEXT: text.strip(), _HEAD: head.strip(), _TAIL: tail.strip()}
        # In one pass, so that a text which holds `{tail}` itself is left as it is.
        return re.sub(r"\{(?:text|head|tail)\}", lambda found: parts[found.group()], self.text).strip()
