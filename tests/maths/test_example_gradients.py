"""Gradients of all rows from one pass against a backward pass for each row, in fp64."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from fedsec.api import TrainingSettings
from fedsec.data.tokens import Batch
from fedsec.maths.example_gradients import ExampleGradients
from fedsec.models import tiny_bert, tiny_gpt2, tiny_llama
from fedsec.models.flat import FlatModel
from fedsec.models.local import LocalTrainer, sample_losses
from fedsec.models.tuning import prepare

from ..bounds import within

pytestmark = pytest.mark.numeric

MODELS: dict[str, Callable[..., Any]] = {
    "bert": lambda task, **k: tiny_bert.load(width=32, **k),
    "gpt2": lambda task, **k: tiny_gpt2.load(width=32, task=task, **k),
    "llama": lambda task, **k: tiny_llama.load(width=32, task=task, **k),
}
CASES = [
    (name, task, kind)
    for name in MODELS
    for task in ("sequence-classification", "causal-lm")
    for kind in ("full", "head", "lora")
    if (name, task) != ("bert", "causal-lm")
]
SGD = TrainingSettings(update="delta", optimizer="sgd", learning_rate=0.1, local_steps=1, batch_size=5)


def _model(name: str, task: str, kind: str) -> FlatModel:
    base = MODELS[name](task, labels=3, generator=torch.Generator().manual_seed(1))
    module, setup = prepare(
        base.module,
        kind=kind,
        rank=4,
        train_embeddings=True,
        dropout=False,
        generator=torch.Generator().manual_seed(2),
        task=task,
    )
    model = FlatModel(module, setup)
    # Factors B begin at 0, and a causal model's loss would say nothing of its factors A.
    model.values.add_(0.05 * torch.randn(model.values.shape, generator=torch.Generator().manual_seed(3)))
    model.module.eval()
    return model


def _batch(model: FlatModel, task: str, lengths: tuple[int, ...] = (7, 3, 9, 5, 6)) -> Batch:
    generator, padding = torch.Generator().manual_seed(4), model.module.config.pad_token_id or 0
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(10, 200, mask.shape, generator=generator).masked_fill(mask == 0, padding)
    if task == "causal-lm":
        return Batch(ids, mask, ids.masked_fill(mask == 0, -100))
    return Batch(ids, mask, torch.randint(0, 3, (len(lengths),), generator=generator))


def _rows(model: FlatModel, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients and losses, one backward pass for each row."""
    found, losses = [], []
    for place in range(len(batch.input_ids)):
        model.gradient.zero_()
        loss = sample_losses(model, batch.row(place)).sum()
        loss.backward()
        found.append(model.gradient.clone())
        losses.append(loss.detach())
    model.gradient.zero_()
    return torch.stack(found), torch.stack(losses)


def _once(model: FlatModel, batch: Batch) -> tuple[torch.Tensor, torch.Tensor] | None:
    named = zip(model.layout.parameters, model.layout.offsets, strict=True)
    examples = ExampleGradients(model.module, {info.name: at for info, at in named}, model.layout.size)
    return examples.of(lambda: sample_losses(model, batch), len(batch.input_ids))


@pytest.mark.parametrize(("name", "task", "kind"), CASES)
def test_one_pass_gives_what_a_loop_gives(name: str, task: str, kind: str) -> None:
    model = _model(name, task, kind)
    batch = _batch(model, task)
    expected, losses = _rows(model, batch)
    found = _once(model, batch)
    assert found is not None, "every layer of these models gives factors"
    rows, of_rows = found
    norms = expected.norm(dim=1)
    assert bool((norms > 0).all())
    within("gradients of single rows", ((rows - expected).norm(dim=1) / norms).max(), 2e-6)
    assert torch.allclose(of_rows, losses, rtol=1e-5)
    assert not model.gradient.any(), "no parameter got a gradient"
    assert not any(module._forward_hooks for module in model.module.modules())


def test_a_row_alone_and_rows_of_one_token() -> None:
    model = _model("bert", "sequence-classification", "full")
    for lengths in ((4,), (1, 1, 1)):
        batch = _batch(model, "sequence-classification", lengths)
        found = _once(model, batch)
        assert found is not None
        assert torch.allclose(found[0], _rows(model, batch)[0], atol=1e-6)


class _Odd(nn.Module):
    """A layer whose gradient no rule here knows."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.tanh(inputs * self.weight)


def test_a_layer_without_factors_is_left_to_a_loop() -> None:
    module = nn.Sequential(nn.Linear(4, 4), _Odd())
    examples = ExampleGradients(module, {"0.weight": 0, "0.bias": 16, "1.weight": 20}, 24)
    assert not examples.covers
    assert examples.of(lambda: module(torch.ones(2, 4)).sum(dim=1), 2) is None
    assert ExampleGradients(module, {"0.weight": 0, "0.bias": 16}, 20).covers, "it is asked about what is trained"


def test_a_layer_that_mixes_rows_is_left_to_a_loop() -> None:
    module = nn.Linear(4, 4)
    examples = ExampleGradients(module, {"weight": 0, "bias": 16}, 20)
    assert examples.of(lambda: module(torch.ones(6, 4)).sum(dim=1).view(2, 3).sum(dim=1), 2) is None


def test_the_trainer_falls_back_to_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model("bert", "sequence-classification", "head")
    batch = _batch(model, "sequence-classification")
    trainer = LocalTrainer(model, SGD, dropout=False)
    at_once = trainer._rows(batch)
    monkeypatch.setattr(ExampleGradients, "of", lambda *_: None)
    in_turn = LocalTrainer(model, SGD, dropout=False)._rows(batch)
    assert torch.allclose(at_once[0], in_turn[0], atol=1e-6)
    assert torch.allclose(at_once[1], in_turn[1], rtol=1e-5)
