"""ONION: words that do not fit the rest of a query are left out before the model answers."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from fedsec.api import Measured, QueryView, Tokens

from .unusual_words import suspicions, threshold, unusual
from .words import without, words_of


@dataclass(slots=True, kw_only=True)
class Onion:
    """Leaves out of each query the words without which its perplexity falls by more than a threshold.

    The threshold is set on clean public texts, of whose words it takes away a given share.

    Args:
        lost: share of the words of clean texts that may be taken away, from 0 to 1.
        texts: clean texts that the threshold is set on.

    Source: Qi et al., "ONION: A Simple and Effective Defense Against Textual Backdoor Attacks", EMNLP 2021, section 3;
        a threshold that costs clean texts little, section 4.2.
    Deviations: the threshold is set by the words that clean texts lose, where theirs is set by the accuracy lost on a
        clean validation set (1 %); the language model is the scenario's, where theirs is GPT-2.
    """

    lost: float = 0.05
    texts: int = 100
    _bar: float | None = field(default=None, init=False)
    """The threshold, once it is set."""

    def on_query(
        self,
        queries: tuple[Tokens, ...],
        answer: Callable[[tuple[Tokens, ...]], list[torch.Tensor | None]],
        view: QueryView,
    ) -> Measured:
        """Return the answers to the cleaned queries; the share of words that were left out is measured.

        Raises:
            ValueError: the scenario grants no language model.
        """
        if view.language is None:
            raise ValueError("onion needs a language model: give data.language_model")
        if self._bar is None:
            self._bar = threshold(view.language, self.texts, self.lost)
        words = [words_of(query, view.tokenizer) for query in queries]
        scores = suspicions([[word.text for word in own] for own in words], view.language)
        gone = [[own[place] for place in unusual(s, self._bar)] for own, s in zip(words, scores, strict=True)]
        cleaned = tuple(without(query, own) for query, own in zip(queries, gone, strict=True))
        removed = sum(map(len, gone)) / max(1, len(queries))
        share = sum(map(len, gone)) / max(1, sum(map(len, words)))
        return Measured(answer(cleaned), {"words-removed": share, "words-removed-per-query": removed})
