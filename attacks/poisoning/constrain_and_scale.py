"""Constrain and scale: a backdoor trained to stay near the global model, so that it is not taken for an anomaly."""

from dataclasses import dataclass

import torch

from fedsec.api import ColluderView

from .own_schedule import Disguised, within


@dataclass(slots=True, kw_only=True)
class ConstrainAndScale(Disguised):
    """Trains on alpha times the loss plus 1 - alpha times the distance from the global model, and sends it scaled.

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
        alpha: weight of the loss, from 0 to 1; the rest is that of the distance.

    Source: Bagdasaryan et al., "How To Backdoor Federated Learning", AISTATS 2020, section 4.2 and algorithm 1:
        L = alpha L_class + (1 - alpha) L_ano, with the distance of the weights for L_ano.
    Deviations: the training does not end early at a small loss; gamma is shared by the colluders.
    """

    alpha: float = 0.7

    def _trained(self, view: ColluderView, reach: float | None) -> torch.Tensor:
        """Return the trained parameters [parameters]."""
        start = view.global_parameters

        def constrained(gradient: torch.Tensor, now: torch.Tensor) -> torch.Tensor:
            away = now - start
            norm = float(away.norm())
            pull = away / norm if norm > 0 else away  # the gradient of the distance; taken for 0 at its corner
            return self.alpha * gradient + (1 - self.alpha) * pull

        return start + within(self._descended(view, self._everything(), constrained) - start, reach)
