"""The victim's own language model, restricted to the tokens of a batch: what FILM's searches share."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

if TYPE_CHECKING:
    from torch import Tensor

_SPACES = (" ", "\n", "\t")


class Written(NamedTuple):
    """A text that the language model writes with a batch's tokens."""

    places: tuple[int, ...]
    """Places of its tokens in the bag."""
    doubt: float
    """Mean negative log probability of its tokens, less what bonuses make of it."""


@dataclass(frozen=True, slots=True)
class BagModel:
    """A causal language model of which only the probabilities of some tokens are looked at.

    Args:
        module: in evaluation mode.
        tokenizer: of the model.
        bag: token ids of the batch [count].
        seconds_left: that a search may still take; one that has none left ends its texts where they are.
    """

    module: Any
    tokenizer: Any
    bag: "Tensor"
    seconds_left: Callable[[], float] = lambda: inf

    @torch.no_grad()
    def step(self, tokens: "Tensor", past: Any) -> tuple[Any, "Tensor"]:
        """Log probabilities of the bag's tokens and of the end after these tokens [texts, bag + 1], and the cache."""
        out = self.module(input_ids=tokens[:, None], past_key_values=past, use_cache=True)
        log_p = out.logits[:, -1].float().log_softmax(dim=1)  # [texts, vocabulary]
        end = torch.tensor([self.tokenizer.eos_token_id])
        return out.past_key_values, log_p[:, torch.cat([self.bag, end])]

    def repeated(self, places: "Tensor") -> "Tensor":
        """Which tokens of the bag would make a pair of neighbours stand twice in a text [texts, bag].

        Args:
            places: of each text's tokens in the bag [texts, tokens].
        """
        again = torch.where(places[:, :-1] == places[:, -1:], places[:, 1:], len(self.bag))
        barred = torch.zeros(len(places), len(self.bag) + 1, dtype=torch.bool).scatter_(1, again, value=True)
        return barred[:, :-1]

    def starts(self) -> "Tensor":
        """Places in the bag of the tokens that may begin a text.

        Those that decode to an upper-case letter first; without any, those that begin without a space; else all.
        """
        words = [str(self.tokenizer.decode([token])) for token in self.bag.tolist()]
        upper = [place for place, word in enumerate(words) if word[:1].isupper()]
        plain = [place for place, word in enumerate(words) if word and not word.startswith(_SPACES)]
        return torch.tensor(upper or plain or list(range(len(words))))


def begin_token(tokenizer: Any) -> int | None:
    """The token that the tokenizer puts before a text, if any."""
    first = tokenizer("a")["input_ids"][:1]
    return int(first[0]) if first and first[0] == tokenizer.bos_token_id else None
