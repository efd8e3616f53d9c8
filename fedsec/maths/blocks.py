"""A large tensor a cache's worth at a time: what is computed on the way then takes no memory of its own."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

ENTRIES = 1 << 18
"""1 MiB of fp32. Fresh memory for a whole update costs more, page by page, than most of what is done with it."""


def blocks(tensor: "Tensor", entries: int = ENTRIES) -> Iterator["Tensor"]:
    """Flat views of a contiguous tensor, of at most `entries` entries each; writing to them writes to it.

    Raises:
        RuntimeError: for a tensor that is not contiguous.
    """
    yield from tensor.view(-1).split(entries)
