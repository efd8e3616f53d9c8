"""Adaptive robust clipping: before a rule, the longest rows are scaled down to the next longest."""

from dataclasses import dataclass

from fedsec.api import Mixed, RoundContext
from fedsec.maths.rows import Rows

from .norms import clipped_to, norms_of


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveRobustClipping:
    """Scales the k = floor(2 f/n (n-f)) longest rows down to the norm of the longest of the others.

    Source: Allouah et al., "Adaptive Gradient Clipping for Robust Federated Learning", arXiv 2405.14432, algorithm ARC.
    Deviations: none.
    """

    def mix(self, rows: Rows, context: RoundContext) -> Mixed:
        """Return the rows, the k longest of them scaled down."""
        n, f = len(rows), context.declared_malicious
        norms = norms_of(rows)
        clipped = 2 * f * (n - f) // n  # in whole numbers: 2 * (f / n) * (n - f) may fall short of one
        return Mixed(clipped_to(norms, norms.sort(descending=True).values[clipped]), f)
