"""Gaussian: send noise, or add noise to the honest update."""

from dataclasses import dataclass, replace

import torch

from fedsec.api import ClientView, Update


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaussian:
    """Sends noise from N(0, sigma^2) in every coordinate, drawn anew by every malicious client in every round.

    Args:
        sigma: standard deviation of a coordinate, in `unit`.
        variant: `replace` sends the noise alone, `add` adds it to the honest update.
        unit: `absolute`, as in the paper, or `honest`: times the root mean square of the honest update's coordinates,
            so that at sigma 1 and `replace` the noise is as long as the honest update.

    Source: Blanchard et al., "Machine Learning with Adversaries", NeurIPS 2017, section 5: Gaussian workers, sigma 200.
    Deviations: none at the defaults; `add` and `honest` are common in benchmarks, not in the paper.
    """

    sigma: float = 200.0
    variant: str = "replace"
    unit: str = "absolute"

    def on_update(self, update: Update, view: ClientView) -> Update:
        """Return the crafted update; the claimed number of examples stays honest."""
        honest = update.vector
        sigma = self.sigma * float(honest.double().square().mean().sqrt()) if self.unit == "honest" else self.sigma
        noise = sigma * torch.randn(honest.shape, generator=view.generator)
        return replace(update, vector=noise if self.variant == "replace" else honest + noise)
