"""FILM with texts that end where the model ends them, and that together cover the tokens of the batch."""

from dataclasses import dataclass

import torch

from fedsec.api import Reconstruction, RoundView

from .attack import claim, longest_text
from .bag import BagReader, Batch
from .covering import Covering, CoveringWriter
from .language import BagModel
from .reorder import Stage, moved_tokens, permuted_spans


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmCoverage(BagReader):
    """As film, but texts of any length compete by their mean log probability, and unused tokens are welcome.

    Every token of a batch stands in one of its texts, and a text ends with the end token: the search uses both. It
    claims as many texts as the batch holds, the best remembered ones as the surest. Nothing is verified.

    Args:
        beams: beams of the search, of all groups together.
        groups: groups of beams that keep apart.
        diversity: penalty for a token that another group chose at the same place.
        found_penalty: penalty for a pair of tokens, or a beginning, of a text that was found before.
        unused_bonus: bonus for a token that no text found before holds.
        longest: tokens of a text at most.
        alpha: weight of the perplexity beside the gradient's norm.
        proposals: reordered candidates per round.
        rounds: rounds of phrase-wise, and again of token-wise moves; the first without gain ends a kind.
        order: `model`, or `random` for the tokens as the gradient gives them, dealt to texts in no order: what the
            language model adds is the difference.

    Source: this project, after Gupta et al., NeurIPS 2022, sections 4.1-4.3; length and coverage: Wu et al.,
        arXiv:1609.08144, section 7.
    Deviations: from FILM: see `covering` for the search; fewer candidates when texts are reordered.
    """

    beams: int = 32
    groups: int = 8
    diversity: float = 0.1
    found_penalty: float = 2.0
    unused_bonus: float = 1.0
    longest: int = 40
    alpha: float = 1.0
    proposals: int = 32
    rounds: int = 4
    order: str = "model"

    def reconstruct(self, view: RoundView) -> list[Reconstruction]:
        """Claims for every client; ValueError if the view lacks updates, the embeddings' part, or a language model."""
        return self.claims(view, self._dealt if self.order == "random" else self._texts)

    def _dealt(self, view: RoundView, batch: Batch) -> list[Reconstruction]:
        """The tokens in random order, shared out to texts."""
        count = len(batch.bag)
        parts = batch.bag[torch.randperm(count, generator=view.generator)].tensor_split(min(batch.most, count))
        return [Reconstruction(client=batch.client, tokens=tuple(ids.tolist()), score=1.0) for ids in parts]

    def _texts(self, view: RoundView, batch: Batch) -> list[Reconstruction]:
        """One claim per search, while searches find something new."""
        settings = Covering(
            beams=self.beams,
            groups=min(self.groups, self.beams),
            diversity=self.diversity,
            found_penalty=self.found_penalty,
            unused_bonus=self.unused_bonus,
            longest=longest_text(view, batch, self.longest),
        )
        writer = CoveringWriter(
            BagModel(view.model.module, view.model.tokenizer, batch.bag, view.seconds_left), settings
        )
        stages = tuple(Stage(moves, self.proposals, self.rounds, 1) for moves in (permuted_spans, moved_tokens))
        claims: dict[tuple[int, ...], Reconstruction] = {}
        for _ in range(batch.most):
            if view.seconds_left() <= 0.0:
                break
            written = next((one for one in writer.write() if one.places not in claims), None)
            if written is None:
                break
            claims[written.places] = claim(view, batch, written, self.alpha, stages)
        return list(claims.values())
