"""Gaussian noise: noise is added to every entry of an update before it leaves the client."""

from dataclasses import dataclass, replace

import torch

from fedsec.api import ClientView, Update
from fedsec.maths.blocks import blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianNoise:
    """Adds independent N(0, s^2) to every entry of the update, drawn anew for each client and round.

    Args:
        sigma: where `relative`, the noise's norm over the update's (its root mean square: s = sigma |u| / sqrt(n) for
            an update u of n entries); otherwise s itself, as papers on inversion quote it.
        relative: which of the two.

    Source: Balunovic et al., "LAMP: Extracting Text from Gradients with Language Model Priors", NeurIPS 2022,
        table 5 (absolute sigma on the gradient); after Zhu et al., "Deep Leakage from Gradients", NeurIPS 2019,
        section 5.1.
    Deviations: sigma is relative by default, so that one setting means the same for models and batches of any size.
    """

    sigma: float = 1e-3
    relative: bool = True

    def on_update(self, update: Update, view: ClientView) -> Update:
        """Return the noisy update; an update of zeros gets no noise where sigma is relative."""
        vector = update.vector.detach().clone()
        spread = self.sigma
        if self.relative:
            square = sum(float(part.norm(dtype=torch.float64)) ** 2 for part in blocks(vector))
            spread *= (square / len(vector)) ** 0.5
        for part in blocks(vector):
            part.add_(torch.randn(part.shape, generator=view.generator), alpha=spread)
        return replace(update, vector=vector)
