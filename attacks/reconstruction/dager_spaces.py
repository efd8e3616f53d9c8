"""What an update tells of the inputs of a layer's attention: the span of what entered its projections."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedsec.api import ParameterInfo, Role, RoundView
from fedsec.maths.row_space import RowSpace, rounding_noise, row_space

from .texts import only

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class LayerSpace:
    """The inputs of one layer's attention, as far as the update tells."""

    query: str
    """The query projection's module name."""
    space: RowSpace


def layer_space(view: RoundView, row: "Tensor", layer: int) -> LayerSpace | None:
    """The span of what entered a layer's query, key and value projections; None if the update says nothing."""
    layout = view.model.layout
    infos = [only(layout, role, layer) for role in (Role.QUERY, Role.KEY, Role.VALUE)]
    parts = [by_input(layout.tensor(row, info.name), view, info) for info in infos]
    if not all(bool(part.any()) for part in parts):
        return None
    noise = None
    if view.training.update == "delta":
        noise = [_rounding(view, row, info) for info in infos]
    return LayerSpace(query=infos[0].name.removesuffix(".weight"), space=row_space(parts, noise))


def by_input(gradient: "Tensor", view: RoundView, info: ParameterInfo) -> "Tensor":
    """A projection's update as [outputs, inputs] (Conv1D of GPT-2 stores it the other way round)."""
    module = view.model.module.get_submodule(info.name.removesuffix(".weight"))
    return gradient.T if type(module).__name__ == "Conv1D" else gradient


def _rounding(view: RoundView, row: "Tensor", info: ParameterInfo) -> float:
    """Standard deviation of the rounding of a matrix's difference over the local steps."""
    stored = view.model.module.get_parameter(info.name) + view.model.layout.tensor(row, info.name)
    return float(rounding_noise(stored).square().mean().mul(view.training.local_steps).sqrt())
