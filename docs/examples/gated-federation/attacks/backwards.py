"""A hospital that works against the federation."""

from dataclasses import dataclass, replace

from fedsec.api import ClientView, Update


@dataclass(frozen=True)
class Backwards:
    """Sends `-scale` times the honest update. Source: none, our own. Deviations: none."""

    scale: float = 10.0

    def on_update(self, update: Update, view: ClientView) -> Update:
        """Return the update to send instead."""
        return replace(update, vector=-self.scale * update.vector)
