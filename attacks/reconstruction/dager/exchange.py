"""What one token becomes behind the first layer, for many that may stand in its place, at the cost of a token each."""

from typing import TYPE_CHECKING, Any

import torch

from fedsec.maths.activations import layer_input

if TYPE_CHECKING:
    from torch import Tensor

_SAME = 1e-4
"""Largest difference from the model's own forward pass, relative to the largest entry (fp32 rounding: 1e-6)."""

_CHUNK = 4096
"""Tokens per pass: 25 MB of the widest activations at width 384."""


class Exchange:
    """The first layer of a BERT-like encoder, at one position of texts that differ from a common one there.

    A text's keys and values stay while one token is exchanged, so that one query, one line of attention and one
    feed-forward pass give the exchanged token's state, where the whole text would take as many as it has tokens.

    Args:
        module: the broadcast model.
        query: name of the first layer's query projection.
        layer: the first layer, as `of` finds it.
    """

    def __init__(self, module: Any, query: str, layer: Any) -> None:
        self._module, self._query, self._layer = module, query, layer
        self._heads = (module.config.num_attention_heads, -1)

    @classmethod
    def of(cls, module: Any, first: str, second: str, text: "Tensor") -> "Exchange | None":
        """For the layer between two query projections; None if it is not of this kind.

        Args:
            module: the broadcast model.
            first: name of the first layer's query projection.
            second: that of the second layer's.
            text: ids [length]; what the model makes of it tells whether the layer is of this kind.
        """
        name = first.removesuffix(".attention.self.query")
        if name == first:
            return None
        one = cls(module, first, module.get_submodule(name))
        parts = ("attention.output", "attention.self.key", "attention.self.value", "intermediate", "output")
        names = dict(one._layer.named_modules())
        if not all(part in names for part in parts):
            return None
        try:
            ours = torch.cat([one.states(text[None], place, text[place].view(1, 1))[0] for place in range(len(text))])
            whole = layer_input(module, second, input_ids=text[None])[0]
            same = bool((ours - whole).abs().max() <= _SAME * whole.abs().max())
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):  # parts of the same name do otherwise
            return None
        return one if same else None

    def states(self, texts: "Tensor", place: int, tokens: "Tensor") -> "Tensor":
        """The second layer's inputs at one position [texts, tokens, width].

        Args:
            texts: ids [texts, length].
            place: the position.
            tokens: what stands there instead, ids [texts, tokens].
        """
        attention = self._layer.attention
        inputs = layer_input(self._module, self._query, input_ids=texts)  # [texts, length, width]
        distinct, where = tokens.unique(return_inverse=True)
        context = texts[:1, : place + 1].repeat(len(distinct), 1)
        context[:, place] = distinct
        fresh = layer_input(self._module, self._query, input_ids=context)[:, place]  # [distinct, width]
        with torch.no_grad():
            keys, values = (
                part(inputs).unflatten(-1, self._heads) for part in (attention.self.key, attention.self.value)
            )
            own_key, own_value, query = (
                part(fresh).unflatten(-1, self._heads)[where]  # [texts, tokens, heads, head width]
                for part in (attention.self.key, attention.self.value, attention.self.query)
            )
            scores = torch.einsum("nkhd,nlhd->nkhl", query, keys)  # [texts, tokens, heads, length]
            scores[..., place] = (query * own_key).sum(dim=-1)
            shares = (scores * query.shape[-1] ** -0.5).softmax(dim=-1)
            own = shares[..., place, None]
            others = values.clone()
            others[:, place] = 0.0
            mixed = torch.einsum("nkhl,nlhd->nkhd", shares, others) + own * own_value
            flat, kept = mixed.flatten(2).flatten(0, 1), fresh[where].flatten(0, 1)  # [texts * tokens, width]
            parts = [self._behind(*pair) for pair in zip(flat.split(_CHUNK), kept.split(_CHUNK), strict=True)]
        states: Tensor = torch.cat(parts).unflatten(0, tokens.shape)
        return states

    def _behind(self, mixed: "Tensor", inputs: "Tensor") -> "Tensor":
        """What follows attention, token by token [tokens, width]."""
        attended = self._layer.attention.output(mixed, inputs)
        behind: Tensor = self._layer.output(self._layer.intermediate(attended), attended)
        return behind
