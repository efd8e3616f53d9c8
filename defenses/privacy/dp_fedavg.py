"""DP-FedAvg: the server clips every client's update and adds Gaussian noise to their sum."""

from dataclasses import dataclass, field

import torch

from fedsec.api import Calibrated, GaussianMechanism, Measured, PrivacyTerms, RoundContext, Unit
from fedsec.maths.rows import Rows
from fedsec.privacy.accounting import noise_for


@dataclass(slots=True, kw_only=True)
class DPFedAvg:
    """Clips each client's update, sums, adds noise, and divides by the expected number of clients in a round.

    It hides whether a client takes part at all from everybody but the server, which has to be honest.

    Args:
        epsilon: target for the whole training, from which the noise is found before it starts; 0 takes
            `noise_multiplier` as it is.
        delta: at which epsilon is stated.
        clip: S, the norm that an update is scaled down to, above 0.
        noise_multiplier: the noise's standard deviation over S; only beside `epsilon: 0`.

    Raises:
        ValueError: both a target and a noise are given, or a value is out of range.

    Source: McMahan et al., "Learning Differentially Private Recurrent Language Models", ICLR 2018, algorithm 1
        (DP-FedAvg with the estimator of a fixed denominator and flat clipping).
    Deviations: all clients have the same weight, whatever they hold; the noise for a target is found by the PRV
        accountant instead of the moments accountant.
    """

    epsilon: float = 8.0
    delta: float = 1e-5
    clip: float = 1.0
    noise_multiplier: float = 0.0
    _noise: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other."""
        if not (self.epsilon >= 0 and 0 < self.delta < 1 and self.clip > 0 and self.noise_multiplier >= 0):
            raise ValueError("epsilon and noise_multiplier are at least 0, clip above 0, delta between 0 and 1")
        if self.epsilon > 0 and self.noise_multiplier > 0:
            raise ValueError("give a target epsilon or a noise_multiplier: set epsilon: 0 beside a noise_multiplier")

    def calibrate(self, terms: PrivacyTerms) -> Calibrated:
        """Choose the noise with which all rounds stay within epsilon."""
        self._noise = self.noise_multiplier
        if self.epsilon > 0:
            self._noise = noise_for(self.epsilon, self.delta, terms.sampling_rate, terms.steps)
        mechanism = GaussianMechanism(noise_multiplier=self._noise, unit=Unit.CLIENT)
        return Calibrated(mechanism=mechanism, delta=self.delta)

    def vector(self, rows: Rows, context: RoundContext) -> Measured:
        """Return the noisy mean [parameters], with the share of clipped updates and the norm of the noise.

        Without a client in the round it is noise alone, which nobody can tell from a round with one.
        """
        if self._noise is None:
            raise RuntimeError("a mechanism has to choose its noise, by calibrate(), before it runs")
        squares = sum((block.double().square().sum(dim=1) for block in rows.chunks()), torch.zeros(len(rows)).double())
        factors = (self.clip / squares.sqrt().clamp_min(1e-300)).clamp_max(1.0)  # [clients]
        total = torch.cat([factors @ block.double() for block in rows.chunks()]).float()  # [parameters]
        noise = torch.randn(len(total), generator=context.generator) * (self._noise * self.clip)
        expected = context.training.cohort
        measured = {
            "clip-fraction": float((factors < 1).double().sum()) / max(1, len(rows)),
            "noise-norm": float(noise.norm()) / expected,
        }
        spent = GaussianMechanism(noise_multiplier=self._noise, unit=Unit.CLIENT)
        return Measured((total + noise) / expected, measured, spent)
