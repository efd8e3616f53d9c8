"""Step 9: what comes of a training under a stack of defenses that act on the trained model, or before it.

One training serves any number of such stacks.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, fields
from typing import Any

import torch

from fedsec.api import ReleaseView, Watched
from fedsec.data.tokens import chosen
from fedsec.federation.evaluation import Evaluation, evaluate
from fedsec.federation.monitor import Monitor
from fedsec.federation.own_training import OwnTraining
from fedsec.federation.parties import Federation
from fedsec.federation.plugins import Stack
from fedsec.federation.release import Known, prepared
from fedsec.federation.writing import Written
from fedsec.models.entering import mean_inputs


@dataclass(slots=True)
class Released:
    """A model as it is released, and how it does."""

    final: Evaluation
    """Evaluation of the released model, behind its inference-time defenses."""
    end: torch.Tensor
    """The released parameters [parameters]."""
    watched: dict[str, Watched]
    """The model's answers on a goal's texts."""
    stack: dict[str, Any]
    """State of the server-side defenses after the release."""
    measured: dict[str, Mapping[str, float]]
    """What inference-time defenses measured on the test set (`test`) and on a goal's texts."""
    before: Evaluation | None = None
    """Evaluation of the model before training; only where it is asked to write."""
    written: Written | None = None
    """What it wrote; only where it is asked to."""

    def parts(self) -> dict[str, Any]:
        """Return all of it by name."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


@dataclass(slots=True)
class Releases:
    """A trained model that is to be released.

    Args:
        federation: that trained it.
        monitor: what evaluated it.
        start: the trainables before training [parameters].
        trained: after it [parameters].
    """

    federation: Federation
    monitor: Monitor
    start: torch.Tensor
    trained: torch.Tensor

    @property
    def known(self) -> Known:
        """Return what inference-time defenses know."""
        return self.federation.known

    def under(self, stack: Stack) -> Released:
        """Return what is released under a stack; the resident model holds the released parameters afterwards."""
        f, monitor = self.federation, self.monitor
        end = prepared(self.trained, stack.release_hooks, self._view)
        state = deepcopy(stack.state())  # what a defense learnt for the release guards it too
        final, watched, measured = monitor.final(end, stack, changed=end is not self.trained)
        before, written = monitor.written(self.start, end, stack)
        f.model.load(end)
        return Released(
            final=final, end=end, watched=watched, stack=state, measured=measured, before=before, written=written
        )

    def _view(self, label: str) -> ReleaseView:
        """Return what a defense of that label sees before the release."""
        f, training = self.federation, self.federation.settings.training
        own = OwnTraining(f.model, training, f.tokenise, f.tokenizer, f.classes, dropout=f.model.setup.dropout)
        held, pad_id = chosen(f.train, f.trusted), f.tokenizer.pad_token_id

        def right(parameters: torch.Tensor) -> float:
            return evaluate(f.model, parameters, held, pad_id, f.processes).accuracy

        def inputs(parameters: torch.Tensor) -> dict[str, torch.Tensor]:
            return mean_inputs(f.model, parameters, held, pad_id)

        return ReleaseView(
            layout=f.model.layout,
            training=training,
            classes=f.classes,
            tokenizer=f.tokenizer,
            trusted=f.trusted_samples,
            train=own.train,
            right=right if len(f.trusted) else None,
            inputs=inputs if len(f.trusted) else None,
            generator=f.seeds.torch(f"release {label}"),
        )
