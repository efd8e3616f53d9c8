"""Inner products of many long rows, in one pass over them in fp64."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fedsec.maths.fp64_blocks import Part, fp64_blocks
from fedsec.maths.threads import over_columns

NORM_CAP = 100.0
"""Rows above this many times the median norm are scaled down to it before products are taken."""

CANCELS = 1e-4
"""A squared distance below this share of the squares that it is the difference of is computed again, closer by. Within
a block, fp64 sums are off by 6e-11 of the squares at the very worst (5e5 equal terms that all round one way in one
sum), and by 1e-14 in any kernel that was seen."""

_ALIKE = 1e-10
"""Rows at a squared distance above this share of their squares are not equal, whatever rounding did."""


@dataclass(frozen=True, slots=True)
class Products:
    """What there is between capped rows, as far as any rule needs it."""

    scale: torch.Tensor
    """Factor that caps each row [rows], fp64; 1 for all but outliers."""
    distances: torch.Tensor
    """Squared Euclidean distances [rows, rows], fp64, symmetric, zero on the diagonal."""
    squares: torch.Tensor
    """Squared norms [rows], fp64."""

    def among(self, count: int) -> "Products":
        """Those of the first `count` rows."""
        return Products(self.scale[:count], self.distances[:count, :count], self.squares[:count])


def products(sources: Sequence[torch.Tensor], beside: int = 0) -> Products:
    """Take the norms of all rows and the distances between them, in fp64 and in one pass.

    A product of two rows does not depend on any third, so that a hostile row cannot spoil the digits of honest rows'
    distances. Between rows that are much closer to each other than they are long, digits cancel: such distances are
    taken again relative to one of the rows. Distances are good to 1e-6 relative.

    Args:
        sources: fp32 [rows, columns] each, finite, of the same columns; rows may be files mapped into memory.
        beside: how many of the last rows have no say in what is far out of line, and are never scaled.
    """
    gram = _gram([(source, None) for source in sources], sources[0].shape[1])
    squares = gram.diagonal().clone()
    scale = _scale(squares, beside)
    gram *= scale[:, None] * scale
    distances = _distances(gram)
    doubtful = _doubtful(distances, gram.diagonal())
    while bool(doubtful.any()):  # every pass settles all pairs of one row, so that there is an end
        near = int(doubtful.sum(dim=1).argmax())
        members = doubtful[near].clone()
        members[near] = True
        places = members.nonzero()[:, 0]
        again = _centred_gram(sources, places, near, scale)
        nearer, still = _distances(again), doubtful[places][:, places]
        distances[places[:, None], places] = torch.where(still, nearer, distances[places][:, places])
        left, own = _doubtful(nearer, again.diagonal()), int((places == near).nonzero()[0])
        left[own], left[:, own] = False, False
        doubtful[places[:, None], places] = left & still
    return _tied(sources, Products(scale, distances, squares * scale.square()))


def capped_by(squares: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What caps each row, and the squared norms of the capped rows [rows] each, fp64.

    Args:
        squares: squared norms of the rows as they are [rows], fp64.
    """
    scale = _scale(squares, 0)
    return scale, squares * scale.square()


