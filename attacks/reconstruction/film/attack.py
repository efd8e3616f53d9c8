"""FILM: read texts out of the update of a causal language model, through the model's own memory of them."""

from dataclasses import dataclass

from fedsec.api import Reconstruction, RoundView

from ..shared.texts import content
from .bag import BagReader, Batch
from .beam import DiverseWriter
from .language import BagModel, Written, begin_token
from .reorder import Memory, Stage, middle_norm, moved_tokens, permuted_spans, reordered


@dataclass(frozen=True, slots=True, kw_only=True)
class Film(BagReader):
    """Takes the batch's tokens from the word embedding's gradient and writes texts with them by the victim's model.

    It claims as many texts as the batch holds, one search each. Nothing is verified: the observed gradient decides the
    tokens only. From a sum over clients it claims texts of all of them together.

    Args:
        beams: beams of each group.
        groups: groups of beams that keep apart.
        diversity: penalty for a token, per time that a text of an earlier group holds it.
        longest: tokens of a text before it is cut behind its first sentence.
        alpha: weight of the perplexity beside the gradient's norm.
        phrase_proposals: reordered candidates per round of phrase-wise moves.
        token_proposals: the same of token-wise moves.
        rounds: of either kind.
        phrase_patience: rounds of phrase-wise moves in a row without gain that end them.
        token_patience: the same of token-wise moves.

    Source: Gupta et al., "Recovering Private Text in Federated Learning of Language Models", NeurIPS 2022, sections
        4.1-4.3; settings of the official code.
    Deviations: the tokens are read from the gradient (`BagReader`), tied output layers included, where the released
        code takes them and their number from the truth; orders are scored among the batch's tokens alone (`Memory`);
        phrases are cut at random, not by the model's links; a token is exchanged or moved, none is inserted.
    """

    beams: int = 32
    groups: int = 8
    diversity: float = 0.1
    longest: int = 40
    alpha: float = 1.0
    phrase_proposals: int = 64
    token_proposals: int = 50
    rounds: int = 100
    phrase_patience: int = 128
    token_patience: int = 50

    def reconstruct(self, view: RoundView) -> list[Reconstruction]:
        """Claims for every client; ValueError if the view lacks updates, the embeddings' part, or a language model."""
        return self.claims(view, self._texts)

    def _texts(self, view: RoundView, batch: Batch) -> list[Reconstruction]:
        """One claim per search, while searches find something."""
        model = BagModel(view.model.module, view.model.tokenizer, batch.bag, view.seconds_left)
        length = longest_text(view, batch, self.longest)
        writer = DiverseWriter(model, self.beams, self.groups, self.diversity, length)
        stages = (
            Stage(permuted_spans, self.phrase_proposals, self.rounds, self.phrase_patience),
            Stage(moved_tokens, self.token_proposals, self.rounds, self.token_patience),
        )
        found = []
        for _ in range(batch.most):
            if view.seconds_left() <= 0.0:
                break
            written = writer.write()
            if not written:
                break
            found.append(claim(view, batch, written[0], self.alpha, stages))
        return found


def longest_text(view: RoundView, batch: Batch, longest: int) -> int:
    """Tokens of a text at most: no more than asked for, than the model has positions, and than granted lengths say."""
    positions = getattr(view.model.module.config, "max_position_embeddings", None) or longest
    return min(longest, positions - 1, batch.longest or longest)


def claim(view: RoundView, batch: Batch, written: Written, alpha: float, stages: tuple[Stage, ...]) -> Reconstruction:
    """A text in the order that the model remembers best; the less it does, the higher the score."""
    module, tokenizer = view.model.module, view.model.tokenizer
    frame = (begin_token(tokenizer), tokenizer.eos_token_id)
    memory = Memory(module, middle_norm(view.model), batch.bag, frame, alpha)
    places, doubt = reordered(written.places, memory, stages, view.generator, view.seconds_left)
    return Reconstruction(
        client=batch.client,
        tokens=content(batch.bag[list(places)].tolist(), tokenizer),
        score=doubt,
        notes={"tokens": float(len(batch.bag)), "beam": written.doubt},
    )
