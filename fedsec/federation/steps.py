"""Step 3 of a round: a client's hooks around each of its local steps."""

from collections.abc import Callable, Sequence

import torch

from fedsec.api import ClientView, StepHook, StepView
from fedsec.federation.measurements import Measurements

Gradient = Callable[[], torch.Tensor]


class StepHooks:
    """One client's step hooks in one round, each with its view; a later one wraps those before it.

    Args:
        hooks: (label, hook, the client's view for it), in the stack's order.
        measurements: of the round.
    """

    def __init__(self, hooks: Sequence[tuple[str, StepHook, ClientView]], measurements: Measurements) -> None:
        self._hooks, self._measurements = hooks, measurements

    def gradient(self, step: int, parameters: torch.Tensor, plain: Gradient, per_example: Gradient) -> torch.Tensor:
        """What the outermost hook makes of a step's gradient [parameters].

        Args:
            step: from 0.
            parameters: the local trainables [parameters].
            plain: the gradient of the batch's mean loss.
            per_example: the gradients of the rows' losses [rows, parameters].

        Raises:
            ValueError: a hook returned no fp32 tensor of that shape.
        """
        beneath = plain
        for label, hook, view in self._hooks:
            beneath = _wrapped(label, hook, StepView(
                client=view, step=step, parameters=parameters, gradient=beneath, example_gradients=per_example
            ), self._measurements)  # fmt: skip
        return beneath()


def _wrapped(label: str, hook: StepHook, view: StepView, measurements: Measurements) -> Gradient:
    def gradient() -> torch.Tensor:
        found = measurements.of(label, hook.on_step(view))
        shape = view.parameters.shape
        if not isinstance(found, torch.Tensor) or found.dtype != torch.float32 or found.shape != shape:
            raise ValueError(f"{label} returned no fp32 gradient of shape {list(shape)}")
        return found

    return gradient