def beside_vector(sources: Sequence[torch.Tensor], vector: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Squared norms of the rows as they are, and their products with a vector [rows] each, fp64, in one pass.

    Args:
        sources: as in `products`.
        vector: fp32 [columns]; None for norms only, the products are 0 then.
    """
    rows, parts = sum(len(source) for source in sources), [(source, None) for source in sources]

    def of_columns(first: int, last: int) -> torch.Tensor:
        total = torch.zeros(2, rows, dtype=torch.float64, device=sources[0].device)
        for columns, block in fp64_blocks(parts, first, last):
            total[0] += torch.linalg.vecdot(block, block)
            if vector is not None:
                total[1] += block @ vector[columns].to(block)
        return total.cpu()

    squares, along = torch.stack(over_columns(sources[0].shape[1], of_columns, rows)).sum(dim=0)
    return squares, along


def _gram(
    parts: Sequence[Part],
    columns: int,
    scale: torch.Tensor | None = None,
    centre: tuple[torch.Tensor, float] | None = None,
) -> torch.Tensor:
    """Inner products of the rows of all parts [rows, rows], fp64.

    Args:
        parts: rows of sources.
        columns: how many each has.
        scale: what each row is multiplied by [rows], fp64; None for 1.
        centre: what is taken off each row: a vector [columns], fp32, and what it is multiplied by.
    """
    rows = sum(len(source) if places is None else len(places) for source, places in parts)

    def of_columns(first: int, last: int) -> torch.Tensor:
        total = torch.zeros(rows, rows, dtype=torch.float64, device=parts[0][0].device)
        for place, block in fp64_blocks(parts, first, last):
            if scale is not None:
                block *= scale[:, None]
            if centre is not None:
                block -= centre[0][place].to(block) * centre[1]
            total += _square(block)
        return total.cpu()

    return torch.stack(over_columns(columns, of_columns, rows)).sum(dim=0)


def _square(block: torch.Tensor) -> torch.Tensor:
    """`block @ block.T` [rows, rows]; numpy sees that it is symmetric, and takes half the time."""
    if block.device.type != "cpu":
        return block @ block.T
    values = block.numpy()
    return torch.from_numpy(np.matmul(values, values.T))


def _centred_gram(
    sources: Sequence[torch.Tensor], members: torch.Tensor, centre: int, scale: torch.Tensor
) -> torch.Tensor:
    """Inner products of some scaled rows [members, members], fp64, relative to one of them.

    Args:
        sources: all rows.
        members: numbers of rows, in ascending order.
        centre: number of a row.
        scale: of all rows.
    """
    device, before, parts = sources[0].device, 0, list[Part]()
    for source in sources:
        own = members[(members >= before) & (members < before + len(source))] - before
        if len(own):
            parts.append((source, own.to(device)))
        before += len(source)
    source, place = _locate(sources, centre)
    scales = scale[members].to(device)
    return _gram(parts, source.shape[1], scales, (source[place], float(scale[centre])))


def _tied(sources: Sequence[torch.Tensor], found: Products) -> Products:
    """The same, with what is said of equal rows equal to the last bit: ties are broken by equality.

    A matrix product may add the same numbers up in another order where they stand in another place.
    """
    close = found.distances <= _ALIKE * (found.squares[:, None] + found.squares)
    first = torch.arange(len(found.squares))
    for row, other in close.triu(1).nonzero().tolist():
        if first[row] == row and first[other] == other and _equal(sources, row, other):
            first[other] = row
    return Products(found.scale[first], found.distances[first][:, first], found.squares[first])


def _equal(sources: Sequence[torch.Tensor], row: int, other: int) -> bool:
    (one, place), (two, beside) = _locate(sources, row), _locate(sources, other)
    return torch.equal(one[place], two[beside].to(one.device))


def _distances(gram: torch.Tensor) -> torch.Tensor:
    squares = gram.diagonal()
    distances = squares[:, None] + squares - 2 * gram
    return ((distances + distances.T) / 2).clamp_min_(0.0).fill_diagonal_(0.0)


def _doubtful(distances: torch.Tensor, squares: torch.Tensor) -> torch.Tensor:
    """Pairs whose distance is a small difference of large numbers [rows, rows]."""
    found: torch.Tensor = distances < CANCELS * (squares[:, None] + squares)
    return found.fill_diagonal_(False)


def _scale(squares: torch.Tensor, beside: int) -> torch.Tensor:
    """What caps each row [rows], 1 for the last `beside`; a median norm of 0 says nothing."""
    norms = squares.sqrt()
    own = norms[: len(norms) - beside]
    middle = own.sort().values[(len(own) - 1) // 2]
    cap = NORM_CAP * middle if middle > 0 else own.max()
    scale = torch.where(norms > cap, cap / norms.clamp_min(1e-300), 1.0)
    scale[len(own) :] = 1.0
    return scale


def _locate(sources: Sequence[torch.Tensor], row: int) -> tuple[torch.Tensor, int]:
    for source in sources:
        if row < len(source):
            return source, row
        row -= len(source)
    raise IndexError(row)
