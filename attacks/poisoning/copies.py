"""Poisoned copies beside a client's clean rows: which rows, drawn once and kept in every round."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from fedsec.api import Sample

from .rows import by_origin, drawn


@dataclass(slots=True)
class Copies:
    """The rows that a client copies, as its data would be the same in every round."""

    drawn: list[tuple[int, float]] | None = None
    """Origin of each copy, and its own draw in 0..1; None before the first round."""

    def of(
        self, samples: Sequence[Sample], could: Callable[[Sample], bool], rate: float, generator: torch.Generator
    ) -> list[tuple[Sample, float]]:
        """Return the rows to copy, each with its draw in 0..1.

        A row is copied again once all that could be have been; without any, nothing is copied.

        Args:
            samples: the client's.
            could: whether a row may be copied.
            rate: share of the copies in all that the client trains on, from 0 to below 1.
            generator: draws them in the first round.
        """
        own = by_origin(samples)
        if self.drawn is None:
            count = round(len(own) * rate / (1.0 - rate))
            origins = drawn([origin for origin, sample in own.items() if could(sample)], count, generator)
            shares = torch.rand(len(origins), generator=generator, dtype=torch.float64).tolist()
            self.drawn = list(zip(origins, shares, strict=True))
        return [(own[origin], share) for origin, share in self.drawn if origin in own]

    def state(self) -> Mapping[str, Any]:
        """Return the copied rows and their draws."""
        return {} if self.drawn is None else {"copies": [list(one) for one in self.drawn]}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore them."""
        copies = state.get("copies")
        self.drawn = None if copies is None else [(int(origin), float(share)) for origin, share in copies]
