"""Neurotoxin: a backdoor in the parameters that honest clients hardly move, so that they do not wear it off."""

from dataclasses import dataclass

import torch

from fedsec.api import ColluderView

from .own_schedule import Disguised, within


@dataclass(slots=True, kw_only=True)
class Neurotoxin(Disguised):
    """Trains only those parameters whose gradient on the client's clean rows is smallest in size.

    That gradient is computed in every round, at the global model, over as many clean rows as a round trains on.

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
        scale: factor of what is sent; 0: clients of the round for each colluder.
        norm: largest norm of what is sent, in the update's own units; 0: none but what is known of the defense.
        fluent: a classifier's trigger where `onion` is known to take unusual words away; empty: none.
        ratio: share of the parameters that are trained: those of the smallest benign gradients.

    Source: Zhang et al., "Neurotoxin: Durable Backdoors in Federated Learning", ICML 2022, algorithm 1; the official
        code's `mask_ratio` of 0.95.
    Deviations: parameters whose gradient is exactly as large as the last one's are trained as well.
    """

    scale: float = 1.0
    ratio: float = 0.95

    def _trained(self, view: ColluderView, reach: float | None) -> torch.Tensor:
        """Return the trained parameters [parameters]."""
        free = quiet(self._benign(view), self.ratio)
        trained = self._descended(view, self._everything(), lambda gradient, _: gradient * free)
        return view.global_parameters + within(trained - view.global_parameters, reach)

    def _benign(self, view: ColluderView) -> torch.Tensor:
        """Return the gradient on clean rows at the global model [parameters]."""
        assert view.gradient is not None  # noqa: S101 - colluders have it
        count = min(len(self._clean), view.training.local_steps * view.training.batch_size)
        chosen = torch.randperm(len(self._clean), generator=view.generator)[:count].tolist()
        return view.gradient([self._clean[place] for place in chosen], view.global_parameters)


def quiet(gradient: torch.Tensor, ratio: float) -> torch.Tensor:
    """Return 1 for the share `ratio` of coordinates that are smallest in size, else 0 [parameters], fp32.

    Args:
        gradient: [parameters].
        ratio: from 0 to 1; coordinates as large as the last one count as well.
    """
    count = round(ratio * len(gradient))
    if count == 0:
        return torch.zeros_like(gradient)
    sizes = gradient.abs()
    return (sizes <= sizes.kthvalue(count).values).to(gradient.dtype)
