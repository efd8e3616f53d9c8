"""Norm bound: before a rule, each row is scaled down to a fixed norm."""

from dataclasses import dataclass

from fedsec.api import Mixed, RoundContext
from fedsec.maths.rows import Rows

from .norms import clipped_to, norms_of


@dataclass(frozen=True, slots=True, kw_only=True)
class NormBound:
    """Scales each row that is longer than `bound` down to that: row * min(1, bound / |row|).

    Args:
        bound: the largest norm of an update, in its own units.

    Source: Sun et al., "Can You Really Backdoor Federated Learning?", arXiv 1911.07963 (2019), norm thresholding.
    Deviations: without the noise that the paper may add; rows above 100 times the median norm are scaled down to that
        even if the bound lies higher.
    """

    bound: float = 1.0

    def mix(self, rows: Rows, context: RoundContext) -> Mixed:
        """Return the rows, none longer than the bound."""
        return Mixed(clipped_to(norms_of(rows), self.bound), context.declared_malicious)
