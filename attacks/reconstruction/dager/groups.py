"""Which tokens share a text, by what attention gave each of them."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from fedsec.api import Role, RoundView

from ..shared.texts import only
from .candidates import Candidates
from .contexts import Told
from .effort import Effort

if TYPE_CHECKING:
    from torch import Tensor

_TIMES = 2
"""Equations per unknown, at least, where candidates that did not pass are asked for."""

_IN = 0.5
"""Memberships are 0 or 1; a least-squares solution is cut in the middle."""


class Groups:
    """Solves for the texts that tokens stand in.

    In a head, attention gives a token o = sum_j E_j v_j / sum_j E_j over its own text, where E_j = exp(q k_j / sqrt(d))
    is known for every other token. So sum_j m_j E_j (v_j - o) = 0 for the text's memberships m, 0 or 1: as many linear
    equations as the layer is wide, for as many unknowns as there are tokens.

    Args:
        view: the server's view.
        told: the candidates, and what attention gave those of them that passed.
        candidates: what can stand where.
        ceiling: largest share that a text may leave of what its tokens' parts in an equation add up to.
        effort: counts the systems; once it is over, no more texts are given.

    Source: this project.
    """

    def __init__(self, view: RoundView, told: Told, candidates: Candidates, ceiling: float, effort: Effort) -> None:
        module = view.model.module
        self._told, self._candidates, self._ceiling, self._effort = told, candidates, ceiling, effort
        heads = (module.config.num_attention_heads, -1)
        parts = (only(view.model.layout, role, 0).name for role in (Role.QUERY, Role.KEY, Role.VALUE))
        self._queries, self._keys, self._values = (
            _projected(module, name, told.inputs).unflatten(1, heads).transpose(0, 1) for name in parts
        )  # [heads, candidates, head width]
        self._attended = told.attended.unflatten(1, heads).transpose(0, 1)

    def texts(self) -> Iterator[tuple[int, ...]]:
        """Texts that tokens of none of those before stand in, begin and end token included."""
        seen: set[int] = set()
        for token, own in enumerate(self._told.passed.tolist()):
            if own in seen or self._effort.over:
                continue
            members = self._members([token], self._told.passed)
            chosen = self._told.passed[members > _IN]
            if not self._holds(token, chosen):
                chosen = self._completed(token, members)
            if self._holds(token, chosen):
                seen.update(chosen.tolist())
                yield tuple(self._ordered(chosen)[0])

    def _completed(self, token: int, members: "Tensor") -> "Tensor":
        """The candidates in a token's text, where some of them have not passed.

        Several of its tokens together have equations enough to ask for every candidate at the places that lack one.

        Args:
            token: one of those that passed.
            members: how far these stand in its text, as far as that was told without the others [passed].
        """
        told, last = self._told, self._candidates.last
        chosen = told.passed[members > _IN]
        end = chosen[told.ids[chosen] == last]
        length = int(told.places[end].min()) if len(end) else int(told.places.max()) + 1
        lacking = (told.places < length) & ~torch.isin(told.places, told.places[chosen])
        unknown = torch.cat([told.passed, lacking.nonzero()[:, 0]]).unique()
        surest = (members - 1.0).abs().argsort(stable=True)
        count = -(-_TIMES * len(unknown) // told.inputs.shape[1])
        speakers = [token, *(one for one in surest[: int((members > _IN).sum())].tolist() if one != token)]
        completed: Tensor = unknown[self._members(speakers[:count], unknown) > _IN]
        return completed

    def _members(self, tokens: Sequence[int], unknown: "Tensor") -> "Tensor":
        """How far candidates stand in the text that some tokens share, near 0 or 1 [unknown].

        Args:
            tokens: indices among those that passed.
            unknown: the candidates in question, the first of the tokens among them.
        """
        matrix = torch.cat([self._columns(token, unknown) for token in tokens])  # [equations, unknown]
        self._effort.decompositions(matrix.numel() * min(matrix.shape))
        others = unknown != self._told.passed[tokens[0]]
        members = torch.ones(len(unknown), dtype=matrix.dtype)
        members[others] = torch.linalg.lstsq(matrix[:, others], -matrix[:, ~others][:, 0], driver="gelsd").solution
        return members

    def _columns(self, token: int, which: "Tensor") -> "Tensor":
        """What each candidate adds to a token's equations if it stands in its text [equations, candidates]."""
        query = self._queries[:, self._told.passed[token], None]  # [heads, 1, head width]
        logits = (query * self._keys[:, which]).sum(dim=2) / query.shape[-1] ** 0.5  # [heads, candidates]
        off = self._values[:, which] - self._attended[:, token, None]  # [heads, candidates, head width]
        columns: Tensor = (logits.softmax(dim=1)[..., None] * off).transpose(1, 2).flatten(0, 1)
        return columns

    def _holds(self, token: int, chosen: "Tensor") -> bool:
        """Whether candidates are one at each position from begin to end token, and give what the token received."""
        ids, places = self._ordered(chosen)
        whole = bool(ids) and places == list(range(len(places)))
        if not whole or ids[0] != self._candidates.begin or ids[-1] != self._candidates.last:
            return False
        columns = self._columns(token, chosen)
        return float(columns.sum(dim=1).norm()) <= self._ceiling * float(columns.norm())

    def _ordered(self, chosen: "Tensor") -> tuple[list[int], list[int]]:
        """Ids and places of candidates, by place."""
        chosen = chosen[self._told.places[chosen].argsort()]
        return self._told.ids[chosen].tolist(), self._told.places[chosen].tolist()


def _projected(module: Any, name: str, inputs: "Tensor") -> "Tensor":
    """What a projection makes of inputs [count, width], fp64."""
    linear = module.get_submodule(name.removesuffix(".weight"))
    bias = 0.0 if linear.bias is None else linear.bias.detach().double()
    projected: Tensor = inputs @ linear.weight.detach().double().T + bias
    return projected
