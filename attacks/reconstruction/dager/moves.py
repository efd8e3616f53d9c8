"""Moves between texts: what a descent that changes one token at a time cannot do."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Generator, Tensor


def rearrange(
    parent: Sequence[int],
    pool: Sequence[Sequence[int]],
    fallback: "Tensor",
    options: Sequence["Tensor"],
    generator: "Generator",
) -> "Tensor":
    """A text [length] near `parent`: one random move, with `fallback` where the moved token is not admitted.

    The moves are LAMP's (swap two tokens, move one token, move a span, move a prefix to the end), and splicing a span
    of another text of the pool, which breaks mixtures of two true texts.

    Args:
        parent: ids, begin and end token included.
        pool: texts of the same length.
        fallback: ids [length] to take where a move puts a token that `options` lacks there.
        options: admitted tokens at each position.
        generator: source of the move.
    """
    inner = list(parent[1:-1])
    if len(inner) < 2:
        return fallback
    low, high = sorted(_draw(len(inner), generator) for _ in range(2))
    move = _draw(5, generator)
    if move == 0:
        inner[low], inner[high] = inner[high], inner[low]
    elif move == 1:
        inner.insert(high, inner.pop(low))
    elif move == 2:
        span = inner[low : high + 1]
        rest = inner[:low] + inner[high + 1 :]
        at = _draw(len(rest) + 1, generator)
        inner = rest[:at] + span + rest[at:]
    elif move == 3:
        inner = inner[high:] + inner[:high]
    else:
        other = pool[_draw(len(pool), generator)]
        inner[low : high + 1] = list(other[1 + low : 2 + high])
    moved = torch.tensor([parent[0], *inner, parent[-1]])
    admitted = torch.tensor([bool((choice == token).any()) for choice, token in zip(options, moved, strict=True)])
    return torch.where(admitted, moved, fallback)


def overlap(one: Sequence[int], other: Sequence[int]) -> float:
    """Share of the shorter text's inner places at which both hold the same token; 0 if there are none."""
    inner, outer = one[1:-1], other[1:-1]
    places = min(len(inner), len(outer))
    return sum(a == b for a, b in zip(inner, outer, strict=False)) / places if places else 0.0


def _draw(count: int, generator: "Generator") -> int:
    return int(torch.randint(count, (1,), generator=generator))
