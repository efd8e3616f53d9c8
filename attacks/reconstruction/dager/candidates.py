"""DAGER's first step: which token can stand at which position, by the first layer's row space."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from fedsec.api import RoundView
from fedsec.maths.activations import layer_input

from .settings import Settings
from .spaces import LayerSpace
from .sums import normalised_sums

if TYPE_CHECKING:
    from torch import Tensor

_CHUNK = 8192
"""Token places per forward pass: 13 MB of inputs at width 384, which stays near the caches; tokens where no pass is
needed."""


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
    blurred: bool = False
    """Whether noise hides so much that no text of them can be told apart for certain."""

    def pairs(self) -> tuple["Tensor", "Tensor"]:
        """All that is within the tolerance, end tokens included: ids [count] and positions [count]."""
        inner = [choice[:count] for choice, count in zip(self.tokens, self.admitted, strict=True)]
        ids = torch.cat([*inner, torch.full((len(self.ends),), self.last)])
        places = [torch.full_like(choice, place) for place, choice in enumerate(inner)]
        return ids, torch.cat([*places, torch.tensor(self.ends, dtype=torch.long)])

    def options(self) -> dict[int, list[int]]:
        """The tokens within the tolerance at each position, end tokens included."""
        options: dict[int, list[int]] = {}
        for token, place in zip(*(part.tolist() for part in self.pairs()), strict=True):
            options.setdefault(place, []).append(token)
        return options


class _Seen(NamedTuple):
    """Vectors against the first layer's row space."""

    residuals: "Tensor"
    """Relative distances, fp64."""
    doubts: "Tensor"
    """The same over what noise and rounding may explain of a true one: the likelier, the lower."""
    within: "Tensor"
    """Whether they are within the tolerance."""


