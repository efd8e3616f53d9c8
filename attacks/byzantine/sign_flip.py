"""Sign flip: send the negated, scaled honest update."""

from dataclasses import dataclass, replace

from fedsec.api import ClientView, Update


@dataclass(frozen=True, slots=True, kw_only=True)
class SignFlip:
    """Sends `-scale` times the client's own honest update.

    Args:
        scale: factor, at least 0; 1 is the plain sign flip.

    Source: Li et al., "RSA: Byzantine-Robust Stochastic Aggregation Methods", AAAI 2019, sign-flipping attack.
    Deviations: the client's own update is negated, not the honest mean, which it need not know.
    """

    scale: float = 1.0

    def on_update(self, update: Update, view: ClientView) -> Update:
        """Return the crafted update; the claimed number of examples stays honest."""
        return replace(update, vector=update.vector * -self.scale)
