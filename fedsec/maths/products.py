"""Inner products of many long rows, in one pass over them where that is accurate enough."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from fedsec.maths.threads import over_columns

NORM_CAP = 100.0
"""Rows above this many times the median norm are scaled down to it before products are taken."""

BLOCK = 8192
"""Columns per product: 50 rows of it are 1.6 MB in fp32, which stays in the cache."""

PIECE = 64
"""Columns over which fp32 products are summed up in fp32. How far such sums are off depends on the matrix library's
kernel, so they are short: with 256 columns, AVX-512 kernels missed the accuracy that `products` promises."""

EXACT_BELOW = 5e8
"""Multiplications up to which products are taken in fp64: 20 rows of a million columns, half a second at worst."""

CANCELS = 0.25
"""A squared distance below this share of the squares that it is the difference of is computed again, closer by."""

CANCELS_EXACT = 1e-8
"""The same in fp64."""

_ALIKE = 1e-10
"""Rows at a squared distance above this share of their squares are not equal, whatever rounding did."""

_SAMPLE, _PLACES = 128, 16
"""Columns in a row and places, in which rows are compared to find a centre among them."""

_SANE = (1e-12, 1e12)
"""Root mean squares of values whose squares and their sums fp32 holds."""


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
    """What is between all rows: from products in fp32 within blocks of columns and fp64 over them.

    Products are taken relative to a row amid the others. A distance between rows that are much closer to each other
    than to that row would lose its digits: such rows are taken again relative to one of themselves, and what still
    cancels then in fp64, relative to one after the other. Distances are good to 1e-6 relative (1e-5 between rows each
    of which holds one value throughout). Small problems are in fp64 at once, relative to the row of median norm.
    Centring on the mean would let one row at 1e3 ruin the distances among honest rows of spread 1e-3.

    Args:
        sources: fp32 [rows, columns] each, finite, of the same columns; rows may be files mapped into memory.
        beside: how many of the last rows have no say in what is far out of line, and are never scaled.
    """
    rows, columns = sum(len(source) for source in sources), sources[0].shape[1]
    everybody, ones = torch.arange(rows), torch.ones(rows, dtype=torch.float64)
    if rows * rows * columns > EXACT_BELOW:
        centre, typical = _amid(sources, rows)
        if _SANE[0] < typical < _SANE[1]:
            found = _one_pass(sources, everybody, centre, ones, torch.float32)
            sound = bool(found.centred.isfinite().all())
            scale = _scale(found.squares() if sound else _squared_norms(sources), beside)
            if bool((scale < 1).any()):
                found = _one_pass(sources, everybody, centre, scale, torch.float32)
            if bool(found.centred.isfinite().all()):
                distances = _closer(sources, found, centre, scale, (torch.float32, torch.float64))
                return _tied(sources, Products(scale, distances, _squares(sources, found, scale)))
    squares, own = _squared_norms(sources), rows - beside
    scale = _scale(squares, beside)
    centre = int(squares[:own].argsort()[(own - 1) // 2])
    found = _one_pass(sources, everybody, centre, scale, torch.float64)
    distances = _closer(sources, found, centre, scale, (torch.float64, torch.float64))
    return _tied(sources, Products(scale, distances, squares * scale.square()))


def capped(sources: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """What caps each row, and the squared norms of the capped rows [rows] each, fp64; without any other product.

    Args:
        sources: as in `products`.
    """
    squares = _squared_norms(sources)
    scale = _scale(squares, 0)
    return scale, squares * scale.square()


@dataclass(frozen=True, slots=True)
class _Pass:
    """Inner products relative to one row, the centre."""

    centred: torch.Tensor
    """Of the rows less the centre [rows, rows], fp64."""
    on_centre: torch.Tensor
    """Of the rows less the centre, with the centre [rows], fp64."""
    centre_square: torch.Tensor
    """Of the centre with itself, fp64 scalar."""

    def squares(self) -> torch.Tensor:
        """Squared norms of the rows [rows], fp64."""
        return (self.centred.diagonal() + 2 * self.on_centre + self.centre_square).clamp_min(0.0)


def _one_pass(
    sources: Sequence[torch.Tensor], members: torch.Tensor, centre: int, scale: torch.Tensor, dtype: torch.dtype
) -> _Pass:
    """Products of the `members` [count] among all rows, relative to the row `centre`, in one pass over the columns.

    Args:
        sources: all rows.
        members: numbers of rows; in ascending order.
        centre: number of a row.
        scale: of all rows.
        dtype: of the products within a block.
    """
    device, count = sources[0].device, len(members)
    parts = _parts(sources, members, scale.to(device, dtype))
    source, place = _locate(sources, centre)

    def of_columns(first_column: int, last: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        buffer = torch.empty(count, min(BLOCK, last - first_column), dtype=dtype, device=device)
        centred = torch.zeros(count, count, dtype=torch.float64, device=device)
        on_centre = torch.zeros(count, dtype=torch.float64, device=device)
        square = torch.zeros((), dtype=torch.float64, device=device)
        for start in range(first_column, last, BLOCK):
            stop = min(start + BLOCK, last)
            middle = source[place, start:stop].to(dtype) * float(scale[centre])  # [block]
            block = buffer[:, : stop - start]
            for part, places, own, first in parts:
                _less(part[:, start:stop], places, own, middle, block[first:])
            centred += _gram(block)
            on_centre += block @ middle
            square += middle.dot(middle)
        return centred.cpu(), on_centre.cpu(), square.cpu()

    found = over_columns(sources[0].shape[1], of_columns)
    centred, on_centre, square = (torch.stack(kind).sum(dim=0) for kind in zip(*found, strict=True))
    return _Pass(centred, on_centre, square)


def _gram(block: torch.Tensor) -> torch.Tensor:
    """Inner products of the rows of `block` [rows, columns], fp64: of short pieces in its own type, of these in fp64.

    Over long ones, sums of equal terms in fp32 all round one way: rows of one AdamW step hold such.
    """
    rows, columns = block.shape
    whole = columns - columns % PIECE
    pieces = block[:, :whole].view(rows, -1, PIECE).transpose(0, 1)  # [pieces, rows, PIECE]
    total = torch.bmm(pieces, pieces.transpose(1, 2)).sum(dim=0, dtype=torch.float64)
    rest = block[:, whole:]
    return total + rest @ rest.T


def _less(
    part: torch.Tensor,
    places: torch.Tensor | None,
    scale: torch.Tensor | None,
    middle: torch.Tensor,
    out: torch.Tensor,
) -> None:
    """Write rows of `part` [rows, block] times their scales, less `middle` [block], into the first rows of `out`."""
    chosen = part if places is None else part[places]
    out = out[: len(chosen)]
    if scale is None and out.dtype == chosen.dtype:
        torch.sub(chosen, middle, out=out)
        return
    out.copy_(chosen)
    if scale is not None:
        out.mul_(scale)
    out.sub_(middle)


def _closer(
    sources: Sequence[torch.Tensor], found: _Pass, centre: int, scale: torch.Tensor, types: Sequence[torch.dtype]
) -> torch.Tensor:
    """Squared distances [rows, rows], each taken from near enough to keep its digits.

    Args:
        sources: all rows.
        found: products of all rows, relative to `centre`, of the first of the types.
        centre: number of a row.
        scale: of all rows.
        types: of the products of further passes.
    """
    distances = _distances(found.centred)
    doubtful = _doubtful(distances, found.centred.diagonal(), types[0])
    doubtful[centre], doubtful[:, centre] = False, False  # a row's own square is its distance from the centre
    dtype = types[0]
    while bool(doubtful.any()):
        near = int(doubtful.sum(dim=1).argmax())
        members = doubtful[near].clone()
        members[near] = True
        rows = members.nonzero()[:, 0]
        again = _one_pass(sources, rows, near, scale, dtype)
        nearer, open_pairs = _distances(again.centred), doubtful[rows][:, rows]
        distances[rows[:, None], rows] = torch.where(open_pairs, nearer, distances[rows][:, rows])
        left, own = _doubtful(nearer, again.centred.diagonal(), dtype), int((rows == near).nonzero()[0])
        left[own], left[:, own] = False, False
        doubtful[rows[:, None], rows] = left & open_pairs
        dtype = types[1]  # every pass settles all pairs of one row, so that there is an end
    return distances


def _squares(sources: Sequence[torch.Tensor], found: _Pass, scale: torch.Tensor) -> torch.Tensor:
    """Squared norms [rows], fp64; in a pass of their own where a row is much shorter than the centre."""
    squares = found.squares()
    if bool((squares < CANCELS * (found.centred.diagonal() + found.centre_square)).any()):
        return _squared_norms(sources) * scale.square()
    return squares


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


def _distances(centred: torch.Tensor) -> torch.Tensor:
    squares = centred.diagonal()
    distances = squares[:, None] + squares - 2 * centred
    return ((distances + distances.T) / 2).clamp_min_(0.0).fill_diagonal_(0.0)


def _doubtful(distances: torch.Tensor, squares: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Pairs whose distance is a small difference of large numbers [rows, rows]."""
    share = CANCELS if dtype == torch.float32 else CANCELS_EXACT
    found: torch.Tensor = distances < share * (squares[:, None] + squares)
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


