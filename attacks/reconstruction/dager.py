"""DAGER for encoders: read a batch of texts off the row spaces of two layers' attention gradients."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedsec.api import Knowledge, Reconstruction, RoundView

from .dager_candidates import Scanner
from .dager_judge import Judge
from .dager_links import attention_links
from .dager_search import Budget, Search
from .dager_spaces import LayerSpace, layer_space
from .texts import content, single_rows, texts_per_client

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Dager:
    """Tests tokens against the span of the first layer's inputs, assembles texts, judges them by the second layer's.

    The gradient of a linear layer is a product with its inputs, so its rows lie in their span; while a batch has fewer
    tokens than the hidden size has dimensions, only its own tokens at their own positions (and few others) pass. What a
    single token's query and key receive then names its text: combinations of that text's keys and queries, per head.

    Args:
        tolerance: accepted relative residual where nothing but fp32 rounding blurs a span.
        slack: accepted residual in units of what the span's own noise explains.
        blur: largest residual that noise is believed to explain in the first layer.
        ceiling: largest residual of a token of a verified text.
        restarts: restarts of the descent per wave, run as one batch.
        rounds: waves per possible length.
        sweeps: most passes over a text's positions per restart.
        shortlist: tokens per position that sweeps after the first try.
        evaluations: texts run through the first layer per client, at most.

    Source: Petrov et al., "DAGER: Exact Gradient Inversion for Large Language Models", NeurIPS 2024, sections 4-5.
    Deviations: stacked query, key and value gradients; rank at the largest relative gap and tolerances relative to the
        span's noise, where the paper has absolute ones; assembly by matching pursuit on single tokens' query and key
        gradients (this project's own), then coordinate descent with restarts, where the paper enumerates; encoders
        only; at most one claim for identical texts of a batch.
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
        """Claims for every client; ValueError if the view lacks rows or the attention's part of them."""
        rows = single_rows(view)
        claims: list[Reconstruction] = []
        for index, client in enumerate(view.clients):
            claims += self._one_client(view, index, client, rows[index])
        return claims

    def _one_client(self, view: RoundView, index: int, client: int, row: "Tensor") -> list[Reconstruction]:
        first, second = layer_space(view, row, 0), layer_space(view, row, 1)
        if first is None or second is None or not _informative(first) or not _informative(second):
            return []
        limit = texts_per_client(view)
        lengths = view.granted.get(Knowledge.LENGTHS)
        scanner = Scanner(view, first, tolerance=self.tolerance, slack=self.slack, blur=self.blur)
        candidates = scanner.scan(2 * limit, max(lengths[index]) if lengths else None)
        judge = Judge(view.model.module, second, tolerance=self.tolerance, slack=self.slack, ceiling=self.ceiling)
        sharp = candidates.sharp
        budget = Budget(
            rounds=self.rounds if sharp else 1,
            restarts=self.restarts,
            sweeps=self.sweeps,
            shortlist=self.shortlist,
            evaluations=self.evaluations if sharp else self.evaluations // 20,
        )
        links = attention_links(view, row, first, candidates) if sharp else None
        search = Search(candidates, judge, links, limit=limit, budget=budget, generator=view.generator)
        notes = {"rank": float(first.space.rank), "candidates": float(sum(map(len, candidates.tokens)))}
        claims = []
        for text in search.run():
            ids = content(text.ids, view.model.tokenizer)
            claims.append(
                Reconstruction(client=client, tokens=ids, score=text.residual, verified=text.verified, notes=notes)
            )
        return claims


def _informative(layer: LayerSpace) -> bool:
    """Whether a layer's span excludes anything."""
    return layer.space.rank > 0 and not layer.space.full
