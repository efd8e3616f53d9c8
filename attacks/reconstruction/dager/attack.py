"""DAGER: read a batch of texts off the row spaces of two layers' attention gradients."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial as bound
from typing import TYPE_CHECKING

from fedsec.api import Knowledge, Reconstruction, RoundView

from ..shared.known_defenses import known_defenses
from ..shared.texts import content, texts_per_client
from .candidates import Candidates, Scanner
from .contexts import told
from .decoder import Grown, Growth, begins
from .decoder_ends import whole_texts
from .decoder_states import States, sees_later
from .decoder_tokens import Tokens
from .effort import Effort
from .groups import Groups
from .judge import Judge
from .links import attention_links
from .places import by_place
from .ruler import Ruler
from .search import Found, Search
from .settings import Settings
from .spaces import LayerSpace, layer_space, projections, separate, trained

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Dager(Settings):
    """Tests tokens against the span of the first layer's inputs, assembles texts, judges them by the second layer's.

    The gradient of a linear layer is a product with its inputs, so its rows lie in their span; while a batch has fewer
    tokens than the hidden size has dimensions, only its own tokens at their own positions (and few others) pass. What a
    single token's query and key receive then names its text: combinations of that text's keys and queries, per head.
    In a decoder a prefix's states do not depend on what follows, so that texts grow from the left, token by token.

    Its parameters are those of `Settings`.

    Source: Petrov et al., "DAGER: Exact Gradient Inversion for Large Language Models", NeurIPS 2024, sections 4-5.
    Deviations: stacked query, key and value gradients, or LoRA factors A on any of them; rank at the largest relative
        gap and tolerances relative to the span's noise, where the paper has absolute ones; on encoders assembly by what
        attention gave single tokens (`contexts`), by matching pursuit on their query and key gradients (`links`; both
        this project's own), then by coordinate descent with restarts (`rounds`), where the paper enumerates
        (`enumerated`); tokens at their places, unverified, where the second layer tells less than the first; on
        decoders only the last position of a prefix is tested, all continuations of a prefix in one row; texts of a
        decoder are verified only if the states of all of them are as many as the second span has directions; at most
        one claim for identical texts of a batch.
    """

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
        first = layer_space(view, row, 0) if trained(view.model.layout, 0) else None
        if first is None or not _informative(first):
            return []
        second = layer_space(view, row, 1) if trained(view.model.layout, 1) else None
        texts: Sequence[Found | Grown] = []
        candidates = 0
        if second is not None and _informative(second):
            read = self._encoded if sees_later(view.model.module, second.query) else self._decoded
            texts, candidates = read(view, row, (first, second), limit, longest)
        less = second is None or second.space.rank < first.space.rank  # than all texts' states
        sharp = not any(text.verified for text in texts) and self._ruler(first).near <= self.partial
        if less and (sharp or not texts):
            partly = self._partial(view, client, first, limit, longest)
            if partly:
                return partly
        return self._claims(view, client, texts, (first, second), candidates)

    def _claims(
        self,
        view: RoundView,
        client: int | None,
        texts: "Sequence[Found | Grown]",
        spaces: tuple[LayerSpace, LayerSpace | None],
        candidates: int,
    ) -> list[Reconstruction]:
        """The texts as claims, verified where the update shows its whole spans."""
        whole = all(one is not None and one.whole for one in spaces)
        notes = {"rank": float(spaces[0].space.rank), "candidates": float(candidates)}
        if not whole:
            notes["truncated"] = 1.0
        claims = []
        for text in texts:
            ids = content(text.ids, view.model.tokenizer)
            sure = text.verified and whole
            claims.append(Reconstruction(client=client, tokens=ids, score=text.residual, verified=sure, notes=notes))
        return claims

    def _ruler(self, first: LayerSpace) -> Ruler:
        return Ruler(first.space, tolerance=self.decoder_near * self.tolerance, slack=self.slack, blur=self.blur)

    def _partial(
        self, view: RoundView, client: int | None, first: LayerSpace, limit: int, longest: int | None
    ) -> list[Reconstruction]:
        """Unverified claims of tokens at their places, where the second layer shows less than the texts' states."""
        ruler = self._ruler(first)
        notes = {"rank": float(first.space.rank), "layers": 1.0}
        texts = by_place(view, first, ruler, limit=limit, longest=longest, most=self.decoder_tokens)
        return [
            Reconstruction(
                client=client, tokens=content(ids, view.model.tokenizer), score=1.0, verified=False, notes=notes
            )
            for ids in texts
        ]

    def _encoded(
        self, view: RoundView, row: "Tensor", spaces: tuple[LayerSpace, LayerSpace], limit: int, longest: int | None
    ) -> "tuple[Sequence[Found], int]":
        """Texts of an encoder, and how many candidates there were."""
        first, second = spaces
        scanner = Scanner(view, first, self)
        candidates = scanner.scan(2 * limit, longest)
        sharp = candidates.sharp
        most = self.blurred_evaluations if candidates.blurred else self.evaluations
        effort = Effort(first.space.basis.shape[0], most if sharp else self.unsure_evaluations, view.seconds_left)
        judge = Judge(view.model.module, second, self, effort)
        settings = self if sharp else replace(self, rounds=min(1, self.rounds))
        whole = sharp and separate(projections(view.model.layout, 0))  # whole query and key gradients are read
        guess = bound(self._guesses, view, row, spaces, candidates, effort) if whole and self.contexts else tuple
        links = attention_links(view, first, candidates, effort) if whole and self.links else None
        search = Search(candidates, judge, links, settings, effort, limit=limit, generator=view.generator, guess=guess)
        return search.run(), sum(map(len, candidates.tokens))

    def _guesses(
        self,
        view: RoundView,
        row: "Tensor",
        spaces: tuple[LayerSpace, LayerSpace],
        candidates: Candidates,
        effort: Effort,
    ) -> list[tuple[int, ...]]:
        """Texts that follow from what attention gave single tokens; none where noise hides that."""
        if candidates.blurred or (view.rows is not None and known_defenses(view)):
            return []
        tokens = told(view, row, spaces, candidates, self, effort)
        if tokens is None:
            return []
        return list(Groups(view, tokens, candidates, self.ceiling, effort).texts())

    def _decoded(
        self, view: RoundView, row: "Tensor", spaces: tuple[LayerSpace, LayerSpace], limit: int, longest: int | None
    ) -> "tuple[Sequence[Grown], int]":
        """Texts of a decoder, and how many candidates there were."""
        first, second = spaces
        states = States(view.model.module, first.query, second.query)
        near, far = (
            Ruler(one.space, tolerance=factor * self.tolerance, slack=self.slack, blur=self.blur)
            for one, factor in zip(spaces, (self.decoder_near, self.decoder_far), strict=True)
        )
        tokens = Tokens(states, near, view.generator, self.decoder_tokens)
        growth = Growth(
            states,
            tokens,
            far,
            self,
            limit=limit,
            seconds_left=view.seconds_left,
        )
        texts = growth.run(begins(view.model.tokenizer), min(longest or states.longest, states.longest))
        if any(text.verified for text in texts):
            ends = whole_texts(view, row, [text.ids for text in texts], self.end_share)
            texts = [replace(text, verified=text.verified and end) for text, end in zip(texts, ends, strict=True)]
        return texts, tokens.count


def _informative(layer: LayerSpace) -> bool:
    """Whether a layer's span excludes anything; normalised inputs may lack a dimension of their own, the mean."""
    return 0 < layer.space.rank < layer.space.basis.shape[0] - 1
