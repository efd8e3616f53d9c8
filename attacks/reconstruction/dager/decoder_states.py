"""What enters a decoder's first two attention layers, for many continuations of many prefixes at once."""

from typing import TYPE_CHECKING, Any

import torch

from fedsec.maths.activations import layer_input

if TYPE_CHECKING:
    from torch import Tensor

_CHUNK = 4096
"""Tokens per forward pass through the first layer: 6 MB of states at width 384."""


class States:
    """Inputs of a decoder's first and second attention layer.

    In a decoder a prefix's states do not depend on what follows. All continuations of a prefix therefore stand behind
    it in one row, each at the same next position and blind to the others: the prefix is run once, not once for each.

    Args:
        module: the broadcast model.
        first: name of a module that the first layer's attention inputs enter.
        second: the same for the second layer.
    """

    def __init__(self, module: Any, first: str, second: str) -> None:
        self._module, self._first, self._second = module, first, second

    @property
    def vocabulary(self) -> int:
        """Rows of the word embedding."""
        return int(self._module.get_input_embeddings().weight.shape[0])

    @property
    def longest(self) -> int:
        """Positions that the model has."""
        return int(self._module.config.max_position_embeddings)

    def positional(self) -> bool:
        """Whether a token enters the first layer differently at different positions."""
        inputs = self.first(torch.arange(min(8, self.vocabulary)), 0, 2)
        return not torch.equal(inputs[:, 0], inputs[:, 1])

    def first(self, ids: "Tensor", start: int, stop: int) -> "Tensor":
        """The first layer's inputs of tokens [ids] at positions start..stop [ids, positions, width]."""
        repeated = ids[:, None].expand(-1, stop - start)
        places = torch.arange(start, stop).expand_as(repeated)
        seen = torch.ones_like(repeated)
        return layer_input(self._module, self._first, input_ids=repeated, position_ids=places, attention_mask=seen)

    def extended(self, prefixes: "Tensor", tokens: "Tensor") -> "Tensor":
        """The second layer's inputs of each token behind each prefix [prefixes, tokens, width].

        Args:
            prefixes: ids [prefixes, length]; the length may be 0.
            tokens: ids [tokens].
        """
        room = max(1, _CHUNK - prefixes.shape[1])
        return torch.cat([self._block(prefixes, part) for part in tokens.split(room)], dim=1)

    def _block(self, prefixes: "Tensor", tokens: "Tensor") -> "Tensor":
        count, length = prefixes.shape
        rows = torch.cat([prefixes, tokens.expand(count, -1)], dim=1)  # [prefixes, length + tokens]
        places = torch.cat([torch.arange(length), torch.full_like(tokens, length)])
        mask = _mask(length, len(tokens))
        parts = [
            layer_input(
                self._module,
                self._second,
                input_ids=part,
                position_ids=places.expand_as(part),
                attention_mask=mask.expand(len(part), -1, -1, -1),
            )[:, length:]
            for part in rows.split(max(1, _CHUNK // rows.shape[1]))
        ]
        return torch.cat(parts)


def sees_later(module: Any, second: str) -> bool:
    """Whether a token's state in the second layer depends on what follows it, as in an encoder."""
    ids = torch.tensor([[0, 1], [0, 2]])
    states = layer_input(module, second, input_ids=ids, attention_mask=torch.ones_like(ids))
    return not torch.equal(states[0, 0], states[1, 0])


def _mask(length: int, tokens: int) -> "Tensor":
    """What is added to attention scores [1, 1, length + tokens, the same]: tokens see the prefix and themselves."""
    size = length + tokens
    seen = torch.ones(size, size, dtype=torch.bool).tril()
    seen[length:, length:] = torch.eye(tokens, dtype=torch.bool)
    return torch.zeros(size, size).masked_fill(~seen, torch.finfo(torch.float32).min)[None, None]
