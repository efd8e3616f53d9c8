"""Tokens and places by the first layer's row space alone, where no second one tells which of them make a text."""

from typing import TYPE_CHECKING, Any

import torch

from fedsec.api import RoundView
from fedsec.maths.activations import layer_input

from .decoder_tokens import Tokens
from .ruler import Ruler
from .spaces import LayerSpace

if TYPE_CHECKING:
    from torch import Tensor


class Inputs:
    """Inputs of the first attention layer, whatever the model lets see whom.

    Args:
        module: the broadcast model.
        first: name of a module that they enter.
        longest: tokens that a text can have.
    """

    def __init__(self, module: Any, first: str, longest: int) -> None:
        self._module, self._first, self.longest = module, first, longest
        self.vocabulary = int(module.get_input_embeddings().weight.shape[0])

    def positional(self) -> bool:
        """Whether a token enters differently at different positions."""
        inputs = self.first(torch.arange(min(8, self.vocabulary)), 0, 2)
        return not torch.equal(inputs[:, 0], inputs[:, 1])

    def first(self, ids: "Tensor", start: int, stop: int) -> "Tensor":
        """The inputs of tokens [ids] at positions start..stop [ids, positions, width]."""
        repeated = ids[:, None].expand(-1, stop)
        seen = torch.ones_like(repeated)
        return layer_input(self._module, self._first, input_ids=repeated, attention_mask=seen)[:, start:]


def by_place(
    view: RoundView, first: LayerSpace, ruler: Ruler, *, limit: int, longest: int | None, most: int
) -> list[list[int]]:
    """At most `limit` texts of the tokens that the span admits at each position, from the first on.

    Which of a position's tokens stand in the same text is not told: the first text takes one of each, the second
    another where there is one, and so on. Of a model without learned positions only the set is told: it is one text.

    Args:
        view: what the attacker sees.
        first: the first layer's span.
        ruler: distances from it.
        limit: most texts.
        longest: tokens of the longest text, if known.
        most: tokens per position that are kept where noise admits more.
    """
    module = view.model.module
    length = min(longest or first.space.rank, first.space.rank, module.config.max_position_embeddings)
    tokens = Tokens(Inputs(module, first.query, length), ruler, view.generator, most)
    if not tokens.positional:
        return [tokens.at(0).tolist()]
    texts: list[list[int]] = [[] for _ in range(limit)]
    for place in range(length):
        if view.seconds_left() <= 0.0:
            break
        found = tokens.at(place).tolist()
        if not found:
            break
        for text, token in zip(texts, found, strict=False):
            text.append(token)
    return [text for text in texts if text]
