"""Blocks of a tensor: all of it, once, in order, and written through."""

import pytest
import torch

from fedsec.maths.blocks import blocks


@pytest.mark.parametrize("entries", [1, 7, 12, 100])
def test_all_entries_once_and_in_order(entries: int) -> None:
    tensor = torch.arange(12.0).view(3, 4)
    parts = list(blocks(tensor, entries))
    assert torch.equal(torch.cat(parts), tensor.flatten())
    assert max(len(part) for part in parts) <= entries
    for part in parts:
        part.add_(1.0)
    assert torch.equal(tensor, torch.arange(1.0, 13.0).view(3, 4))


def test_copies_are_refused() -> None:
    with pytest.raises(RuntimeError):
        list(blocks(torch.zeros(3, 4).T))
