"""The flat vector: views that stay attached, and a model that computes what an untouched one computes."""

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from fedsec.api import ModelSetup, Role
from fedsec.models.flat import FlatModel
from fedsec.models.tuning import prepare

ENCODERS = ("Bert", "Roberta", "DistilBert", "Electra", "Albert")
DECODERS = ("GPT2", "Llama", "Qwen2")
LABELS = torch.tensor([0, 2, 1])

Build = Callable[..., Any]
Inputs = dict[str, torch.Tensor]


def _flat(model: nn.Module, kind: str = "full", *, embeddings: bool = True) -> FlatModel:
    generator = torch.Generator().manual_seed(3)
    module, setup = prepare(model, kind=kind, rank=2, train_embeddings=embeddings, dropout=False, generator=generator)
    return FlatModel(module, setup)


def _loss(module: Any, inputs: Inputs) -> torch.Tensor:
    return functional.cross_entropy(module(**inputs).logits, LABELS)


def _gradient(flat: FlatModel, inputs: Inputs) -> torch.Tensor:
    flat.gradient.zero_()
    _loss(flat.module, inputs).backward()  # type: ignore[no-untyped-call]
    return flat.gradient.clone()


def _joined(tensors: Any) -> torch.Tensor:
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def _assert_attached(flat: FlatModel) -> None:
    """Every trainable parameter and gradient is its slice of the flat vectors, value for value and byte for byte."""
    assert flat.attached()
    named = dict(flat.module.named_parameters())
    for info, offset in zip(flat.layout.parameters, flat.layout.offsets, strict=True):
        parameter = named[info.name]
        assert parameter.data_ptr() == flat.values.data_ptr() + 4 * offset
        assert parameter.grad is not None
        assert parameter.grad.data_ptr() == flat.gradient.data_ptr() + 4 * offset


@pytest.mark.parametrize("architecture", [*ENCODERS, *DECODERS])
def test_flattening_leaves_the_models_outputs_as_they_were(architecture: str, build: Build, inputs: Inputs) -> None:
    before = build(architecture)(**inputs).logits
    assert torch.equal(_flat(build(architecture)).module(**inputs).logits, before)


