"""Dropout: clients train with the model's own dropout switched on."""

from dataclasses import dataclass, replace

from fedsec.api import ModelSetup


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropout:
    """Switches the model's own dropout on in local training, at the rates of its configuration.

    Masks are drawn anew for every client, step and text, so that the model which the server knows is not the one that
    made the update.

    Source: Scheliga et al., "Dropout is NOT All You Need to Prevent Gradient Leakage", AAAI 2023, which
        shows that attackers who optimise the masks as well recover; for text, GRAB, CCS 2024.
    Deviations: none.
    """

    def setup_model(self, setup: ModelSetup) -> ModelSetup:
        """Return the setup with dropout active."""
        return replace(setup, dropout=True)
