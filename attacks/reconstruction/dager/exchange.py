"""What one token becomes behind the first layer, for many that may stand in its place, at the cost of a token each."""

from inspect import signature
from typing import TYPE_CHECKING, Any

import torch

from fedsec.maths.activations import layer_input

if TYPE_CHECKING:
    from torch import Tensor

_SAME = 1e-4
"""Largest difference from the model's own forward pass, relative to the largest entry (fp32 rounding: 1e-6)."""

_CHUNK = 2048
"""Tokens per pass: 13 MB of the widest activations at width 384."""

_TOGETHER = 128
"""Tokens that stand behind one text together: their attention to each other, masked or not, is computed too."""


class Exchange:
    """The first layer of an encoder, at one position of texts that differ from a common one there.

    What may stand at the position goes behind the text, each token at that position's place, seen by itself alone and
    blind to the token that it replaces and to the others: the text is run once, not once for each.

    Args:
        module: the broadcast model.
        second: name of the second layer's query projection.
        offset: id of the first position.
    """

    def __init__(self, module: Any, second: str, offset: int) -> None:
        self._module, self._second, self._offset = module, second, offset

    @classmethod
    def of(cls, module: Any, second: str, text: "Tensor") -> "Exchange | None":
        """For what enters the second layer; None where the model does not follow masks and positions of tokens.

        Args:
            module: the broadcast model.
            second: name of the second layer's query projection.
            text: ids [length]; what the model makes of it tells.
        """
        if "position_ids" not in signature(module.forward).parameters:
            return None
        whole = layer_input(module, second, input_ids=text[None])[0]  # [length, width]
        for offset in {0, (module.config.pad_token_id or 0) + 1}:  # some models count positions from the padding's on
            one = cls(module, second, offset)
            ours = torch.cat([one.states(text[None], place, text[place].view(1, 1))[0] for place in range(len(text))])
            if bool((ours - whole).abs().max() <= _SAME * whole.abs().max()):
                return one
        return None

    def states(self, texts: "Tensor", place: int, tokens: "Tensor") -> "Tensor":
        """The second layer's inputs at one position [texts, tokens, width].

        Args:
            texts: ids [texts, length].
            place: the position.
            tokens: what stands there instead, ids [texts, tokens].
        """
        return torch.cat([self._together(texts, place, part) for part in tokens.split(_TOGETHER, dim=1)], dim=1)

    def _together(self, texts: "Tensor", place: int, tokens: "Tensor") -> "Tensor":
        length, count = texts.shape[1], tokens.shape[1]
        rows = torch.cat([texts, tokens], dim=1)  # [texts, length + tokens]
        places = self._offset + torch.cat([torch.arange(length), torch.full((count,), place)])
        seen = torch.eye(length + count, dtype=torch.bool)
        seen[:, :length] = True
        seen[length:, place] = False
        mask = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)[None, None]
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
