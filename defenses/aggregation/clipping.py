"""Clipping: before a rule, long rows are scaled down to a multiple of the round's median norm."""

from dataclasses import dataclass

from fedsec.api import Mixed, RoundContext
from fedsec.maths.rows import Rows

from .norms import clipped_to, norms_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Clipping:
    """Scales each row that is longer than `factor` times the median norm down to that.

    Of an even number of rows, the median is the mean of the two middle norms.

    Args:
        factor: radius, in median norms of the round.

    Source: Nguyen et al., "FLAME", USENIX Security 2022, adaptive clipping (factor 1).
    Deviations: of FLAME, neither its clustering nor its noise.
    """

    factor: float = 1.0

    def mix(self, rows: Rows, context: RoundContext) -> Mixed:
        """Return the rows, none longer than the radius."""
        norms = norms_of(rows)
        return Mixed(clipped_to(norms, self.factor * norms.quantile(0.5)), context.declared_malicious)
