"""FILM: read texts out of the update of a causal language model, through the model's own memory of them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from fedsec.api import Knowledge, Reconstruction, RoundView

from ..shared.texts import content, texts_per_client
from .bag import BagReader
from .beam import BeamSettings, Writer, begin_token
from .reorder import Memory, reordered

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """Takes the batch's tokens from the word embedding's gradient and writes texts with them by the victim's model.

    It claims as many texts as the batch holds, the best remembered ones as the surest. Nothing is verified: the
    observed gradient decides the tokens only. From a sum over clients it claims texts of all of them together.

    Args:
        zero_norm: of an untied output layer, embedding rows below this times the largest count as not touched.
        noise_factor: of an untied layer with noise on every row, rows below this times the median norm are noise.
        share: dimensions of the space of untouched rows under a tied layer, as a share of the hidden size, where a
            batch has about as many tokens or more.
        gap: ratio that parts the batch's rows from all others.
        outlier: without such a gap, how far a row has to stand out.
        opposed: without such a gap, least negative cosine to the untouched rows' common direction.
        beams: beams of the search.
        groups: groups of beams that keep apart.
        diversity: penalty for a token that another group chose at the same place.
        found_penalty: penalty for a pair of tokens, or a beginning, of a text that was found before.
        unused_bonus: bonus for a token that no text found before holds.
        longest: tokens of a text at most.
        alpha: weight of the perplexity beside the gradient's norm.
        proposals: reordered candidates per round.
        rounds: rounds of phrase-wise, and again of token-wise moves.
        order: `model`, or `random` for the tokens as the gradient gives them, dealt to texts in no order: what the
            language model adds is the difference.

    Source: Gupta et al., "Recovering Private Text in Federated Learning of Language Models", NeurIPS 2022, sections
        4.1-4.3. Deviations: the tokens are read from the gradient, tied output layers included, where the released code
        takes them from the truth; see `film_beam` and `film_reorder` for what the search and the order do otherwise.
    """

    zero_norm: float = 1e-7
    noise_factor: float = 1.5
    share: float = 0.75
    gap: float = 4.0
    outlier: float = 12.0
    opposed: float = 0.15
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
        module = view.model.module
        if module is None or module.get_output_embeddings() is None:
            raise ValueError("film writes with the victim's own causal language model; this view shows none")
        lengths, most = view.granted.get(Knowledge.LENGTHS), texts_per_client(view)
        if (rows := view.rows) is not None:
            known = lengths or (None,) * len(view.clients)
            return view.each_client(
                lambda own, place: self._read(own, rows[place], own.clients[place], most, known[place])
            )
        if view.aggregate is None:
            raise ValueError("film reads updates, or their sum, which this view does not show")
        together = tuple(one for own in lengths for one in own) if lengths else None
        return self._read(view, view.aggregate, None, most * max(1, len(view.cohort)), together)

    def _read(
        self, view: RoundView, vector: "Tensor", client: int | None, most: int, lengths: tuple[int, ...] | None
    ) -> list[Reconstruction]:
        """Claims from one update of at most `most` texts."""
        module, tokenizer = view.model.module, view.model.tokenizer
        reader = BagReader(
            zero_norm=self.zero_norm,
            noise_factor=self.noise_factor,
            share=self.share,
            gap=self.gap,
            outlier=self.outlier,
            opposed=self.opposed,
        )
        bag = torch.tensor(reader.read(view, vector), dtype=torch.long)
        if not len(bag):
            return []
        if self.order == "random":
            dealt = bag[torch.randperm(len(bag), generator=view.generator)].tensor_split(min(most, len(bag)))
            return [Reconstruction(client=client, tokens=tuple(ids.tolist()), score=1.0) for ids in dealt]
        positions = getattr(module.config, "max_position_embeddings", None) or self.longest
        settings = BeamSettings(
            beams=self.beams,
            groups=min(self.groups, self.beams),
            diversity=self.diversity,
            found_penalty=self.found_penalty,
            unused_bonus=self.unused_bonus,
            longest=min(self.longest, positions - 1, *([max(lengths)] if lengths else [])),
        )
        writer = Writer(module, tokenizer, bag, settings, view.seconds_left)
        memory = Memory(module, bag, (begin_token(tokenizer), tokenizer.eos_token_id), self.alpha)
        claims: dict[tuple[int, ...], Reconstruction] = {}
        for _ in range(most):
            if view.seconds_left() <= 0.0:
                break
            written = next((one for one in writer.write() if one.places not in claims), None)
            if written is None:
                break
            places, doubt = reordered(
                written.places, memory, proposals=self.proposals, rounds=self.rounds, generator=view.generator
            )
            notes = {"tokens": float(len(bag)), "beam": written.doubt}
            ids = content(bag[list(places)].tolist(), tokenizer)
            claims[written.places] = Reconstruction(client=client, tokens=ids, score=doubt, notes=notes)
        return list(claims.values())
