"""bf16 for the pass, fp32 for what is trained; another device for the model, the CPU for what crosses the wire."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from fedsec.api import TrainingSettings
from fedsec.data.tokens import Tokenised, collate
from fedsec.federation.evaluation import evaluate
from fedsec.models.flat import CPU, FlatModel
from fedsec.models.frozen_encoder import FrozenEncoder, encode
from fedsec.models.local import LocalTrainer, batch_loss
from fedsec.models.tuning import prepare
from fedsec.seeds import SeedTree

CASES = [("Bert", "sequence-classification"), ("GPT2", "causal-lm"), ("Llama", "causal-lm")]
PAD = 1
DEVICES = [
    pytest.param("cpu"),
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")),
]

Build = Callable[..., Any]
Made = Callable[..., FlatModel]


@pytest.fixture
def flat(build: Build, build_causal: Build) -> Made:
    """Makes a flattened model."""

    def make(architecture: str, task: str, kind: str, precision: str = "fp32", device: str = "cpu") -> FlatModel:
        module = (build_causal if task == "causal-lm" else build)(architecture)
        options = {"kind": kind, "rank": 2, "dropout": False, "task": task, "train_embeddings": kind == "full"}
        prepared = prepare(module, generator=torch.Generator(), **options)
        return FlatModel(*prepared, device=torch.device(device), precision=precision)

    return make


def _data(task: str) -> Tokenised:
    draws = np.random.default_rng(3)
    ids = [[int(i) for i in draws.integers(4, 60, size=int(n))] for n in draws.integers(4, 12, size=16)]
    starts = draws.integers(1, 4, size=16) if task == "causal-lm" else None
    return Tokenised(ids, draws.integers(0, 3, size=16), starts)


def _update(model: FlatModel, task: str, *, dropout: bool = False, seed: int = 0) -> tuple[torch.Tensor, float]:
    settings = TrainingSettings(update="delta", optimizer="sgd", learning_rate=0.1, local_steps=4, batch_size=4)
    batches = [collate(_data(task), range(4 * i, 4 * i + 4), PAD) for i in range(4)]
    out, start = torch.empty(model.layout.size), model.snapshot()
    trainer = LocalTrainer(model, settings, dropout=dropout)
    return out, trainer.update(start, batches, out, SeedTree(seed).torch("dropout"))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", ["full", "lora"])
@pytest.mark.parametrize(("architecture", "task"), CASES)
def test_bf16_trains_nearly_as_fp32_and_keeps_fp32(
    architecture: str, task: str, kind: str, device: str, flat: Made
) -> None:
    exact, loss = _update(flat(architecture, task, kind), task)
    model = flat(architecture, task, kind, "bf16", device)
    start = model.snapshot()
    found, lowered = _update(model, task)
    assert lowered == pytest.approx(loss, rel=0.02)
    assert lowered != loss  # it did run in bf16
    assert float((found - exact).norm() / exact.norm()) < 0.2
    assert found.dtype == model.values.dtype == model.gradient.dtype == torch.float32
    assert all(p.dtype == torch.float32 for p in model.module.parameters())
    assert found.device == CPU
    assert torch.equal(model.snapshot() - start, found)
    # More digits than bf16 has: what is trained was never rounded to it.
    assert not torch.equal(found, found.bfloat16().float())
    assert model.attached()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("architecture", "task"), CASES)
def test_bf16_evaluates_nearly_as_fp32(architecture: str, task: str, device: str, flat: Made) -> None:
    model, lowered = flat(architecture, task, "full"), flat(architecture, task, "full", "bf16", device)
    vector = model.snapshot()
    assert torch.equal(lowered.snapshot(), vector)
    exact, found = (evaluate(one, vector, _data(task), PAD) for one in (model, lowered))
    assert found.loss == pytest.approx(exact.loss, rel=0.02)
    assert found.loss != exact.loss


def test_outputs_are_fp32_in_either_precision(flat: Made) -> None:
    batch = collate(_data("causal-lm"), range(4), PAD)
    for precision in ("fp32", "bf16"):
        model = flat("GPT2", "causal-lm", "full", precision)
        assert model.logits(batch).dtype == torch.float32
        assert batch_loss(model, batch).dtype == torch.float32


@pytest.mark.parametrize("device", DEVICES)
def test_the_model_lies_on_its_device_and_vectors_cross_on_the_cpu(device: str, flat: Made) -> None:
    model = flat("GPT2", "causal-lm", "full", device=device)
    assert {p.device.type for p in model.module.parameters()} == {device}
    assert model.values.device.type == model.gradient.device.type == device
    snapshot = model.snapshot()
    assert snapshot.device == CPU
    snapshot.zero_()
    assert model.snapshot().any()
    model.load(snapshot)
    assert not model.values.any()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("architecture", "task"), CASES)
def test_another_device_trains_the_same(architecture: str, task: str, device: str, flat: Made) -> None:
    expected, loss = _update(flat(architecture, task, "lora"), task)
    found, there = _update(flat(architecture, task, "lora", device=device), task)
    assert there == pytest.approx(loss, rel=1e-4)
    assert float((found - expected).norm() / expected.norm()) < 1e-3


@pytest.mark.parametrize("device", DEVICES)
def test_dropout_is_repeatable_on_every_device(device: str, flat: Made) -> None:
    def run(seed: int) -> torch.Tensor:
        return _update(flat("GPT2", "causal-lm", "full", device=device), "causal-lm", dropout=True, seed=seed)[0]

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


@pytest.mark.parametrize("device", DEVICES)
def test_a_frozen_encoders_outputs_are_kept_on_the_cpu(device: str, flat: Made) -> None:
    data, task = _data("sequence-classification"), "sequence-classification"
    expected = _update(flat("Bert", task, "head", device=device), task)[0]
    model = flat("Bert", task, "head", device=device)
    known = encode(model.module, (data,), PAD)
    assert known is not None
    assert {states.device for states, _ in known.values()} == {CPU}
    FrozenEncoder.put_into(model.module, known)
    torch.testing.assert_close(_update(model, task)[0], expected, rtol=1e-4, atol=1e-6)
