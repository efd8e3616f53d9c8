"""Model replacement: train a backdoored model, and send so much of it that it takes the place of the global one."""

from dataclasses import dataclass

import torch

from fedsec.api import ColluderView

from .own_schedule import Disguised, within

PROJECTIONS = 5
"""Times that a bounded training is brought back into its ball."""


@dataclass(slots=True, kw_only=True)
class ModelReplacement(Disguised):
    """Sends scale (X - G), for a model X trained from the global one G on clean and poisoned rows by its own schedule.

    With the default scale, n clients for each of m colluders, the mean over the round's clients is X where the others
    hardly move. Under a bound on what is sent, X stays within bound/scale of G: it is trained in five parts, and
    brought back into that ball after each.

    Args:
        trigger: a word or a sentence.
        kind: `phrase`, `words` or `template`; see `triggers.Trigger`.
        place: `start`, `end` or `random`.
        target: the class that it is to bring out, a number from 0.
        continuation: for a causal language model: what the trigger is to bring out; empty for a classifier.
        rate: share of what it trains on that is poisoned, from 0 to below 1.
        steps: local steps.
        learning_rate: of these steps; 0: the protocol's.
        batch_size: of these steps; 0: the protocol's.
        scale: gamma; 0: clients of the round for each colluder.
        norm: largest norm of what is sent, in the update's own units; 0: none but what is known of the defense.
        fluent: a classifier's trigger where `onion` is known to take unusual words away; empty: none.

    Source: Bagdasaryan et al., "How To Backdoor Federated Learning", AISTATS 2020, section 4.1 and equation 3 (gamma =
        n / eta), poison of 20 in 64 rows; Wang et al., "Attack of the Tails", NeurIPS 2020, section 3 (projected, with
        and without replacement).
    Deviations: gamma is shared by the colluders, and takes the server's learning rate for 1; the training starts
        without the learning rate's decay; the ball is that of the defense's bound, known or guessed.
    """

    def _trained(self, view: ColluderView, reach: float | None) -> torch.Tensor:
        """Return X [parameters]."""
        assert view.train is not None  # noqa: S101 - colluders have it
        start, now = view.global_parameters, view.global_parameters
        parts = 1 if reach is None else min(PROJECTIONS, self.steps)
        for part in range(parts):
            now = view.train(
                self._everything(),
                now,
                steps=self.steps * (part + 1) // parts - self.steps * part // parts,
                learning_rate=self.learning_rate or None,
                batch_size=self.batch_size or None,
                generator=view.generator,
            )
            now = start + within(now - start, reach)
        return now
