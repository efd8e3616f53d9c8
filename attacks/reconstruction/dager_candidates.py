"""DAGER's first step: which token can stand at which position, by the first layer's row space."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from fedsec.api import RoundView
from fedsec.maths.activations import layer_input

from .dager_spaces import LayerSpace

if TYPE_CHECKING:
    from torch import Tensor

_CHUNK = 8192
"""Token places per forward pass: 13 MB of inputs at width 384, which stays near the caches."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Tokens that the first layer's row space admits, by position."""

    tokens: tuple["Tensor", ...]
    """Ids [count] for each position, surest first."""
    residuals: tuple["Tensor", ...]
    """Their residuals [count], fp64."""
    ends: tuple[int, ...]
    """Positions where a text can end, ascending."""
    sharp: bool
    """Whether the begin token at position 0 and an end token were found within the tolerance."""
    admitted: tuple[int, ...]
    """How many of each position's tokens are within the tolerance; the others are only the nearest."""
    begin: int
    """Id of the begin token."""
    last: int
    """Id of the end token."""

    def pairs(self) -> tuple["Tensor", "Tensor"]:
        """All that is within the tolerance, end tokens included: ids [count] and positions [count]."""
        inner = [choice[:count] for choice, count in zip(self.tokens, self.admitted, strict=True)]
        ids = torch.cat([*inner, torch.full((len(self.ends),), self.last)])
        places = [torch.full_like(choice, place) for place, choice in enumerate(inner)]
        return ids, torch.cat([*places, torch.tensor(self.ends, dtype=torch.long)])


class Scanner:
    """Tests every (token, position) pair against the first layer's row space.

    Args:
        view: the server's view.
        first: the first layer's space.
        tolerance: accepted relative residual where nothing but fp32 rounding blurs the span.
        slack: accepted residual in units of what the noise of the span explains.
        blur: noise is believed to explain residuals up to this.
    """

    def __init__(self, view: RoundView, first: LayerSpace, *, tolerance: float, slack: float, blur: float) -> None:
        self._module, self._tokenizer = view.model.module, view.model.tokenizer
        self._first, self._tolerance, self._slack, self._blur = first, tolerance, slack, blur
        self.begin, self.end = boundary_tokens(view.model.tokenizer)
        self.longest = min(
            first.space.rank, self._tokenizer.model_max_length, self._module.config.max_position_embeddings
        )

    def scan(self, per_position: int, longest: int | None = None) -> Candidates:
        """The candidates up to the last possible end.

        Args:
            per_position: how many best tokens to keep at a position where no token is within the tolerance.
            longest: length of the longest text, special tokens included, if known.
        """
        bound = min(self.longest, longest or self.longest)
        if bound < 2:  # no room for a begin and an end
            return Candidates((), (), (), False, (), self.begin, self.end)
        edges = torch.tensor([self.end, self.begin])
        off, within = self._judge(self._inputs(edges, bound))  # [2, positions]
        sharp = bool(within[1, 0]) and bool(within[0, 1:].any())
        ends = within[0].nonzero()[:, 0].tolist() if sharp else [int(off[0, 1:].argmin()) + 1]
        ends = [place for place in ends if place > 0]
        if longest is not None and not sharp:
            ends = [bound - 1]
        tokens, residuals, admitted = self._interior(max(ends) + 1, per_position)
        tokens[0], residuals[0], admitted[0] = torch.tensor([self.begin]), off[1, :1], int(within[1, 0])
        return Candidates(tuple(tokens), tuple(residuals), tuple(ends), sharp, tuple(admitted), self.begin, self.end)

    def _interior(self, length: int, per_position: int) -> tuple[list["Tensor"], list["Tensor"], list[int]]:
        """Candidates at every position below `length`, special tokens left out."""
        special = set(self._tokenizer.all_special_ids) - {self._tokenizer.unk_token_id}
        vocabulary = torch.tensor([i for i in range(self._module.config.vocab_size) if i not in special])
        rough = torch.cat([self._rough(part, length) for part in vocabulary.split(max(1, _CHUNK // length))])
        tokens: list[Tensor] = []
        residuals: list[Tensor] = []
        admitted: list[int] = []
        short = rough.topk(min(max(per_position, 64), len(vocabulary)), dim=0, largest=False).indices
        near = rough < (4 * self._tolerance) ** 2 + 1e-4
        for place in range(length):
            picked = near[:, place].clone()
            picked[short[:, place]] = True
            ids = vocabulary[picked]
            off, within = self._judge(self._inputs(ids, length)[:, place])  # [count]
            order = off.argsort()
            keep = order[within[order]] if bool(within.any()) else order[:per_position]
            tokens.append(ids[keep])
            residuals.append(off[keep])
            admitted.append(int(within.sum()))
        return tokens, residuals, admitted

    def _inputs(self, ids: "Tensor", length: int) -> "Tensor":
        """The first layer's input for each token at each position [ids, length, width]."""
        repeated = ids[:, None].expand(-1, length)
        return torch.cat(
            [
                layer_input(self._module, self._first.query, input_ids=part)
                for part in repeated.split(max(1, _CHUNK // length))
            ]
        )

    def _rough(self, ids: "Tensor", length: int) -> "Tensor":
        """Squared relative residuals [ids, length], good to about 1e-6."""
        basis = self._first.space.basis.float()
        inputs = layer_input(self._module, self._first.query, input_ids=ids[:, None].expand(-1, length))
        inside = (inputs @ basis).square().sum(dim=-1)
        return 1.0 - inside / inputs.square().sum(dim=-1)

    def _judge(self, inputs: "Tensor") -> tuple["Tensor", "Tensor"]:
        """Exact residuals and whether they are within the tolerance, for inputs [..., width]."""
        space, vectors = self._first.space, inputs.double()
        off = space.residuals(vectors)
        allowed = (self._slack * space.expected(vectors)).clamp(self._tolerance, max(self._tolerance, self._blur))
        return off, off <= allowed


def boundary_tokens(tokenizer: Any) -> tuple[int, int]:
    """Ids of the tokens that open and close every text; ValueError if the tokenizer adds none."""
    begin = tokenizer.cls_token_id if tokenizer.cls_token_id is not None else tokenizer.bos_token_id
    end = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
    if begin is None or end is None:
        raise ValueError("the tokenizer marks no begin or end of a text; this attack starts from them")
    return int(begin), int(end)