def _amid(sources: Sequence[torch.Tensor], rows: int) -> tuple[int, float]:
    """The row that half of the others are nearest to, and the size of its values, by a sample of the columns.

    A hostile row may look like one in the sample: that costs time and no digit.
    """
    columns = sources[0].shape[1]
    starts = torch.linspace(0, max(0, columns - _SAMPLE), _PLACES).long().tolist()
    sample = torch.cat([torch.cat([s[:, at : at + _SAMPLE] for at in starts], dim=1) for s in sources]).cpu().double()
    between = torch.cdist(sample, sample, compute_mode="donot_use_mm_for_euclid_dist")  # [rows, rows]
    centre = int(between.sort(dim=1).values[:, rows // 2].argmin())
    return centre, float(sample[centre].square().mean().sqrt())


def _parts(
    sources: Sequence[torch.Tensor], members: torch.Tensor, scale: torch.Tensor
) -> list[tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None, int]]:
    """Of each source: itself, its members' places (None: all), their scales (None: 1), and where they begin."""
    found, first, before = list[tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None, int]](), 0, 0
    for source in sources:
        own = members[(members >= before) & (members < before + len(source))]
        if len(own):
            places = None if len(own) == len(source) else (own - before).to(source.device)
            scales = scale[own.to(scale.device)][:, None]
            found.append((source, places, scales if bool((scales != 1).any()) else None, first))
        first, before = first + len(own), before + len(source)
    return found


def _locate(sources: Sequence[torch.Tensor], row: int) -> tuple[torch.Tensor, int]:
    for source in sources:
        if row < len(source):
            return source, row
        row -= len(source)
    raise IndexError(row)


def _squared_norms(sources: Sequence[torch.Tensor]) -> torch.Tensor:
    """fp64 [rows], so that 1e30 does not overflow."""

    def of_columns(first: int, last: int) -> torch.Tensor:
        found = []
        for source in sources:
            total = torch.zeros(len(source), dtype=torch.float64, device=source.device)
            buffer = torch.empty(len(source), min(BLOCK, last - first), dtype=torch.float64, device=source.device)
            for start in range(first, last, BLOCK):
                block = buffer[:, : min(BLOCK, last - start)]
                block.copy_(source[:, start : min(start + BLOCK, last)])
                total += block.square_().sum(dim=1)
            found.append(total.cpu())
        return torch.cat(found)

    return torch.stack(over_columns(sources[0].shape[1], of_columns)).sum(dim=0)
