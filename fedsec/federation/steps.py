"""Step 3 of a round: a client's hooks around each of its local steps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from fedsec.api import ClientView, GaussianMechanism, Measured, StepHook, StepView
from fedsec.errors import FedsecError
from fedsec.federation.measurements import Measurements
from fedsec.federation.plugins import state_of

Gradient = Callable[[], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Hooked:
    """One step hook of a client in one round."""

    label: str
    """The hook's label, unique in the client's stack."""
    hook: StepHook
    view: ClientView


@dataclass(slots=True)
class StepHooks:
    """One client's step hooks in one round; a later one wraps those before it.

    Args:
        hooks: in the stack's order.
        expected_rows: rows of a batch on average.
    """

    hooks: Sequence[Hooked]
    expected_rows: float
    measurements: Measurements = field(default_factory=Measurements)
    """Measurements of the hooks."""
    spent: list[tuple[str, GaussianMechanism]] = field(default_factory=list)
    """What the hooks spent of privacy, by label."""

    def gradient(self, step: int, parameters: torch.Tensor, plain: Gradient, per_example: Gradient) -> torch.Tensor:
        """Return what the outermost hook makes of a step's gradient [parameters].

        Args:
            step: from 0.
            parameters: the local trainables [parameters].
            plain: the gradient of the batch's loss.
            per_example: the gradients of the rows' losses [rows, parameters].

        Raises:
            ValueError: a hook returned no fp32 tensor of that shape.
            FedsecError: a hook that lies above another asks for rows' gradients.
        """
        beneath = plain
        for place, hooked in enumerate(self.hooks):
            rows = per_example if place == 0 else self._refused(place)
            view = StepView(
                client=hooked.view,
                step=step,
                parameters=parameters,
                gradient=beneath,
                example_gradients=rows,
                expected_rows=self.expected_rows,
            )
            beneath = self._wrapped(hooked, view)
        return beneath()

    def report(self) -> dict[str, Any]:
        """Return measurements and privacy spent, for the round's record and the ledger, in this process or another."""
        return {
            "measured": {name: list(values) for name, values in self.measurements.found.items()},
            "spent": [[label, one.noise_multiplier, one.unit.value] for label, one in self.spent],
            "memory": state_of([hooked.hook for hooked in self.hooks]),
        }

    def _wrapped(self, hooked: Hooked, view: StepView) -> Gradient:
        def gradient() -> torch.Tensor:
            found = hooked.hook.on_step(view)
            if isinstance(found, Measured):
                self.measurements.note(hooked.label, found)
                if found.spent is not None:
                    self.spent.append((hooked.label, found.spent))
                found = found.value
            shape = view.parameters.shape
            if not isinstance(found, torch.Tensor) or found.dtype != torch.float32 or found.shape != shape:
                raise ValueError(f"{hooked.label} returned no fp32 gradient of shape {list(shape)}")
            return found

        return gradient

    def _refused(self, place: int) -> Gradient:
        above, beneath = self.hooks[place], self.hooks[place - 1]

        def refuse() -> torch.Tensor:
            raise FedsecError(
                f"{above.label} takes the gradients of single rows, past what {beneath.label} makes of the gradient; "
                f"put {above.label} before {beneath.label} in the stack"
            )

        return refuse
