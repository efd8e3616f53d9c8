"""DAGER for decoders: texts grow from the left, one token at a time, as long as the second layer's row space admits."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

import torch

from .decoder_states import States
from .decoder_tokens import Tokens
from .moves import overlap
from .ruler import Ruler
from .settings import Settings

if TYPE_CHECKING:
    from torch import Tensor

_REPEATS = 4
"""A model without learned positions, and a text without a begin token, give a first token that repeats itself the same
state however often it does: such a beginning is followed no further than this."""


@dataclass(frozen=True, slots=True)
class Grown:
    """A text that could not be continued."""

    ids: tuple[int, ...]
    """Begin token included."""
    residual: float
    """Mean residual of its tokens in the second layer."""
    verified: bool


@dataclass(frozen=True, slots=True)
class _Frontier:
    """Prefixes of one length that every token so far was admitted for."""

    ids: "Tensor"
    """[prefixes, length]"""
    residuals: "Tensor"
    """Sum over their tokens [prefixes]."""
    worst: "Tensor"
    """Largest residual of a token [prefixes]."""
    clear: "Tensor"
    """Whether no token came near without being admitted, so far [prefixes]."""


class Growth:
    """Grows the texts of one batch.

    Args:
        states: what enters the second layer.
        tokens: what can stand where.
        ruler: distances in the second layer.
        settings: what a verified text has to show, and how much is followed; of evaluations as many again for every
            eight texts.
        limit: most texts to find.
        seconds_left: that the search may still take; with none left the texts end where they are, unverified.
    """

    def __init__(
        self,
        states: States,
        tokens: Tokens,
        ruler: Ruler,
        settings: Settings,
        *,
        limit: int,
        seconds_left: Callable[[], float] = lambda: inf,
    ) -> None:
        self._seconds_left = seconds_left
        self._states, self._tokens, self._ruler = states, tokens, ruler
        self._settings, self._limit = settings, limit
        self._left = settings.evaluations * max(1, limit // 8)
        self._grown: list[Grown] = []

    def run(self, begin: tuple[int, ...], longest: int) -> list[Grown]:
        """Verified texts, then the best others that do not resemble them, at most `limit`.

        Args:
            begin: what every text begins with; may be empty.
            longest: length of the longest text, if known; else the model's.
        """
        start = torch.tensor([begin], dtype=torch.long)  # [1, 0 or 1]
        nothing = torch.zeros(1, dtype=torch.float64)
        frontier = _Frontier(start, nothing, nothing, torch.ones(1, dtype=torch.bool))
        while len(frontier.ids) and frontier.ids.shape[1] < longest:
            tokens = self._tokens.at(frontier.ids.shape[1])
            self._left -= len(tokens) * len(frontier.ids)
            if self._seconds_left() <= 0.0:
                self._left = -1
            if len(tokens) == 0 or self._left < 0:
                break
            frontier = self._step(frontier, tokens)
        self._end(frontier, frontier.clear & (self._left >= 0))
        return self._chosen()

    def _step(self, frontier: _Frontier, tokens: "Tensor") -> _Frontier:
        """One token more: prefixes that no token continues are texts, the others go on."""
        states = self._states.extended(frontier.ids, tokens)  # [prefixes, tokens, width]
        measured = self._ruler.measure(states.flatten(0, 1))
        residuals, ratios = (part.view(states.shape[:2]) for part in measured)
        within = ratios <= 1.0
        clear = frontier.clear & ~((ratios > 1.0) & (ratios < self._settings.decoder_gap)).any(dim=1)
        self._end(_picked(frontier, ~within.any(dim=1)), clear[~within.any(dim=1)])
        prefix, token = (within & ~self._repeated(frontier.ids, tokens)).nonzero(as_tuple=True)
        off = residuals[prefix, token]
        longer = _Frontier(
            torch.cat([frontier.ids[prefix], tokens[token, None]], dim=1),
            frontier.residuals[prefix] + off,
            torch.maximum(frontier.worst[prefix], off),
            clear[prefix],
        )
        most = self._settings.decoder_beam * self._limit
        if len(longer.ids) <= most:
            return longer
        best = longer.residuals.argsort(stable=True)[:most]
        return _picked(longer, best.sort().values)

    def _repeated(self, prefixes: "Tensor", tokens: "Tensor") -> "Tensor":
        """Continuations that only repeat the first token, too often to go on [prefixes, tokens]."""
        if self._tokens.positional or prefixes.shape[1] < _REPEATS:
            return torch.zeros(len(prefixes), len(tokens), dtype=torch.bool)
        uniform = (prefixes == prefixes[:, :1]).all(dim=1)
        return uniform[:, None] & (tokens == prefixes[:, :1])

    def _end(self, frontier: _Frontier, clear: "Tensor") -> None:
        """Record prefixes as texts."""
        verified = clear & (frontier.worst <= self._settings.ceiling)
        means = frontier.residuals / max(frontier.ids.shape[1], 1)
        for ids, mean, sure in zip(frontier.ids.tolist(), means.tolist(), verified.tolist(), strict=True):
            if ids:
                self._grown.append(Grown(tuple(ids), mean, verified=sure))

    def _explained(self) -> bool:
        """Whether the texts' prefixes, each with a state of its own, are as many as the span has directions.

        If they are fewer, a text may have gone on with a token that was not admitted; if more, some state is no text's.
        """
        prefixes = {text.ids[:length] for text in self._grown for length in range(1, len(text.ids) + 1)}
        if not self._tokens.positional:
            prefixes = {ids if any(token != ids[0] for token in ids) else ids[:1] for ids in prefixes}
        return len(prefixes) == self._ruler.space.rank

    def _chosen(self) -> list[Grown]:
        chosen: list[Grown] = []
        if not self._explained():
            self._grown = [Grown(text.ids, text.residual, verified=False) for text in self._grown]
        for text in sorted(self._grown, key=lambda text: (not text.verified, text.residual, text.ids)):
            fresh = text.verified or all(overlap(text.ids, other.ids) < self._settings.alike for other in chosen)
            if fresh and len(chosen) < self._limit:
                chosen.append(text)
        return chosen


def begins(tokenizer: Any) -> tuple[int, ...]:
    """The begin token, if the tokenizer puts one before a text of its own accord."""
    begin = tokenizer.bos_token_id
    return (int(begin),) if begin is not None and tokenizer("a")["input_ids"][:1] == [begin] else ()


def _picked(frontier: _Frontier, which: "Tensor") -> _Frontier:
    return _Frontier(frontier.ids[which], frontier.residuals[which], frontier.worst[which], frontier.clear[which])
