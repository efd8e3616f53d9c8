"""All trainables of one resident model as views into one flat fp32 vector."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod

import torch
from torch import nn

from fedsec.api import Layout, ModelSetup


class FlatModel:
    """A model whose trainable parameters, and their gradients, are views into two flat vectors.

    Copying a vector into `values` changes the model; nothing is ever deep-copied.

    Args:
        module: the model; parameters outside `setup.trainable` are frozen.
        setup: what is trained.

    Raises:
        ValueError: nothing is trainable, or a trainable name is unknown.
    """

    def __init__(self, module: nn.Module, setup: ModelSetup) -> None:
        self.module = module
        self.setup = setup
        self.layout = _layout(setup)
        self.values = torch.empty(self.layout.size)  # [parameters]
        self.gradient = torch.zeros(self.layout.size)  # [parameters]
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(name in setup.trainable)
            if name in setup.trainable:
                view = self.layout.tensor(self.values, name)
                view.copy_(parameter.data)
                parameter.data = view
                parameter.grad = self.layout.tensor(self.gradient, name)

    def load(self, vector: torch.Tensor) -> None:
        """Make `vector` [parameters] the model's trainables."""
        self.values.copy_(vector)

    @contextmanager
    def sparse_embeddings(self) -> Iterator[None]:
        """While training, add only the rows of a batch's words to the flat gradient; the sum is the same.

        A dense embedding gradient is as large as the vocabulary in every step. Outside, embeddings stay dense: what
        attacks differentiate expects that.
        """
        tables = [part for part in self.module.modules() if isinstance(part, nn.Embedding)]
        for table in tables:
            table.sparse = True
        try:
            yield
        finally:
            for table in tables:
                table.sparse = False

    def attached(self) -> bool:
        """Whether every trainable parameter and its gradient still are the views; a check for tests."""
        start, stop = self.values.data_ptr(), self.values.data_ptr() + 4 * self.layout.size
        low, high = self.gradient.data_ptr(), self.gradient.data_ptr() + 4 * self.layout.size
        return all(
            start <= p.data_ptr() < stop and p.grad is not None and low <= p.grad.data_ptr() < high
            for p in self.module.parameters()
            if p.requires_grad
        )


def _layout(setup: ModelSetup) -> Layout:
    known = {p.name for p in setup.parameters}
    unknown = sorted(setup.trainable - known)
    if unknown:
        raise ValueError(f"trainable parameters that the model does not have: {', '.join(unknown)}")
    chosen = tuple(p for p in setup.parameters if p.name in setup.trainable)
    if not chosen:
        raise ValueError("nothing is trainable: the defense stack froze every parameter that the tuning trains")
    offsets, size = [], 0
    for info in chosen:
        offsets.append(size)
        size += prod(info.shape)
    return Layout(parameters=chosen, offsets=tuple(offsets), size=size)
