"""Several sets of trainables in one pass, against one set after the other."""

from typing import Any

import pytest
import torch

from fedsec.data.tokens import Batch
from fedsec.maths.stacked import StackedSets
from fedsec.models.flat import FlatModel
from fedsec.models.local import sample_losses

from .test_example_gradients import CASES, _model

SETS, ROWS, LENGTH = 3, 2, 6


def _batch(task: str) -> Batch:
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 90, (SETS * ROWS, LENGTH), generator=draw)
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    labels = ids.clone() if task == "causal-lm" else torch.randint(3, (SETS * ROWS,), generator=draw)
    return Batch(ids, mask, labels)


def _values(model: FlatModel) -> torch.Tensor:
    draw = torch.randn(SETS, model.layout.size, generator=torch.Generator().manual_seed(1))
    return model.values.clone() + 0.02 * draw


@pytest.mark.numeric
@pytest.mark.parametrize(("name", "task", "kind"), CASES)
def test_losses_and_gradients_of_each_set_are_its_own(name: str, task: str, kind: str) -> None:
    model = _model(name, task, kind)
    model.module.eval()
    batch, values = _batch(task), _values(model).requires_grad_()
    sets = StackedSets(model.module, tuple(info.name for info in model.layout.parameters))
    assert sets.covers
    with sets.running(values, ROWS):
        found = sample_losses(model, batch)
    found.sum().backward()
    assert values.grad is not None
    for place in range(SETS):
        rows = slice(place * ROWS, (place + 1) * ROWS)
        model.load(values[place].detach())
        model.gradient.zero_()
        own = sample_losses(model, Batch(*(part[rows] for part in batch[:3])))
        own.sum().backward()
        torch.testing.assert_close(found[rows], own, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(values.grad[place], model.gradient, rtol=1e-4, atol=1e-5)


def test_afterwards_the_module_is_as_it_was() -> None:
    model = _model("bert", "sequence-classification", "lora")
    model.module.eval()
    before, batch = model.snapshot(), _batch("sequence-classification")
    losses = sample_losses(model, batch)
    sets = StackedSets(model.module, tuple(info.name for info in model.layout.parameters))
    with pytest.raises(RuntimeError, match="stop"), sets.running(_values(model), ROWS):
        raise RuntimeError("stop")
    assert torch.equal(model.snapshot(), before)
    assert torch.equal(sample_losses(model, batch), losses)
    assert not any("forward" in vars(part) for part in model.module.modules())


def test_a_layer_of_another_kind_is_not_covered() -> None:
    module: Any = torch.nn.Sequential(torch.nn.Bilinear(2, 2, 2))
    assert not StackedSets(module, ("0.weight",)).covers
