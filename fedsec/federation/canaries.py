"""Step 2 of a round: the canaries of an audit that a client's batches hold beside its texts."""

from collections.abc import Sequence

import numpy as np
import torch

from fedsec.api import Canary
from fedsec.data.tokens import Batch, CanaryRows


def with_canaries(
    batches: Sequence[Batch], canaries: Sequence[Canary], rate: float, generator: np.random.Generator
) -> list[Batch]:
    """Return a client's batches, each with the canaries that a coin of their own drew for it.

    Args:
        batches: one per local step.
        canaries: those that the client trains on.
        rate: the probability of each for a step, as of the client's texts.
        generator: draws.
    """
    places = torch.tensor([one.place for one in canaries], dtype=torch.long)
    values = torch.tensor([one.norm for one in canaries], dtype=torch.float32)
    found = []
    for batch in batches:
        drawn = torch.from_numpy(generator.random(len(places)) < rate)
        found.append(batch._replace(canaries=CanaryRows(places[drawn], values[drawn]) if drawn.any() else None))
    return found
