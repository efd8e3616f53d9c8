"""Which tokens can stand at which position of a decoder's texts, by the first layer's row space."""

from typing import TYPE_CHECKING

import torch

from .ruler import Ruler

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from .decoder_states import States
    from .places import Inputs

_CHUNK = 16_384
"""Token places per forward pass: 25 MB of inputs at width 384."""

_POSITIONS = 8
"""Positions that are scanned at once."""

_SKETCH = 24
"""Random directions outside the span: what has little part in them is looked at closely."""


class Tokens:
    """Tests the vocabulary against the first layer's row space, position by position as far as they are asked for.

    A few random directions orthogonal to the span tell nearly all of the vocabulary apart: a token in the span has no
    part in them, up to rounding. What is left is measured exactly.

    Args:
        states: the first layer's inputs.
        ruler: distances in the first layer.
        generator: source of the directions.
        most: tokens per position that are kept where noise admits more.
    """

    def __init__(self, states: "States | Inputs", ruler: Ruler, generator: "Generator", most: int) -> None:
        self._states, self._ruler, self._most = states, ruler, most
        basis = ruler.space.basis
        raw = torch.randn(basis.shape[0], _SKETCH, generator=generator, dtype=torch.float64)
        self._outside = (raw - basis @ (basis.T @ raw)).float() / _SKETCH**0.5  # [width, directions]
        self.positional = states.positional()
        """Whether tokens differ from position to position."""
        self._found: list[Tensor] = []

    @property
    def count(self) -> int:
        """Tokens that were admitted, over all positions asked for."""
        return sum(map(len, self._found))

    def at(self, position: int) -> "Tensor":
        """Ids [count] of the tokens that may stand there, ascending: an order that membership has no part in."""
        place = position if self.positional else 0
        while len(self._found) <= place:
            start = len(self._found)
            stop = min(start + _POSITIONS, self._states.longest) if self.positional else 1
            self._found += self._scan(start, stop)
        return self._found[place]

    def _scan(self, start: int, stop: int) -> list["Tensor"]:
        kept: list[tuple[Tensor, Tensor, Tensor]] = []
        for ids in torch.arange(self._states.vocabulary).split(max(1, _CHUNK // (stop - start))):
            inputs = self._states.first(ids, start, stop)  # [ids, positions, width]
            sizes = inputs.norm(dim=-1)
            rough = (inputs @ self._outside).norm(dim=-1) / sizes.clamp_min(1e-30)
            # A padding token's embedding may be zero: it leaves no trace and is no part of a text.
            index, place = ((rough <= 2.0 * self._ruler.near) & (sizes > 0.0)).nonzero(as_tuple=True)
            ratios = self._ruler.measure(inputs[index, place]).ratios
            within = ratios <= 1.0
            kept.append((ids[index[within]], place[within], ratios[within]))
        ids, places, ratios = (torch.cat(part) for part in zip(*kept, strict=True))
        found = []
        for place in range(stop - start):
            own = (places == place).nonzero()[:, 0]
            best = own[ratios[own].argsort(stable=True)[: self._most]]
            found.append(ids[best].sort().values)
        return found
