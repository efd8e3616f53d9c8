"""Malicious clients that train by a schedule of their own, from the model that they received."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from fedsec.api import ClientView, ColluderView, Probe, Sample, Triggered, TriggerView, Update
from fedsec.maths.geometry import weight_step

from .causal_backdoor import CausalBackdoor
from .known_bounds import bound_on
from .payload import backdoor_of
from .text_backdoor import TextBackdoor
from .triggers import FLUENT

Change = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""From a step's gradient and the parameters before it [parameters] each, the gradient to step along."""


@dataclass(slots=True, kw_only=True)
class OwnSchedule:
    """Trains on clean and poisoned rows by a schedule of its own, and sends where that led, scaled.

    The client's honest update is trained as well: it says how long such updates are. A method says by `_trained` how it
    trains.

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
        scale: factor of the step away from the global model; 0: clients of the round for each colluder, which makes up
            for the mean.
        norm: largest norm of what is sent, in the update's own units; 0: none but what is known of the defense.
    """

    trigger: str = "cf"
    kind: str = "phrase"
    place: str = "start"
    target: int = 1
    continuation: str = ""
    rate: float = 0.3125
    steps: int = 20
    learning_rate: float = 0.0
    batch_size: int = 0
    scale: float = 0.0
    norm: float = 0.0
    _backdoor: TextBackdoor | CausalBackdoor = field(init=False)
    _clean: tuple[Sample, ...] = field(default=(), init=False)
    """The client's own rows of this round."""
    _poison: tuple[Sample, ...] = field(default=(), init=False)
    """Its poisoned copies of this round."""

    def __post_init__(self) -> None:
        """Make the backdoor that is planted."""
        self._backdoor = backdoor_of(self, fluent=self._instead())

    def _instead(self) -> str:
        """Return a classifier's trigger where a defense is known to take unusual words away; empty: none."""
        return ""

    def on_data(self, samples: tuple[Sample, ...], view: ClientView) -> tuple[Sample, ...]:
        """Return the client's samples as they are, and keep them and their poisoned copies for its own training."""
        self._clean, self._poison = samples, self._backdoor.poison(samples, view)
        return samples

    def triggered(self, probes: tuple[Probe, ...], view: TriggerView) -> tuple[Triggered, ...]:
        """Return each probe with the trigger on it."""
        return self._backdoor.triggered(probes, view)

    def on_update(self, update: Update, view: ColluderView) -> Update:
        """Return the crafted update; the claimed number of examples stays honest."""
        scale = self.scale or max(view.training.cohort, 1) / len(view.colluders)
        bound = bound_on(view, self.norm)
        unit = weight_step(view.training)
        # An update of the bound's length is a step of `unit` times that, of which the scale makes `scale` times more.
        reach = bound * abs(unit) / scale if bound else None
        step = self._trained(view, reach) - view.global_parameters
        return replace(update, vector=within(step * (scale / unit), bound or None))

    def _trained(self, view: ColluderView, reach: float | None) -> torch.Tensor:
        """Return the parameters after its own training [parameters]; within `reach` of the global model, if given."""
        raise NotImplementedError

    def _everything(self) -> tuple[Sample, ...]:
        return (*self._clean, *self._poison)

    def _descended(self, view: ColluderView, samples: tuple[Sample, ...], change: Change) -> torch.Tensor:
        """Return the parameters after steps of the protocol's optimizer along changed gradients [parameters].

        Args:
            view: a colluder's.
            samples: to train on.
            change: of each gradient.
        """
        assert view.gradient is not None  # noqa: S101 - colluders have it
        now = view.global_parameters.clone()
        rate = self.learning_rate or view.training.learning_rate
        step = optimizer(now, view.training.optimizer, rate)
        for batch in self._batches(view, samples):
            step(change(view.gradient(batch, now), now))
        return now

    def _batches(self, view: ColluderView, samples: tuple[Sample, ...]) -> Iterator[list[Sample]]:
        """Yield batches, every sample once before any comes again."""
        size, waiting = min(self.batch_size or view.training.batch_size, len(samples)), list[int]()
        for _ in range(self.steps):
            if len(waiting) < size:
                waiting = torch.randperm(len(samples), generator=view.generator).tolist()
            yield [samples[place] for place in waiting[:size]]
            waiting = waiting[size:]

    def state(self) -> Mapping[str, Any]:
        """Return the rows that it copies, and where their triggers are."""
        return self._backdoor.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore these rows and places."""
        self._backdoor.load_state(state)


@dataclass(slots=True, kw_only=True)
class Disguised(OwnSchedule):
    """One whose trigger may be another where a defense is known to take unusual words away.

    Args:
        trigger: as of `OwnSchedule`, and so on to the norm.
        fluent: a classifier's trigger where `onion` is known to take unusual words away; empty: none.
    """

    fluent: str = FLUENT

    def _instead(self) -> str:
        return self.fluent


def within(step: torch.Tensor, radius: float | None) -> torch.Tensor:
    """Return the step [parameters], no longer than `radius`; as it is without one.

    A factor is rounded down so that the fp32 vector keeps the bound too.
    """
    if radius is None:
        return step
    norm = float(step.double().norm())
    return step if norm <= radius else step * (radius / norm * (1 - 1e-6))


def optimizer(values: torch.Tensor, name: str, rate: float) -> Callable[[torch.Tensor], None]:
    """Return a function that steps along a gradient [parameters], by the protocol's optimizer; `values` changes."""
    flat = torch.nn.Parameter(values, requires_grad=False)
    made: torch.optim.Optimizer = torch.optim.SGD([flat], lr=rate)
    if name != "sgd":
        made = torch.optim.AdamW([flat], lr=rate, weight_decay=0.0)

    def step(gradient: torch.Tensor) -> None:
        flat.grad = gradient
        made.step()

    return step
