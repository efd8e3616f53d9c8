"""Tests whether a few points of a graph touch all of its edges."""


def has_cover(neighbours: list[int], left: int, budget: int) -> bool:
    """Return whether at most `budget` points touch every edge between the points in `left`.

    Points that are forced are taken first: all of more neighbours than the budget, and the only neighbour of a point.
    What remains is decided at once where no point has more than two neighbours (rings, which take half their points,
    rounded up); else by trying the point of most neighbours, or all of its three or more neighbours: in the order of
    1.47^budget trials at most. A graph of more edges than the budget times its largest degree, or with more edges that
    share no point than the budget, has no cover.

    Args:
        neighbours: for each point, the bits of the points that it has an edge to.
        left: bits of the points that count.
        budget: at least 0.

    Source: textbook (Downey and Fellows, "Parameterized Complexity", 1999, section 3.2).
    Deviations: none.
    """
    while True:
        degrees = [(point, (neighbours[point] & left).bit_count()) for point in _bits(left)]
        most, degree = max(degrees, key=lambda entry: entry[1], default=(0, 0))
        if degree == 0:
            return True
        if sum(degree for _, degree in degrees) > 2 * budget * degree:
            return False
        if degree > budget:
            left, budget = left & ~(1 << most), budget - 1
            continue
        leaf = next((point for point, degree in degrees if degree == 1), None)
        if leaf is None:
            break
        left, budget = left & ~(neighbours[leaf] & left), budget - 1
    if degree == 2:
        return _rings(neighbours, left) <= budget
    if _matching(neighbours, left, budget):
        return False
    if has_cover(neighbours, left & ~(1 << most), budget - 1):
        return True
    return has_cover(neighbours, left & ~(neighbours[most] | 1 << most), budget - degree)


def _bits(mask: int) -> list[int]:
    found = []
    while mask:
        lowest = mask & -mask
        found.append(lowest.bit_length() - 1)
        mask ^= lowest
    return found


def _rings(neighbours: list[int], left: int) -> int:
    """Points that cover disjoint rings, single points beside them."""
    needed = 0
    while left:
        ring = left & -left
        grown = 0
        while ring != grown:
            grown = ring
            for point in _bits(grown):
                ring |= neighbours[point] & left
        needed += (ring.bit_count() + 1) // 2 if ring.bit_count() > 1 else 0
        left &= ~ring
    return needed


def _matching(neighbours: list[int], left: int, budget: int) -> bool:
    """Whether more than `budget` edges that share no point are found, each of which needs a point of its own."""
    for point in _bits(left):
        partners = neighbours[point] & left
        if left >> point & 1 and partners:
            left &= ~(partners & -partners | 1 << point)
            budget -= 1
    return budget < 0
