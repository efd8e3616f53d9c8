"""SecAgg+: secure aggregation in which each client shares masks with some of the others."""

from dataclasses import dataclass, field

import torch

from fedsec.api import ExchangeContext, Measured

from ..keys import Identity
from .secagg import play


@dataclass(frozen=True, slots=True, kw_only=True)
class SecAggPlus:
    """SecAgg on a regular graph: masks and shares go to `neighbours` others, and not to everybody.

    Args:
        neighbours: of each client, an even number; all others where there are no more.
        range: the largest magnitude of an entry; what lies outside saturates at it.
        threshold: the fraction of a neighbourhood, and of a round's clients, of which more have to stay to the end.

    Source: Bell et al., "Secure Single-Server Aggregation with (Poly)Logarithmic Overhead", CCS 2020, section 3.
    Deviations: the graph is drawn from the session and the list of advertised clients by everybody alike, not by the
        server or by committed choices; the consistency round is that of the whole list, signed by neighbours; the
        primitives and the encoding are those of `secagg`.
    """

    neighbours: int = 20
    range: float = 8.0
    threshold: float = 2 / 3
    _identities: dict[int, Identity] = field(default_factory=dict, init=False, repr=False, compare=False)

    def exchange(self, rows: torch.Tensor, weights: torch.Tensor, context: ExchangeContext) -> Measured:
        """Return the weighted mean of the clients that stayed until their masked update arrived."""
        return play(rows, weights, context, self.range, self.threshold, self.neighbours, self._identities)
