"""STRIP: a query whose answer stays sure where half of its words are others' is refused."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from fedsec.api import QueryView, Tokens

from .clean_bar import bar
from .words import words_of

Answer = Callable[[tuple[Tokens, ...]], list[torch.Tensor | None]]


@dataclass(slots=True, kw_only=True)
class Strip:
    """Mixes each query with clean texts, and refuses it where the answers' entropy is lower than clean queries' is.

    A copy of a query has a share of its words, at random places, replaced by words of one clean text. A trigger that
    outlasts this keeps the answer what it was; a clean text's answer changes.

    Args:
        copies: mixed copies of a query.
        swap: share of a query's words that are replaced, from 0 to 1; one at least.
        refused: share of clean texts below the threshold (false refusals), from 0 to 1.

    Source: Gao et al., "STRIP: A Defence Against Trojan Attacks on Deep Neural Networks", ACSAC 2019, section 4 (the
        entropy of perturbed inputs, and a threshold by the false refusals that are wanted); Gao et al., "Design and
        Evaluation of a Multi-Domain Trojan Detection Method on Deep Neural Networks" (STRIP-ViTA), IEEE TDSC 2021
        (texts, whose words are replaced). 5 copies, half of the words and 1 % as in OpenBackdoor.
    Deviations: replaced words and their places are drawn evenly, where STRIP-ViTA takes those of the highest tf-idf;
        the clean texts are the server's samples (`data.trusted`).
    """

    copies: int = 5
    swap: float = 0.5
    refused: float = 0.01
    _bar: float | None = field(default=None, init=False)
    """The threshold, once it is set."""

    def on_query(self, queries: tuple[Tokens, ...], answer: Answer, view: QueryView) -> list[torch.Tensor | None]:
        """Return the answers, and None for queries whose mixed copies are answered too surely.

        Raises:
            ValueError: the server holds no samples.
        """
        if view.encode is None or not view.trusted:
            raise ValueError("strip mixes queries with clean texts: give data.trusted")
        clean = [one.text.split() for one in view.trusted if one.text.split()]
        if self._bar is None:
            self._bar = bar(self._entropies(clean, clean, answer, view), self.refused)
        words = [[word.text for word in words_of(query, view.tokenizer)] for query in queries]
        scores = self._entropies(words, clean, answer, view)
        found = answer(queries)
        return [None if score < self._bar else one for score, one in zip(scores, found, strict=True)]

    def _entropies(
        self, texts: Sequence[Sequence[str]], clean: Sequence[Sequence[str]], answer: Answer, view: QueryView
    ) -> list[float]:
        """Return the mean entropy, in bits, of the answers to each text's copies."""
        assert view.encode is not None  # noqa: S101 - on_query has looked
        mixed = [self._mixed(words, clean, view.generator) for words in texts for _ in range(self.copies)]
        answers = answer(view.encode(mixed))  # a text's copies stand side by side
        own = [answers[start : start + self.copies] for start in range(0, len(answers), self.copies)]
        return [mean_entropy(logits) for logits in own]

    def _mixed(self, words: Sequence[str], clean: Sequence[Sequence[str]], generator: torch.Generator) -> str:
        other = clean[int(torch.randint(len(clean), (), generator=generator))]
        count = max(1, round(self.swap * len(words))) if words else 0
        places = torch.randperm(len(words), generator=generator)[:count].tolist()
        drawn = torch.randint(len(other), (count,), generator=generator).tolist()
        changed = dict(zip(places, drawn, strict=True))
        return " ".join(other[changed[place]] if place in changed else word for place, word in enumerate(words))


def mean_entropy(answers: Sequence[torch.Tensor | None]) -> float:
    """Return the mean entropy of answers, logits [classes] each, in bits; infinite where none was given.

    Source: Gao et al., ACSAC 2019, equations 3 and 4.
    """
    given = [one for one in answers if one is not None]
    if not given:
        return float("inf")
    logs = torch.stack(given).double().log_softmax(dim=-1)  # [copies, classes]
    return float(-(logs.exp() * logs).sum(dim=-1).mean()) / float(torch.tensor(2.0).log())
