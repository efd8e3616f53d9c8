"""What tests of update defenses share: a client's view without a federation around it."""

import torch

from fedsec.api import ClientView, Layout, ParameterInfo, Role, TrainingSettings


def view(*shapes: tuple[int, ...], seed: int = 0) -> ClientView:
    """A client whose model has tensors of these shapes, one after the other.

    Args:
        shapes: of each tensor.
        seed: of the hook's generator.
    """
    infos = tuple(ParameterInfo(f"t{i}", shape, Role.OTHER) for i, shape in enumerate(shapes))
    sizes = [int(torch.Size(shape).numel()) for shape in shapes]
    offsets = tuple(sum(sizes[:i]) for i in range(len(sizes)))
    return ClientView(
        client=0,
        round=1,
        global_parameters=torch.zeros(sum(sizes)),
        layout=Layout(infos, offsets, sum(sizes)),
        training=TrainingSettings(update="gradient", optimizer="sgd", learning_rate=0.1, local_steps=1, batch_size=1),
        generator=torch.Generator().manual_seed(seed),
    )


def heavy(count: int, seed: int) -> torch.Tensor:
    """An update with entries of very different size, some of them 0, as gradients have [count]."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(count, generator=generator) ** 3
    values[torch.rand(count, generator=generator) < 0.1] = 0.0
    return values