@pytest.mark.parametrize("kind", ["full", "head", "lora"])
@pytest.mark.parametrize("architecture", ["Bert", "Roberta", "DistilBert", "GPT2", "Llama"])
def test_views_stay_attached_through_training(architecture: str, kind: str, build: Build, inputs: Inputs) -> None:
    flat = _flat(build(architecture), kind, embeddings=False)
    _assert_attached(flat)
    optimizer = torch.optim.SGD(flat.module.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        flat.gradient.zero_()
        flat.module.train()
        _loss(flat.module, inputs).backward()  # type: ignore[no-untyped-call]
        assert flat.gradient.abs().sum() > 0
        before = flat.values.clone()
        optimizer.step()
        assert not torch.equal(flat.values, before)
        flat.module.eval()
        _assert_attached(flat)
    flat.load(before)
    _assert_attached(flat)


@pytest.mark.parametrize("kind", ["full", "lora"])
def test_a_flattened_model_can_be_flattened_again(kind: str, build: Build, inputs: Inputs) -> None:
    first = _flat(build("Bert"), kind)
    first.load(first.snapshot() + 0.01)  # as after training, perhaps on another device
    outputs = first.module(**inputs).logits
    second = FlatModel(first.module, first.setup)
    _assert_attached(second)
    assert torch.equal(second.snapshot(), first.snapshot())
    assert torch.equal(second.module(**inputs).logits, outputs)


def test_being_detached_is_noticed(build: Build) -> None:
    flat = _flat(build("Bert"))
    next(flat.module.parameters()).data = torch.zeros(60, 32)
    assert not flat.attached()
    flat = _flat(build("Bert"))
    flat.module.zero_grad()
    assert not flat.attached()


@pytest.mark.parametrize("architecture", [*ENCODERS, *DECODERS])
def test_the_flat_gradient_is_that_of_an_untouched_copy(architecture: str, build: Build, inputs: Inputs) -> None:
    plain = build(architecture)
    names = [name for name, _ in plain.named_parameters()]
    _loss(plain, inputs).backward()
    flat = _flat(build(architecture))
    assert [info.name for info in flat.layout.parameters] == names
    zero = (p.grad if p.grad is not None else torch.zeros_like(p) for p in plain.parameters())
    assert torch.equal(_gradient(flat, inputs), _joined(zero))


def test_gradients_add_up_until_they_are_zeroed(build: Build, inputs: Inputs) -> None:
    flat = _flat(build("Bert"))
    once = _gradient(flat, inputs)
    _loss(flat.module, inputs).backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(flat.gradient, 2 * once, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("kind", ["full", "head", "lora"])
def test_a_vector_round_trips_exactly(kind: str, build: Build, inputs: Inputs) -> None:
    flat = _flat(build("Bert"), kind)
    start, logits = flat.values.clone(), flat.module(**inputs).logits
    other = torch.randn(flat.layout.size, generator=torch.Generator().manual_seed(1))
    flat.load(other)
    assert torch.equal(flat.values, other)
    named = dict(flat.module.named_parameters())
    assert torch.equal(_joined(named[info.name] for info in flat.layout.parameters), other)
    assert not torch.equal(flat.module(**inputs).logits, logits)
    flat.load(start)
    assert torch.equal(flat.module(**inputs).logits, logits)


def test_loading_copies_and_keeps_no_hold_of_the_vector(build: Build) -> None:
    flat = _flat(build("Bert"), "head")
    vector = torch.zeros(flat.layout.size)
    flat.load(vector)
    vector.fill_(9.0)
    assert not flat.values.any()


@pytest.mark.parametrize("length", [0, 1, -1, 1000])
def test_a_vector_of_another_length_is_refused(length: int, build: Build) -> None:
    flat = _flat(build("Bert"), "head")
    wrong = {0: 0, 1: flat.layout.size + 1, -1: flat.layout.size - 1, 1000: 1000}[length]
    with pytest.raises(RuntimeError):
        flat.load(torch.zeros(wrong))


@pytest.mark.parametrize("kind", ["full", "head", "lora"])
def test_the_layout_covers_the_vector_without_gap_or_overlap(kind: str, build: Build) -> None:
    flat = _flat(build("Roberta"), kind)
    layout, end = flat.layout, 0
    for info, offset in zip(layout.parameters, layout.offsets, strict=True):
        assert offset == end
        end += prod(info.shape)
    assert end == layout.size == len(flat.values) == len(flat.gradient)
    assert {info.name for info in layout.parameters} == flat.setup.trainable


@pytest.mark.parametrize("kind", ["full", "lora"])
@pytest.mark.parametrize("architecture", ["Bert", "Roberta", "DistilBert", "Electra", "GPT2", "Llama"])
def test_every_trained_tensor_is_used_by_the_forward_pass(
    architecture: str, kind: str, build: Build, inputs: Inputs
) -> None:
    """Above all the head: peft keeps two copies of it, and only one is used."""
    flat = _flat(build(architecture), kind)
    # lora_B starts at zero, which would hide lora_A; an embedding moved as a whole may cancel in a LayerNorm.
    flat.values.add_(0.02 * torch.randn(flat.layout.size, generator=torch.Generator().manual_seed(2)))
    start, logits = flat.values.clone(), flat.module(**inputs).logits
    noise = torch.randn(flat.layout.size, generator=torch.Generator().manual_seed(4))
    for info in flat.layout.parameters:
        if info.name.endswith(("key.bias", "k_lin.bias")):
            continue  # softmax does not see a key's bias
        vector = start.clone()
        flat.layout.tensor(vector, info.name).add_(flat.layout.tensor(noise, info.name))
        flat.load(vector)
        assert not torch.equal(flat.module(**inputs).logits, logits), f"{info.name} changes nothing"


@pytest.mark.parametrize("architecture", ["Bert", "Roberta", "DistilBert", "GPT2", "Llama"])
def test_the_trained_head_under_adapters_stands_once_and_moves_the_logits(
    architecture: str, build: Build, inputs: Inputs
) -> None:
    plain = _flat(build(architecture)).layout.find(Role.HEAD)
    flat = _flat(build(architecture), "lora", embeddings=False)
    heads = flat.layout.find(Role.HEAD)
    assert [info.shape for info in heads] == [info.shape for info in plain]
    vector = flat.values.clone()
    for info in heads:
        flat.layout.tensor(vector, info.name).zero_()
    flat.load(vector)
    assert torch.equal(flat.module(**inputs).logits, torch.zeros(3, 3))


def test_tied_weights_are_one_slice_and_stay_tied() -> None:
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    model = BertForMaskedLM(config).eval()
    flat = _flat(model)
    assert flat.layout.size == sum(p.numel() for p in model.parameters())
    decoder: Any = model.cls.predictions.decoder
    words: Any = model.bert.embeddings.word_embeddings
    assert decoder.weight is words.weight
    flat.load(torch.ones(flat.layout.size))
    assert decoder.weight.eq(1).all()


@pytest.mark.parametrize("architecture", [*ENCODERS, *DECODERS])
def test_a_rows_loss_alone_is_its_loss_in_a_padded_batch(architecture: str, build: Build) -> None:
    model = build(architecture)
    generator = torch.Generator().manual_seed(5)
    rows = [torch.randint(4, 60, (length,), generator=generator) for length in (3, 11, 7)]
    ids = torch.full((3, 11), 1)
    mask = torch.zeros(3, 11, dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
    together = functional.cross_entropy(model(input_ids=ids, attention_mask=mask).logits, LABELS, reduction="none")
    alone = [
        functional.cross_entropy(
            model(input_ids=row[None], attention_mask=torch.ones(1, len(row), dtype=torch.long)).logits, label
        )
        for row, label in zip(rows, LABELS[:, None], strict=True)
    ]
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-5, atol=1e-5)


def test_what_is_not_trained_is_frozen(build: Build, inputs: Inputs) -> None:
    flat = _flat(build("Bert"), "head", embeddings=False)
    frozen = {n: p.clone() for n, p in flat.module.named_parameters() if n not in flat.setup.trainable}
    _gradient(flat, inputs)
    flat.load(torch.randn(flat.layout.size))
    for name, parameter in flat.module.named_parameters():
        assert parameter.requires_grad == (name in flat.setup.trainable)
        if name in frozen:
            assert parameter.grad is None
            assert torch.equal(parameter, frozen[name])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_trained_parameters_are_single_precision(dtype: torch.dtype, build: Build) -> None:
    model = build("Bert").to(dtype)
    expected = _joined(model.parameters()).float()
    flat = _flat(model)
    assert flat.values.dtype == torch.float32
    assert torch.equal(flat.values, expected)


def test_nothing_trainable_is_refused(build: Build) -> None:
    flat = _flat(build("Bert"))
    with pytest.raises(ValueError, match="nothing is trainable"):
        FlatModel(flat.module, replace(flat.setup, trainable=frozenset()))


def test_an_unknown_name_is_refused(build: Build) -> None:
    flat = _flat(build("Bert"))
    setup: ModelSetup = replace(flat.setup, trainable=frozenset({"classifier.weight", "bert.nothing"}))
    with pytest.raises(ValueError, match=r"bert\.nothing"):
        FlatModel(flat.module, setup)


def test_asking_for_a_tensor_that_is_not_trained_is_an_error(build: Build) -> None:
    flat = _flat(build("Bert"), "head", embeddings=False)
    with pytest.raises(KeyError, match="word_embeddings"):
        flat.layout.tensor(flat.values, "bert.embeddings.word_embeddings.weight")
    assert flat.layout.find(Role.QUERY) == ()


def test_a_layer_can_be_asked_for(build: Build) -> None:
    layout = _flat(build("Bert")).layout
    assert [p.layer for p in layout.find(Role.QUERY)] == [0, 1]
    assert [p.layer for p in layout.find(Role.QUERY, layer=1)] == [1]
    assert layout.find(Role.QUERY, layer=2) == ()
