"""LAMP's four moves of tokens within a text."""

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def sampled_orders(places: "Tensor", length: int, count: int, generator: torch.Generator) -> "Tensor":
    """Orders of a text's tokens [count, length]: as they are, and after one random move each, kind by kind in turn.

    The kinds: two tokens swap; a token moves; a span moves; a prefix goes to the end.

    Args:
        places: positions that take part, in order [free].
        length: tokens of the text.
        count: orders, at least 1.
        generator: draws.

    Source: Balunovic et al., LAMP, NeurIPS 2022, section 4.2. Deviations: none.
    """
    free = len(places)
    orders = torch.arange(length).repeat(count, 1)  # [count, length]
    if free < 2:
        return orders
    drawn = torch.randint(1 << 30, (count, 3), generator=generator)
    for row in range(1, count):
        inner = _MOVES[row % 4](torch.arange(free), *drawn[row].tolist())
        orders[row, places] = places[inner]
    return orders


def _swapped(order: "Tensor", first: int, second: int, _: int) -> "Tensor":
    free = len(order)
    one = first % free
    other = (one + 1 + second % (free - 1)) % free
    order[[one, other]] = order[[other, one]]
    return order


def _moved(order: "Tensor", first: int, second: int, _: int) -> "Tensor":
    start = first % len(order)
    return _span_to(order, start, start + 1, second)


def _span_moved(order: "Tensor", first: int, second: int, third: int) -> "Tensor":
    start = first % len(order)
    return _span_to(order, start, start + 1 + second % (len(order) - start), third)


def _prefix_last(order: "Tensor", first: int, _: int, __: int) -> "Tensor":
    cut = 1 + first % (len(order) - 1)
    return torch.cat([order[cut:], order[:cut]])


def _span_to(order: "Tensor", start: int, stop: int, draw: int) -> "Tensor":
    rest = torch.cat([order[:start], order[stop:]])
    place = draw % (len(rest) + 1)
    return torch.cat([rest[:place], order[start:stop], rest[place:]])


_MOVES = (_prefix_last, _swapped, _moved, _span_moved)
