"""RAP: a query that stays sure of its class beside a word that makes clean texts less sure is refused."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from fedsec.api import QueryView, Tokens

from .clean_bar import bar

Answer = Callable[[tuple[Tokens, ...]], list[torch.Tensor | None]]


@dataclass(slots=True, kw_only=True)
class Rap:
    """Learns, for each class, the embedding of a rare word that lowers the class's probability on clean texts a little.

    A query that the model gives this class is refused where the word lowers its probability by less than it does for
    clean texts: a trigger holds it in place. The word stands before the query's own, and the model's embeddings stay.

    Args:
        word: the rare word, from whose embedding the learning starts.
        low: least fall of the probability that is wanted on clean texts, from 0 to 1.
        high: largest fall that is wanted.
        steps: of the learning, by Adam, on 32 clean texts each.
        learning_rate: of these steps.
        refused: share of clean texts below the threshold (false refusals), from 0 to 1.

    Source: Yang et al., "RAP: Robustness-Aware Perturbations for Defending against Backdoor Attacks on NLP Models",
        EMNLP 2021, section 3.3: falls between 0.1 and 0.3, both sides of the loss weighed alike, 1 % of clean texts
        refused.
    Deviations: a word for each class, where theirs protects one that the defender knows is the target; the clean texts
        are the server's samples (`data.trusted`) that the model gives the class.
    """

    word: str = "mb"
    low: float = 0.1
    high: float = 0.3
    steps: int = 30
    learning_rate: float = 0.05
    refused: float = 0.01
    _words: dict[int, tuple[torch.Tensor, float]] | None = field(default=None, init=False)
    """By class, the embedding [width] and the threshold, once they are learnt."""

    def on_query(self, queries: tuple[Tokens, ...], answer: Answer, view: QueryView) -> list[torch.Tensor | None]:
        """Return the answers, and None for queries whose class the word moves too little.

        Raises:
            ValueError: the server holds no samples, or nothing is released.
        """
        if view.encode is None or not view.trusted:
            raise ValueError("rap learns on clean texts: give data.trusted")
        if self._words is None:
            self._words = self._learnt(view)
        found = answer(queries)
        chosen = [None if one is None else int(one.argmax()) for one in found]
        answers = list(found)
        for label, (vector, least) in self._words.items():
            places = [place for place, one in enumerate(chosen) if one == label]
            falls = _falls([queries[place] for place in places], label, vector, view)
            for place, fall in zip(places, falls.tolist(), strict=True):
                if fall < least:
                    answers[place] = None
        return answers

    def _learnt(self, view: QueryView) -> dict[int, tuple[torch.Tensor, float]]:
        """Return the embedding and the threshold of every class that the model gives two clean texts."""
        assert view.encode is not None  # noqa: S101 - on_query has looked
        texts = view.encode([one.text for one in view.trusted])
        chosen = [int(one.argmax()) for one in _plain(texts, view)]
        words = {}
        for label in sorted(set(chosen)):
            own = [text for text, one in zip(texts, chosen, strict=True) if one == label]
            if len(own) > 1:
                vector = self._embedding(own, label, view)
                words[label] = vector, bar(_falls(own, label, vector, view).tolist(), self.refused)
        return words

    def _embedding(self, texts: Sequence[Tokens], label: int, view: QueryView) -> torch.Tensor:
        """Return an embedding [width] beside which the class's probability falls by `low` to `high`."""
        assert view.embed is not None  # noqa: S101 - a federation gives it
        assert view.encode is not None  # noqa: S101 - on_query has looked
        special = set(view.tokenizer.all_special_ids)
        (pieces,) = view.embed((tuple(one for one in view.encode([self.word])[0] if one not in special) or (0,),))
        vector = pieces.mean(dim=0).clone().requires_grad_()
        optimizer = torch.optim.Adam([vector], lr=self.learning_rate)
        with torch.inference_mode(mode=False), torch.enable_grad():
            for _ in range(self.steps):
                order = torch.randperm(len(texts), generator=view.generator)[:_BATCH].tolist()
                falls = _falls([texts[place] for place in order], label, vector, view)
                loss = (self.low - falls).clamp_min(0).mean() + (falls - self.high).clamp_min(0).mean()
                (vector.grad,) = torch.autograd.grad(loss, [vector])
                optimizer.step()
        return vector.detach()


_BATCH = 32
"""Clean texts in a step."""


def _plain(queries: Sequence[Tokens], view: QueryView) -> list[torch.Tensor]:
    """Return what the released model answers without any defense."""
    if view.ask is None or view.parameters is None:
        raise ValueError("rap asks a released model: run it in a federation")
    return view.ask(view.parameters, tuple(queries))


def _falls(queries: Sequence[Tokens], label: int, vector: torch.Tensor, view: QueryView) -> torch.Tensor:
    """Return how far a class's probability falls where the vector [width] stands before a query's words [queries].

    A query that takes up all of the model's positions loses its last word token for it.
    """
    if not queries:
        return torch.zeros(0)
    assert view.embed is not None  # noqa: S101 - a federation gives it
    assert view.ask_embedded is not None  # noqa: S101 - a federation gives it
    special = set(view.tokenizer.all_special_ids)
    embedded = view.embed(tuple(queries))  # [tokens, width] each
    firsts = [
        int(query[:1] != () and query[0] in special) for query in queries
    ]  # behind the token that begins a text, if one does
    beside = []
    for query, text, first in zip(queries, embedded, firsts, strict=True):
        if view.positions is not None and len(query) >= view.positions:
            last = len(query) - 1 - (query[-1] in special)
            text = torch.cat([text[:last], text[last + 1 :]])
        beside.append(torch.cat([text[:first], vector[None], text[first:]]))
    before = torch.stack(_plain(queries, view)).softmax(dim=-1)[:, label]
    return before - torch.stack(view.ask_embedded(beside)).softmax(dim=-1)[:, label]
