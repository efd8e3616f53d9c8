"""The seed tree: one independent stream per (purpose, round, client), never the global generators.

Streams are counter-based children of one seed, so adding an attack leaves every honest client's stream as it was.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


class SeedTree:
    """Random generators keyed by their purpose.

    Args:
        seed: the cell's seed, at least 0.
    """

    def __init__(self, seed: int) -> None:
        if seed < 0:
            raise ValueError(f"a seed is at least 0, not {seed}")
        self._seed = seed

    def _sequence(self, purpose: str, round_number: int, client: int) -> np.random.SeedSequence:
        digest = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "little")
        return np.random.SeedSequence(entropy=(self._seed, digest, round_number, client + 1))

    def numpy(self, purpose: str, *, round_number: int = 0, client: int = -1) -> np.random.Generator:
        """Return a numpy generator for that purpose."""
        return np.random.default_rng(self._sequence(purpose, round_number, client))

    def key(self, purpose: str, round_number: int = 0, client: int = -1) -> bytes:
        """Return a key of 32 bytes for that purpose, as secret as the seed."""
        return self._sequence(purpose, round_number, client).generate_state(4, np.uint64).tobytes()

    def torch(self, purpose: str, *, round_number: int = 0, client: int = -1) -> torch.Generator:
        """Return a torch CPU generator for that purpose."""
        state = self._sequence(purpose, round_number, client).generate_state(1, np.uint64)[0]
        generator = torch.Generator()
        generator.manual_seed(int(state) & (2**63 - 1))
        return generator


@contextmanager
def scoped_torch_rng(generator: torch.Generator) -> Iterator[None]:
    """Let code that needs torch's global CPU generator (dropout, weight initialisation) draw from `generator`.

    The global generator is as it was afterwards.
    """
    before = torch.get_rng_state()
    torch.set_rng_state(generator.get_state())
    try:
        yield
    finally:
        torch.set_rng_state(before)
