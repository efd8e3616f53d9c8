"""Zero: send nothing but zeros."""

from dataclasses import dataclass, replace

import torch

from fedsec.api import ClientView, Update


@dataclass(frozen=True, slots=True, kw_only=True)
class Zero:
    """Sends the zero vector.

    A crash that looks like an answer: f of n such clients shorten the plain mean by f / n. It finds what divides by a
    norm.

    Source: none, the usual crash-type attack of benchmarks.
    Deviations: none.
    """

    def on_update(self, update: Update, view: ClientView) -> Update:
        """Return the crafted update; the claimed number of examples stays honest."""
        return replace(update, vector=torch.zeros_like(update.vector))
