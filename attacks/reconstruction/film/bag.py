"""FILM's first stage: which tokens a batch holds, from the word embedding's part of an update."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from fedsec.api import Knowledge, ParameterInfo, Reconstruction, Role, RoundView
from fedsec.maths.row_space import rounding_noise

from ..shared.texts import content, only, texts_per_client

if TYPE_CHECKING:
    from torch import Tensor

_WORST = 3.0
"""How much further the largest rounding errors of many rows are off than errors are on average, in standard deviations:
of 1,000 normal ones, three lie beyond."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What is known of the texts behind one update before any is written.

    Args:
        client: whose they are; None for a sum.
        bag: ids of their tokens in the vocabulary's order [count].
        most: texts at most.
        longest: tokens of the longest, where lengths are granted.
    """

    client: int | None
    bag: "Tensor"
    most: int
    longest: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BagReader:
    """Tells the rows of the word embedding's gradient that a batch's tokens touched from all others.

    With an untied output layer only input tokens have a non-zero row. Where the output layer is the embedding itself
    (GPT-2), its gradient sum_t (p_t - y_t) h_t^T adds to every row: that of a token outside the batch is a mixture,
    with positive weights, of the final hidden states h_t. A token of the batch leaves the space of these mixtures by
    the gradient that its input received, and turns away from them by -h_t where it is the target. While the batch has
    fewer tokens than the hidden size has dimensions, the mixtures span a true subspace, and the batch's rows stand
    apart from all others by a gap: these are taken, and a token that is a target only, the last one of a text that is
    cut, is not told. Where there is no gap, what stands out far enough, or turns away, is taken.

    Args:
        zero_norm: of an untied layer, rows of a norm below this times the largest count as not touched.
        noise_factor: of an untied layer where most rows are non-zero, rows below this times the median norm are noise.
        share: dimensions of the mixtures' space, as a share of the hidden size, where it has more than can be told.
        gap: least ratio between neighbours, in the order of how far rows stand out, that parts the batch from the rest.
        outlier: without such a gap, how far a row has to stand out, in units of what 99 % of unexpected tokens' do.
        opposed: without such a gap, least negative cosine to the direction that the mixtures share.
        rounding: error of a row in fp32 at most, as a share of its norm.
        full: share of the hidden size above which the mixtures' space leaves too little that tells a token.
    """

    zero_norm: float = 1e-7
    noise_factor: float = 1.5
    share: float = 0.75
    gap: float = 4.0
    outlier: float = 12.0
    opposed: float = 0.15
    rounding: float = 3e-7
    full: float = 0.98

    def claims(
        self, view: RoundView, write: Callable[[RoundView, Batch], list[Reconstruction]]
    ) -> list[Reconstruction]:
        """Claims of every client, or of all together where rows stay hidden; none for an update without tokens.

        Args:
            view: what the attacker sees.
            write: gives the claims about a batch.

        Raises:
            ValueError: the view lacks updates, the word embeddings' part of them, or a language model.
        """
        module = view.model.module
        if module is None or module.get_output_embeddings() is None:
            raise ValueError("film writes with the victim's own causal language model; this view shows none")

        def one(own: RoundView, place: int | None) -> list[Reconstruction]:
            batch = self._batch(own, place)
            return [] if batch is None else write(own, batch)

        return one(view, None) if view.rows is None else view.each_client(one)

    def _batch(self, view: RoundView, place: int | None) -> Batch | None:
        """Of the client at that place, or of all together; None for an update without tokens."""
        who: tuple[int, ...]
        if place is not None and view.rows is not None:
            client: int | None = view.clients[place]
            vector, who = view.rows[place], (place,)
        elif view.aggregate is not None:
            client, vector, who = None, view.aggregate, tuple(range(len(view.cohort)))
        else:
            raise ValueError("film reads updates, or their sum, which this view does not show")
        bag = torch.tensor(self.read(view, vector), dtype=torch.long)
        lengths = view.granted.get(Knowledge.LENGTHS)
        known = [length for each in who for length in lengths[each]] if lengths else []
        most = texts_per_client(view) * max(1, len(who))
        return Batch(client=client, bag=bag, most=most, longest=max(known, default=None)) if len(bag) else None

    def read(self, view: RoundView, vector: "Tensor") -> list[int]:
        """Content tokens of the batch in the vocabulary's order.

        Args:
            view: of the round.
            vector: the update [parameters].
        """
        info = only(view.model.layout, Role.WORD_EMBEDDING)
        table = view.model.layout.tensor(vector, info.name)  # [vocabulary, width]
        if _tied(view.model.module):
            sign = -1.0 if view.training.update == "delta" else 1.0
            chosen = self._mixed(sign * table.double(), _noise(view, info, table))
        else:
            chosen = self._touched(table)
        return list(content(chosen.nonzero()[:, 0].tolist(), view.model.tokenizer))

    def _touched(self, table: "Tensor") -> "Tensor":
        """Rows that are not zero, or stand out of noise [vocabulary]."""
        norms = table.norm(dim=1, dtype=torch.float64)  # [vocabulary]
        kept: Tensor = norms > self.zero_norm * norms.max()
        if int(kept.sum()) > 0.5 * len(norms):
            kept = norms > self.noise_factor * norms.median()
        return kept

    def _mixed(self, table: "Tensor", noise: float) -> "Tensor":
        """Rows that are no mixture of hidden states [vocabulary].

        Args:
            table: gradients [vocabulary, width], fp64.
            noise: norm of a row's rounding error, beside what is in proportion to the row.
        """
        norms = table.norm(dim=1)  # [vocabulary]
        live: Tensor = norms > 2 * noise
        if not bool(live.any()):
            return live
        unexpected = live & (norms <= norms[live].median())  # what the model expects least is in no batch
        directions = table[unexpected] / norms[unexpected, None]  # [rows, width]
        error = float((self.rounding / _WORST + noise / norms[unexpected]).square().mean().sqrt())
        basis = self._mixtures(directions, error)  # [width, dimensions]
        main = basis[:, 0] * (directions @ basis[:, 0]).sum().sign()
        rest = (table - (table @ basis) @ basis.T).norm(dim=1)  # [vocabulary]
        ranked, order = (rest / (self.rounding * norms + noise)).sort(descending=True)
        half = len(ranked) // 2
        drop = ranked[:half] / ranked[1 : half + 1].clamp_min(1.0)
        edge = int(drop.argmax())
        if float(drop[edge]) >= self.gap:
            apart = torch.zeros_like(live)
            apart[order[: edge + 1]] = True
            return live & apart
        usual = torch.quantile((rest / norms)[unexpected], 0.99)
        turned = (table @ main) < -self.opposed * norms
        chosen: Tensor = live & (turned | (rest > self.outlier * (usual * norms + noise)))
        return chosen

    def _mixtures(self, directions: "Tensor", error: float) -> "Tensor":
        """Orthonormal basis of the mixtures' space, the strongest direction first [width, dimensions].

        Args:
            directions: unit rows that are mixtures [rows, width].
            error: relative, of a row.
        """
        count, width = directions.shape
        found = torch.linalg.svd(torch.linalg.qr(directions, mode="r").R, full_matrices=False)
        edge = error * (1.0 + (count / width) ** 0.5)  # of a random matrix's singular values
        rank = int(found.S.gt(edge).sum())
        if rank > self.full * width:  # no room is left that tells anything for certain
            rank = int(self.share * width)
        basis: Tensor = found.Vh[: max(1, rank)].T
        return basis


def _noise(view: RoundView, info: ParameterInfo, table: "Tensor") -> float:
    """Norm of the rounding of a difference of weights in a row; 0 for a gradient."""
    if view.training.update == "gradient":
        return 0.0
    stored = view.model.module.get_parameter(info.name) + table
    variance = rounding_noise(stored).double().square().mean() * view.training.local_steps
    return float((variance * table.shape[1]).sqrt())


def _tied(module: Any) -> bool:
    """Whether the output layer is the word embedding."""
    head = module.get_output_embeddings()
    return head is not None and head.weight is module.get_input_embeddings().weight
