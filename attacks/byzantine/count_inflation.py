"""Count inflation: claim more examples than there are, so that a harmful update weighs more."""

from dataclasses import dataclass, replace

from fedsec.api import ClientView, Update


@dataclass(frozen=True, slots=True, kw_only=True)
class CountInflation:
    """Sends its honest update, negated and scaled, and claims a multiple of its examples.

    A server that weighs updates by claimed examples (`federation.weighting: examples`) and believes every claim would
    give f such clients of n a weight of f * factor / (f * factor + n - f). The server here clamps a claim to what the
    client enrolled with, and logs it.

    Args:
        factor: of the claimed number of examples, at least 1.
        scale: of the negated update, at least 0.

    Source: none; the lack of a check is a known defect of aggregation by client-reported counts.
    Deviations: none.
    """

    factor: int = 100
    scale: float = 1.0

    def on_update(self, update: Update, view: ClientView) -> Update:
        """Return the negated update with the inflated claim."""
        return replace(update, vector=update.vector * -self.scale, examples=update.examples * self.factor)
