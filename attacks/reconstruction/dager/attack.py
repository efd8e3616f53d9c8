"""DAGER: read a batch of texts off the row spaces of two layers' attention gradients."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fedsec.api import Knowledge, Reconstruction, RoundView

from ..shared.texts import content, texts_per_client
from .candidates import Scanner
from .decoder import FIRST, SECOND, Grown, Growth, begins
from .decoder_ends import whole_texts
from .decoder_states import States, sees_later
from .decoder_tokens import Tokens
from .judge import Judge
from .links import attention_links
from .ruler import Ruler
from .search import Budget, Found, Search
from .spaces import LayerSpace, layer_space, projections, separate

if TYPE_CHECKING:
    from torch import Tensor


_BLURRED = 4
"""Where noise keeps texts from being verified, the search goes on to its budget's end: it is divided by this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dager:
    """Tests tokens against the span of the first layer's inputs, assembles texts, judges them by the second layer's.

    The gradient of a linear layer is a product with its inputs, so its rows lie in their span; while a batch has fewer
    tokens than the hidden size has dimensions, only its own tokens at their own positions (and few others) pass. What a
    single token's query and key receive then names its text: combinations of that text's keys and queries, per head.
    In a decoder a prefix's states do not depend on what follows, so that texts grow from the left, token by token.

    Args:
        tolerance: accepted relative residual where nothing but fp32 rounding blurs a span.
        slack: accepted residual in units of what the span's own noise explains; 0: as fixed as the paper's.
        blur: largest residual that noise is believed to explain in the first layer.
        ceiling: largest residual of a token of a verified text.
        restarts: restarts of the descent per wave, run as one batch.
        rounds: waves per possible length.
        sweeps: most passes over a text's positions per restart.
        shortlist: tokens per position that a sweep tries, after a first look at all of them.
        evaluations: texts run through the first layer per update, at most; for a decoder, continuations of prefixes, as
            many again for every eight texts that the update can hold.

    Source: Petrov et al., "DAGER: Exact Gradient Inversion for Large Language Models", NeurIPS 2024, sections 4-5.
    Deviations: stacked query, key and value gradients, or LoRA factors A on any of them; rank at the largest relative
        gap and tolerances relative to the span's noise, where the paper has absolute ones; on encoders assembly by
        matching pursuit on single tokens' query and key gradients (this project's own), then coordinate descent with
        restarts, where the paper enumerates; on decoders only the last position of a prefix is tested, all
        continuations of a prefix in one row; texts of a decoder are verified only if the states of all of them are as
        many as the second span has directions; at most one claim for identical texts of a batch.
    """

    tolerance: float = 2e-6
    slack: float = 6.0
    blur: float = 0.3
    ceiling: float = 1e-2
    restarts: int = 8
    rounds: int = 20
    sweeps: int = 10
    shortlist: int = 4
    evaluations: int = 60_000

    def reconstruct(self, view: RoundView) -> list[Reconstruction]:
        """Claims for every client, or for the clients together where only their sum is seen.

        Raises:
            ValueError: the view has neither rows nor a sum, or these lack the attention's part.
        """
        lengths, rows = view.granted.get(Knowledge.LENGTHS), view.rows
        if rows is None:
            if view.aggregate is None:
                raise ValueError("this attack reads updates or their sum, and this view shows neither")
            longest = max(length for own in lengths for length in own) if lengths else None
            return self._read(view, None, view.aggregate, texts_per_client(view) * len(view.cohort), longest)

        def read(own: RoundView, place: int) -> list[Reconstruction]:
            longest = max(lengths[place]) if lengths else None
            return self._read(own, own.clients[place], rows[place], texts_per_client(own), longest)

        return view.each_client(read)

    def _read(
        self, view: RoundView, client: int | None, row: "Tensor", limit: int, longest: int | None
    ) -> list[Reconstruction]:
        """At most `limit` texts of an update, none longer than `longest` tokens if that is known."""
        first, second = layer_space(view, row, 0), layer_space(view, row, 1)
        if first is None or second is None or not _informative(first) or not _informative(second):
            return []
        texts: Sequence[Found | Grown]
        if sees_later(view.model.module, second.query):
            texts, candidates = self._encoded(view, (first, second), limit, longest)
        else:
            texts, candidates = self._decoded(view, row, (first, second), limit, longest)
        whole = first.whole and second.whole
        notes = {"rank": float(first.space.rank), "candidates": float(candidates)}
        if not whole:
            notes["truncated"] = 1.0
        claims = []
        for text in texts:
            ids = content(text.ids, view.model.tokenizer)
            sure = text.verified and whole
            claims.append(Reconstruction(client=client, tokens=ids, score=text.residual, verified=sure, notes=notes))
        return claims

    def _encoded(
        self, view: RoundView, spaces: tuple[LayerSpace, LayerSpace], limit: int, longest: int | None
    ) -> "tuple[Sequence[Found], int]":
        """Texts of an encoder, and how many candidates there were."""
        first, second = spaces
        scanner = Scanner(view, first, tolerance=self.tolerance, slack=self.slack, blur=self.blur)
        candidates = scanner.scan(2 * limit, longest)
        judge = Judge(
            view.model.module, first.query, second, tolerance=self.tolerance, slack=self.slack, ceiling=self.ceiling
        )
        sharp = candidates.sharp
        budget = Budget(
            rounds=self.rounds if sharp else 1,
            restarts=self.restarts,
            sweeps=self.sweeps,
            shortlist=self.shortlist,
            evaluations=self.evaluations // (20 if not sharp else _BLURRED if candidates.blurred else 1),
        )
        linked = sharp and separate(projections(view.model.layout, 0))  # links read whole query and key gradients
        links = attention_links(view, first, candidates) if linked else None
        search = Search(candidates, judge, links, limit=limit, budget=budget, generator=view.generator)
        return search.run(), sum(map(len, candidates.tokens))

    def _decoded(
        self, view: RoundView, row: "Tensor", spaces: tuple[LayerSpace, LayerSpace], limit: int, longest: int | None
    ) -> "tuple[Sequence[Grown], int]":
        """Texts of a decoder, and how many candidates there were."""
        first, second = spaces
        states = States(view.model.module, first.query, second.query)
        near, far = (
            Ruler(one.space, tolerance=factor * self.tolerance, slack=self.slack, blur=self.blur)
            for one, factor in zip(spaces, (FIRST, SECOND), strict=True)
        )
        tokens = Tokens(states, near, view.generator)
        budget = self.evaluations * max(1, limit // 8)
        growth = Growth(states, tokens, far, ceiling=self.ceiling, limit=limit, evaluations=budget)
        texts = growth.run(begins(view.model.tokenizer), min(longest or states.longest, states.longest))
        if any(text.verified for text in texts):
            ends = whole_texts(view, row, [text.ids for text in texts])
            texts = [replace(text, verified=text.verified and end) for text, end in zip(texts, ends, strict=True)]
        return texts, tokens.count


def _informative(layer: LayerSpace) -> bool:
    """Whether a layer's span excludes anything; normalised inputs may lack a dimension of their own, the mean."""
    return 0 < layer.space.rank < layer.space.basis.shape[0] - 1
