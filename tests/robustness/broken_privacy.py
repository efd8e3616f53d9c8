"""DP-SGD as others have got it wrong: each variant promises what the right one does, and keeps less of it.

Which one is at work shows in nothing that the ledger is told. The names of cards are `dp-sgd-...`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from fedsec import registry
from fedsec.api import Calibrated, DefenseCard, GaussianMechanism, Measured, PrivacyTerms, StepView
from fedsec.defenses.privacy.dp_sgd import DPSGD, clipped_sum
from fedsec.federation import spending
from fedsec.privacy.ledger import Ledger


@dataclass(slots=True, kw_only=True)
class TenthOfTheNoise(DPSGD):
    """Adds a tenth of the noise that it reports."""

    def on_step(self, view: StepView) -> Measured:
        honest = self._noise
        assert honest is not None
        self._noise = honest / 10
        found = DPSGD.on_step(self, view)
        self._noise = honest
        return replace(found, spent=GaussianMechanism(noise_multiplier=honest))


@dataclass(slots=True, kw_only=True)
class ClippedAfterTheMean(DPSGD):
    """Clips the mean of a batch, where every record has to be clipped by itself."""

    def on_step(self, view: StepView) -> Measured:
        each = view.example_gradients()
        mean, _ = clipped_sum(each.sum(dim=0, keepdim=True) / view.expected_rows, self.clip)
        noise = torch.randn(len(mean), generator=view.client.generator)
        assert self._noise is not None
        noise *= self._noise * self.clip / view.expected_rows
        return Measured(mean + noise, {}, GaussianMechanism(noise_multiplier=self._noise))


@dataclass(slots=True, kw_only=True)
class AccountantOfOneRound(DPSGD):
    """Chooses its noise for the steps of a round, beside a ledger that is new in every round (`forgetful`)."""

    steps: int = 1

    def calibrate(self, terms: PrivacyTerms) -> Calibrated:
        return DPSGD.calibrate(self, replace(terms, steps=self.steps))


class ForgetfulLedger(Ledger):
    """A ledger that is reset in every round of one local step: it states what the last of them spent."""

    def spend(self, client: int, label: str, mechanism: GaussianMechanism) -> None:
        self._accounts[client, label].steps.clear()
        Ledger.spend(self, client, label, mechanism)


RIGHT = "dp-sgd"
BROKEN = {
    "dp-sgd-tenth-of-the-noise": TenthOfTheNoise,
    "dp-sgd-clipped-after-the-mean": ClippedAfterTheMean,
    "dp-sgd-accountant-of-one-round": AccountantOfOneRound,
}
VARIANTS = (RIGHT, *BROKEN)


@contextmanager
def broken() -> Iterator[None]:
    """The cards of the variants among the registered ones."""
    usual: DefenseCard = registry.defenses().get(RIGHT)
    cards = [replace(usual, name=name, target=f"{__name__}:{kind.__name__}") for name, kind in BROKEN.items()]
    for card in cards:
        registry.defenses().register(card)
    try:
        yield
    finally:
        for card in cards:
            registry.defenses().remove(card.name)


@contextmanager
def ledger_of(variant: str) -> Iterator[None]:
    """The ledger that a variant comes with."""
    usual: Any = spending.Ledger
    if variant == "dp-sgd-accountant-of-one-round":
        spending.Ledger = ForgetfulLedger  # type: ignore[misc]
    try:
        yield
    finally:
        spending.Ledger = usual  # type: ignore[misc]
