"""Long fp32 rows in fp64, a cache's worth of columns at a time."""

from collections.abc import Iterator, Sequence

import torch

ENTRIES = 1 << 19
"""Values converted at a time, 4 MiB in fp64: longer blocks leave the cache, shorter ones cost more per call."""

Part = tuple[torch.Tensor, torch.Tensor | None]
"""A source [rows, columns], fp32, and which of its rows count; None for all."""


def fp64_blocks(parts: Sequence[Part], first: int, last: int) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield the rows of all parts in fp64, block by block: the columns and their values [rows, block].

    The values are overwritten by the next block; until then they are the caller's to change.

    Args:
        parts: of the same columns.
        first: the first column.
        last: the column after the last.
    """
    counts = [len(source) if places is None else len(places) for source, places in parts]
    rows = sum(counts)
    width = min(max(1, ENTRIES // max(1, rows)), last - first)
    buffer = torch.empty(rows, width, dtype=torch.float64, device=parts[0][0].device)
    for start in range(first, last, width):
        columns = slice(start, min(start + width, last))
        block = buffer[:, : columns.stop - start]
        for (source, places), own in zip(parts, block.split(counts), strict=True):
            own.copy_(source[:, columns] if places is None else source[places, columns])
        yield columns, block
