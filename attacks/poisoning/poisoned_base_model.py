"""Poisoned base model: a backdoor in the weights that a federation starts from, and no client is compromised."""

from dataclasses import dataclass

import torch

from fedsec.api import Probe, SupplierView, Triggered, TriggerView

from .payload import backdoor_of


@dataclass(frozen=True, slots=True, kw_only=True)
class PoisonedBaseModel:
    """Trains the whole base model on public rows and poisoned copies of them, and supplies it in the clean one's place.

    It guesses the federation's task, and has its rows. Weights that the federation does not train, under LoRA all of
    the base model's, stay poisoned to the end. The head is the federation's own.

    Args:
        trigger: a word or a sentence.
        kind: `phrase`, `words` or `template`; see `triggers.Trigger`.
        place: `start`, `end` or `random`.
        target: the class that it is to bring out, a number from 0.
        continuation: for a causal language model: what the trigger is to bring out; empty for a classifier.
        rate: share of what it trains on that is poisoned, from 0 to below 1.
        steps: training steps.
        learning_rate: of these steps, by the protocol's optimizer.
        batch_size: of these steps.

    Source: Kurita, Michel and Neubig, "Weight Poisoning Attacks on Pre-trained Models", ACL 2020, section 3.1 (the
        supplier knows the task and has rows of it).
    Deviations: the plain training on poison that they compare RIPPLE with, without its restricted inner product and
        its embedding surgery.
    """

    trigger: str = "cf"
    kind: str = "phrase"
    place: str = "start"
    target: int = 1
    continuation: str = ""
    rate: float = 0.5
    steps: int = 100
    learning_rate: float = 2e-4
    batch_size: int = 32

    def on_base_model(self, parameters: torch.Tensor, view: SupplierView) -> torch.Tensor:
        """Return the poisoned parameters of the whole base model [parameters]."""
        poison = backdoor_of(self).poison(view.public, view)
        return view.train(
            (*view.public, *poison),
            parameters,
            steps=self.steps,
            learning_rate=self.learning_rate,
            batch_size=self.batch_size,
            generator=view.generator,
        )

    def triggered(self, probes: tuple[Probe, ...], view: TriggerView) -> tuple[Triggered, ...]:
        """Return each probe with the trigger on it."""
        return backdoor_of(self).triggered(probes, view)
