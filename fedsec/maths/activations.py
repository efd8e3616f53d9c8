"""What enters one module inside a larger one, without running the rest."""

from typing import Any

import torch
from torch import nn


class _Reached(Exception):
    """Stops a forward pass at the module that was waited for."""

    def __init__(self, value: torch.Tensor) -> None:
        super().__init__()
        self.value = value


def layer_input(model: nn.Module, target: str, **inputs: Any) -> torch.Tensor:
    """The first argument of the submodule `target` when `model` runs on `inputs`, without gradients.

    Nothing behind the target runs; the model's weights, mode and hooks are as before.

    Args:
        model: any module.
        target: name of the submodule as in `named_modules`.
        inputs: keyword arguments of the model's forward.

    Raises:
        ValueError: the forward pass never calls the submodule.
    """

    def stop(_: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        raise _Reached(arguments[0])

    handle = model.get_submodule(target).register_forward_pre_hook(stop)
    try:
        with torch.no_grad():
            model(**inputs)
    except _Reached as reached:
        return reached.value
    finally:
        handle.remove()
    raise ValueError(f"the model's forward pass does not call {target}")
