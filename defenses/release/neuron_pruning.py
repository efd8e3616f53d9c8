"""Neuron pruning (fine-pruning): units that the server's samples leave idle are cut out, and the rest is fine-tuned."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from fedsec.api import Layout, ParameterInfo, ReleaseView, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class NeuronPruning:
    """Cuts units out, the least active ones on the server's samples first, as long as accuracy there holds.

    A trigger's units are idle on clean texts. Under LoRA the units are those of the adapters' bottlenecks, which are
    all that clients train beside the head: `rank` of them in each adapted matrix. Otherwise they are the units of the
    last layer, which feed the classifier. A unit of LoRA that is cut out stays so in the fine-tuning; what one of the
    last layer sends on may grow there again, and is cut out once more at the end.

    Args:
        drop: accuracy on the server's samples that may be lost before the fine-tuning, from 0 to 1.
        group: share of the units that are cut out at a time, above 0; one unit always stays.
        steps: of the fine-tuning; 0 leaves it out.
        learning_rate: of these steps; 0: the protocol's.
        batch_size: of these steps; 0: the protocol's.

    Raises:
        ValueError: neither LoRA factors nor a head are trained.

    Source: Liu, Dolan-Gavitt and Garg, "Fine-Pruning: Defending Against Backdooring Attacks on Deep Neural Networks",
        RAID 2018, sections 3.1 (pruning by average activation, until accuracy has fallen by 4 %) and 3.3 (then
        fine-tuning).
    Deviations: units of adapters or of the last layer, where they prune channels of the last convolution; activations
        in size, since these units may be negative; groups of units, where they cut one after the other.
    """

    drop: float = 0.04
    group: float = 0.05
    steps: int = 50
    learning_rate: float = 0.0
    batch_size: int = 0

    def on_release(self, parameters: torch.Tensor, view: ReleaseView) -> torch.Tensor:
        """Return the pruned and fine-tuned parameters [parameters]."""
        assert view.right is not None and view.inputs is not None  # noqa: S101, PT018 - the card's precondition
        units = idle_first(view.inputs(parameters), view.layout)
        floor, cut = view.right(parameters) - self.drop, 0
        size = max(1, min(round(self.group * len(units)), len(units) - 1))
        for stop in range(size, len(units), size):  # one at least stays
            if view.right(pruned(parameters, view.layout, units[:stop])) < floor:
                break
            cut = stop
        kept = pruned(parameters, view.layout, units[:cut])
        if not self.steps:
            return kept
        tuned = view.train(
            view.trusted,
            kept,
            steps=self.steps,
            learning_rate=self.learning_rate or None,
            batch_size=self.batch_size or None,
            generator=view.generator,
        )
        return pruned(tuned, view.layout, units[:cut])


Unit = tuple[str, int]
"""The name of the linear map that a unit feeds, and its number among the map's inputs."""


def idle_first(activity: Mapping[str, torch.Tensor], layout: Layout) -> list[Unit]:
    """Return the units that may be cut out, the least active first; the layout's order where they are alike.

    Args:
        activity: mean size of each input of a trained linear map, by its name [inputs].
        layout: of the flat vector.

    Raises:
        ValueError: there are none.
    """
    maps = [info for info in layout.find(Role.ADAPTER) if info.factor == "B"] or list(layout.find(Role.HEAD))
    units = [(info.name, unit) for info in maps if info.name in activity for unit in range(len(activity[info.name]))]
    if not units:
        raise ValueError("neuron-pruning needs trained LoRA factors or a trained head: take model.tuning.kind: lora")
    return sorted(units, key=lambda one: float(activity[one[0]][one[1]]))


def pruned(parameters: torch.Tensor, layout: Layout, units: Sequence[Unit]) -> torch.Tensor:
    """Return the parameters with everything at 0 that these units send on [parameters], a copy.

    Of a LoRA unit what enters it is set to 0 as well, so that neither gets a gradient.
    """
    found, known = parameters.clone(), {info.name: info for info in layout.parameters}
    for name, unit in units:
        _outgoing(layout.tensor(found, name), known[name], unit).zero_()
        entering = name.replace("lora_B", "lora_A")
        if known[name].factor == "B" and entering in known:
            layout.tensor(found, entering)[unit].zero_()  # A [rank, inputs]
    return found


def _outgoing(matrix: torch.Tensor, info: ParameterInfo, unit: int) -> torch.Tensor:
    """Return what a unit sends on: a column of [outputs, inputs], or a row of a matrix stored the other way round."""
    return matrix[unit] if info.inputs_first else matrix[:, unit]