class Scanner:
    """Tests every (token, position) pair against the first layer's row space.

    Tokens are told apart by their residual over what the span's noise explains of it, not by the residual: one that
    stands on weak directions is off by more, true or not.

    Args:
        view: the server's view.
        first: the first layer's space.
        settings: the tolerances.
    """

    def __init__(self, view: RoundView, first: LayerSpace, settings: Settings) -> None:
        self._module, self._tokenizer = view.model.module, view.model.tokenizer
        self._first, self._settings = first, settings
        self.begin, self.end = boundary_tokens(view.model.tokenizer)
        self.longest = min(
            first.space.rank, self._tokenizer.model_max_length, self._module.config.max_position_embeddings
        )

    def scan(self, per_position: int, longest: int | None = None) -> Candidates:
        """The candidates up to the last possible end.

        Args:
            per_position: how many best tokens to keep at a position where none is within the tolerance. In a blurred
                span at least as many are kept, and at most `crowd` times as many.
            longest: length of the longest text, special tokens included, if known.
        """
        bound = min(self.longest, longest or self.longest)
        if bound < 2:  # no room for a begin and an end
            return Candidates((), (), (), False, (), self.begin, self.end)
        edges = self._inputs(torch.tensor([self.end, self.begin]), bound)
        seen = self._judge(edges)  # [2, positions]
        sharp = bool(seen.within[1, 0]) and bool(seen.within[0, 1:].any())
        explained = float(self._first.space.expected(edges[1, :1].double()))
        blurred = self._settings.slack * explained > self._settings.hidden
        if longest is not None and not sharp:
            ends = [bound - 1]
        else:
            ends = self._ends(seen, sharp=sharp, blurred=blurred, most=per_position)
        tokens, residuals, admitted = self._interior(max(ends) + 1, per_position, blurred=blurred)
        tokens[0], residuals[0] = torch.tensor([self.begin]), seen.residuals[1, :1]
        admitted[0] = int(seen.within[1, 0])
        return Candidates(
            tuple(tokens), tuple(residuals), tuple(ends), sharp, tuple(admitted), self.begin, self.end, blurred
        )

    def _ends(self, seen: _Seen, *, sharp: bool, blurred: bool, most: int) -> list[int]:
        """Where a text can end, ascending; the best guesses where no end is within the tolerance."""
        doubts, within = seen.doubts[0, 1:], seen.within[0, 1:]
        if not sharp:
            count = min(most // 2 if blurred else 1, len(doubts))
            return sorted((doubts.topk(max(1, count), largest=False).indices + 1).tolist())
        if blurred:
            within = within & (doubts <= max(self._telling, float(doubts[within].min())))
        ends: list[int] = (within.nonzero()[:, 0] + 1).tolist()
        return ends

    def _interior(
        self, length: int, per_position: int, *, blurred: bool
    ) -> tuple[list["Tensor"], list["Tensor"], list[int]]:
        """Candidates at every position below `length`, special tokens left out."""
        special = set(self._tokenizer.all_special_ids) - {self._tokenizer.unk_token_id}
        vocabulary = torch.tensor([i for i in range(self._module.config.vocab_size) if i not in special])
        rough, doubts = self._rough(vocabulary, length)
        tokens: list[Tensor] = []
        residuals: list[Tensor] = []
        admitted: list[int] = []
        most = self._settings.crowd * per_position
        short = doubts.topk(min(max(most, 64), len(vocabulary)), dim=0, largest=False).indices
        near = rough < (4 * self._settings.tolerance) ** 2 + 1e-4
        for place in range(length):
            picked = near[:, place].clone()
            picked[short[:, place]] = True
            ids = vocabulary[picked]
            seen = self._judge(self._inputs(ids, length)[:, place])  # [count]
            order = seen.doubts.argsort()
            within = seen.within & (seen.doubts <= self._telling) if blurred else seen.within
            inside = order[within[order]][: most if blurred else None]
            keep = order[: max(len(inside), per_position)] if blurred or len(inside) == 0 else inside
            tokens.append(ids[keep])
            residuals.append(seen.residuals[keep])
            admitted.append(len(inside))
        return tokens, residuals, admitted

    @property
    def _telling(self) -> float:
        """The largest doubt of a candidate in a blurred span: most wrong ones within the slack are beyond it."""
        return self._settings.telling / self._settings.slack

    def _inputs(self, ids: "Tensor", length: int) -> "Tensor":
        """The first layer's input for each token at each position [ids, length, width]."""
        repeated = ids[:, None].expand(-1, length)
        return torch.cat(
            [
                layer_input(self._module, self._first.query, input_ids=part)
                for part in repeated.split(max(1, _CHUNK // length))
            ]
        )

    def _rough(self, vocabulary: "Tensor", length: int) -> tuple["Tensor", "Tensor"]:
        """Squared relative residuals and squared doubts [ids, length], the former good to about 1e-6."""
        space = self._first.space
        blurring = space.basis * (self._settings.slack * space.noise / space.singular[: space.rank])
        sums = normalised_sums(self._module, self._first.query, length)
        parts = []
        for ids in vocabulary.split(_CHUNK if sums is not None else max(1, _CHUNK // length)):
            if sums is not None:
                whole, inside, blurred = sums.squares(ids, [space.basis, blurring])
            else:
                inputs = self._inputs(ids, length)
                whole, inside, blurred = (
                    (inputs if one is None else inputs @ one.float()).square().sum(dim=-1)
                    for one in (None, space.basis, blurring)
                )
            rough = 1.0 - inside / whole
            allowed = (blurred / whole).clamp_min(self._settings.tolerance**2)
            parts.append((rough, rough.clamp_min(0.0) / allowed))
        residuals, doubts = (torch.cat(kind) for kind in zip(*parts, strict=True))
        return residuals, doubts

    def _judge(self, inputs: "Tensor") -> _Seen:
        """Exact residuals and how they compare with the tolerance, for inputs [..., width]."""
        space, vectors = self._first.space, inputs.double()
        off = space.residuals(vectors)
        tolerance = self._settings.tolerance
        explained = (self._settings.slack * space.expected(vectors)).clamp_min(tolerance)
        within = (off <= explained) & (off <= max(tolerance, self._settings.blur))
        return _Seen(off, off / explained, within)


def boundary_tokens(tokenizer: Any) -> tuple[int, int]:
    """Ids of the tokens that open and close every text; ValueError if the tokenizer adds none."""
    begin = tokenizer.cls_token_id if tokenizer.cls_token_id is not None else tokenizer.bos_token_id
    end = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
    if begin is None or end is None:
        raise ValueError("the tokenizer marks no begin or end of a text; this attack starts from them")
    return int(begin), int(end)
