"""Which tokens share a text, by what attention gave each of them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from fedsec.api import Role, RoundView

from ..shared.texts import only
from .contexts import Told
from .effort import Effort

if TYPE_CHECKING:
    from torch import Tensor

_IN = 0.5
"""Memberships are 0 or 1; a least-squares solution is cut in the middle."""


class Groups:
    """Solves for the texts that tokens stand in.

    In a head, attention gives a token o = sum_j E_j v_j / sum_j E_j over its own text, where E_j = exp(q k_j / sqrt(d))
    is known for every other token. So sum_j m_j E_j (v_j - o) = 0 for the text's memberships m, 0 or 1: as many linear
    equations as the layer is wide, for as many unknowns as there are tokens.

    Args:
        view: the server's view.
        query: name of the first layer's query projection.
        told: the batch's tokens.
        begin: id of the begin token.
        last: id of the end token.
        effort: counts the systems; once it is over, no more texts are given.

    Source: this project.
    """

    def __init__(self, view: RoundView, told: Told, *, begin: int, last: int, effort: Effort) -> None:
        module = view.model.module
        self._told, self._begin, self._last, self._effort = told, begin, last, effort
        heads = (module.config.num_attention_heads, -1)
        parts = (only(view.model.layout, role, 0).name for role in (Role.QUERY, Role.KEY, Role.VALUE))
        queries, keys, self._values = (
            _projected(module, name, told.inputs).unflatten(1, heads).transpose(0, 1) for name in parts
        )  # [heads, tokens, head width]
        self._logits = queries @ keys.mT / queries.shape[-1] ** 0.5  # [heads, tokens, tokens]
        self._attended = told.attended.unflatten(1, heads).transpose(0, 1)

    def texts(self) -> Iterator[tuple[int, ...]]:
        """Texts that tokens of none of those before stand in, begin and end token included."""
        seen: set[int] = set()
        for token in range(len(self._told.ids)):
            if token not in seen and not self._effort.over:
                members = self._members(token)
                text = self._text(members)
                if text:
                    seen.update((members > _IN).nonzero()[:, 0].tolist())
                    yield text

    def _members(self, token: int) -> "Tensor":
        """How far each token stands in the text of one of them [tokens], near 0 or 1."""
        shares = self._logits[:, token].softmax(dim=1)  # [heads, tokens]
        columns = shares[..., None] * (self._values - self._attended[:, token, None])  # [heads, tokens, head width]
        matrix = columns.transpose(1, 2).flatten(0, 1)  # [equations, tokens]
        self._effort.decompositions(matrix.numel() * min(matrix.shape))
        others = torch.arange(matrix.shape[1]) != token
        members = torch.ones(matrix.shape[1], dtype=matrix.dtype)
        members[others] = torch.linalg.lstsq(matrix[:, others], -matrix[:, token], driver="gelsd").solution
        return members

    def _text(self, members: "Tensor") -> tuple[int, ...]:
        """The members in order; empty unless they are one at each position from a begin to an end token."""
        chosen = (members > _IN).nonzero()[:, 0]
        chosen = chosen[self._told.places[chosen].argsort()]
        ids, places = self._told.ids[chosen].tolist(), self._told.places[chosen].tolist()
        whole = places == list(range(len(places))) and ids[0] == self._begin and ids[-1] == self._last
        return tuple(ids) if whole else ()


def _projected(module: Any, name: str, inputs: "Tensor") -> "Tensor":
    """What a projection makes of inputs [count, width], fp64."""
    linear = module.get_submodule(name.removesuffix(".weight"))
    bias = 0.0 if linear.bias is None else linear.bias.detach().double()
    projected: Tensor = inputs @ linear.weight.detach().double().T + bias
    return projected
