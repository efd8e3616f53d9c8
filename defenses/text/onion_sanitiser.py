"""ONION over training rows: a client leaves out words that do not fit before it trains."""

from dataclasses import dataclass, field, replace

from fedsec.api import ClientView, Measured, Sample

from .unusual_words import suspicions, threshold, unusual
from .words import text_without


@dataclass(slots=True, kw_only=True)
class OnionSanitiser:
    """Leaves out of each row's text, and of its prompt, the words without which its perplexity falls far.

    It cleans what a client was given by others. A malicious client does without it, unless the scenario sets
    `threat.obeys_client_defenses`: then clients are honest, and their rows are poisoned.

    Args:
        lost: share of the words of clean texts that may be taken away, from 0 to 1.
        texts: clean texts that the threshold is set on.

    Source: Qi et al., "ONION", EMNLP 2021, section 3.
    Deviations: it cleans training rows, where theirs cleans queries; the threshold and the language model are as in
        `onion`.
    """

    lost: float = 0.05
    texts: int = 100
    _bar: float | None = field(default=None, init=False)
    """The threshold, once it is set."""

    def on_data(self, samples: tuple[Sample, ...], view: ClientView) -> Measured:
        """Return the cleaned rows; the share of words that were left out is measured.

        Raises:
            ValueError: the scenario grants no language model.
        """
        if view.language is None:
            raise ValueError("onion-sanitiser needs a language model: give data.language_model")
        if self._bar is None:
            self._bar = threshold(view.language, self.texts, self.lost)
        texts = [part for one in samples for part in (one.prompt, one.text)]
        words = [text.split() for text in texts]
        gone = [unusual(scores, self._bar) for scores in suspicions(words, view.language)]
        cleaned = iter([text_without(*pair) if pair[1] else pair[0] for pair in zip(texts, gone, strict=True)])
        kept = tuple(replace(one, prompt=next(cleaned), text=next(cleaned)) for one in samples)
        share = sum(map(len, gone)) / max(1, sum(map(len, words)))
        return Measured(kept, {"words-removed": share})
