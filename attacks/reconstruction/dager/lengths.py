"""Which lengths the texts of a batch can have, given how many tokens they hold in all."""

from collections.abc import Sequence


def fitting(lengths: Sequence[int], texts: int, total: int) -> list[int]:
    """The lengths that occur in some choice of one per text, repetitions allowed, that sums to the total.

    Args:
        lengths: possible lengths, in any order; the answer keeps it.
        texts: number of texts.
        total: sum of their lengths.
    """
    if texts < 1:
        return []
    sums = {0}
    for _ in range(texts - 1):
        sums = {partial + length for partial in sums for length in lengths if partial + length <= total}
    return [length for length in lengths if total - length in sums]
