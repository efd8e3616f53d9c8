"""DP-SGD: every record's gradient is clipped, and every step's sum gets Gaussian noise."""

from dataclasses import dataclass, field
from math import isfinite

import torch

from fedsec.api import Calibrated, GaussianMechanism, Measured, PrivacyTerms, StepView
from fedsec.privacy.accounting import noise_for


@dataclass(slots=True, kw_only=True)
class DPSGD:
    """Clips the gradient of each row of a batch, sums, adds noise, and divides by the expected number of rows.

    Args:
        epsilon: target for the whole training, from which the noise is found before it starts; 0 takes
            `noise_multiplier` as it is.
        delta: at which epsilon is stated.
        clip: C, the norm that a row's gradient is scaled down to, above 0; infinite leaves it as it is.
        noise_multiplier: the noise's standard deviation over C; only beside `epsilon: 0`.

    Raises:
        ValueError: both a target and a noise are given, or a value is out of range.

    Source: Abadi et al., "Deep Learning with Differential Privacy", CCS 2016, algorithm 1.
    Deviations: one clip for all layers (their section 5.1 allows one for each); a causal model's row has the mean loss
        of its tokens; the noise for a target is found by the PRV accountant instead of the moments accountant.
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
        """Choose the noise with which all of a client's steps stay within epsilon."""
        found = self.noise_multiplier
        if self.epsilon > 0:
            found = noise_for(self.epsilon, self.delta, terms.sampling_rate, terms.steps)
        self._noise = found
        return Calibrated(mechanism=GaussianMechanism(noise_multiplier=found), delta=self.delta)

    def on_step(self, view: StepView) -> Measured:
        """Return the noisy mean [parameters], with the share of clipped rows and the norms of signal and noise."""
        if self._noise is None:
            raise RuntimeError("a mechanism has to choose its noise, by calibrate(), before it runs")
        each = view.example_gradients()  # [rows, parameters]
        total, clipped = clipped_sum(each, self.clip)
        signal = float(total.norm()) / view.expected_rows
        measured = {"signal-norm": signal}
        if len(each):
            measured["clip-fraction"] = clipped
        if self._noise > 0:
            noise = torch.randn(len(total), generator=view.client.generator).to(total.device)
            noise *= self._noise * self.clip
            measured["noise-norm"] = float(noise.norm()) / view.expected_rows
            total += noise
        return Measured(total / view.expected_rows, measured, GaussianMechanism(noise_multiplier=self._noise))


def clipped_sum(each: torch.Tensor, bound: float) -> tuple[torch.Tensor, float]:
    """Return the sum of rows scaled down to a norm [parameters], and the share of rows that were scaled.

    A row that holds what is no number counts as 0: no record moves the sum by more than the bound.

    Args:
        each: [rows, parameters], fp32.
        bound: above 0; infinite scales nothing.
    """
    norms = torch.linalg.vector_norm(each, dim=1, dtype=torch.float64)  # [rows]
    finite = norms.isfinite()
    factors = torch.where(finite, 1.0, 0.0)
    if isfinite(bound):
        factors *= (bound / norms.clamp_min(1e-300)).clamp_max(1.0).nan_to_num(0.0)
    if not bool(finite.all()):
        each = torch.where(finite[:, None], each, 0.0)
    share = float((factors < 1).double().mean()) if len(each) else 0.0
    return factors.to(each.dtype) @ each, share
