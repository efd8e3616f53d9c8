"""Tuning methods: what is trained, and that adapters start as a no-op."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

from fedsec.api import ModelSetup, Role
from fedsec.errors import FedsecError
from fedsec.models.tuning import prepare

EMBEDDINGS = {Role.WORD_EMBEDDING, Role.POSITION_EMBEDDING, Role.EMBEDDING}
RANK = 2
WITH_LORA = ("Bert", "Roberta", "DistilBert", "Electra", "GPT2", "Llama", "Qwen2")

Build = Callable[..., Any]


def _prepare(
    model: Any, kind: str, *, embeddings: bool = False, seed: int = 0, rank: int = RANK, dropout: bool = False
) -> tuple[Any, ModelSetup]:
    generator = torch.Generator().manual_seed(seed)
    return prepare(model, kind=kind, rank=rank, train_embeddings=embeddings, dropout=dropout, generator=generator)


def _trained_roles(setup: ModelSetup) -> set[Role]:
    return {p.role for p in setup.parameters if p.name in setup.trainable}


@pytest.mark.parametrize("architecture", ["Bert", "Roberta", "DistilBert", "GPT2", "Llama"])
@pytest.mark.parametrize("embeddings", [False, True])
def test_full_trains_everything_but_embeddings_where_they_are_frozen(
    architecture: str, embeddings: bool, build: Build
) -> None:
    _, setup = _prepare(build(architecture), "full", embeddings=embeddings)
    frozen = {p for p in setup.parameters if p.name not in setup.trainable}
    assert {p.role for p in frozen} <= EMBEDDINGS
    assert bool(frozen) != embeddings


@pytest.mark.parametrize("architecture", ["Bert", "Roberta", "DistilBert", "GPT2", "Llama"])
@pytest.mark.parametrize("embeddings", [False, True])
def test_head_trains_the_head_alone_and_embeddings_where_asked(
    architecture: str, embeddings: bool, build: Build
) -> None:
    _, setup = _prepare(build(architecture), "head", embeddings=embeddings)
    wanted = {Role.HEAD, *(EMBEDDINGS if embeddings else ())}
    expected = {p.name for p in setup.parameters if p.role in wanted}
    assert setup.trainable == expected


@pytest.mark.parametrize("architecture", WITH_LORA)
@pytest.mark.parametrize("embeddings", [False, True])
def test_lora_trains_adapters_and_the_whole_head(architecture: str, embeddings: bool, build: Build) -> None:
    _, setup = _prepare(build(architecture), "lora", embeddings=embeddings)
    wanted = {Role.ADAPTER, Role.HEAD, *(EMBEDDINGS if embeddings else ())}
    assert setup.trainable == {p.name for p in setup.parameters if p.role in wanted}
    assert {Role.ADAPTER, Role.HEAD} <= _trained_roles(setup)


@pytest.mark.parametrize("architecture", ["Bert", "Roberta", "DistilBert", "Electra", "Llama", "Qwen2"])
def test_adapters_sit_on_queries_and_values_with_the_rank_asked_for(architecture: str, build: Build) -> None:
    _, setup = _prepare(build(architecture), "lora", rank=3)
    adapters = [p for p in setup.parameters if p.role == Role.ADAPTER]
    modules = {p.name.split(".lora_")[0] for p in adapters}
    bases = {p.name.removesuffix(".base_layer.weight") for p in setup.parameters if p.role in (Role.QUERY, Role.VALUE)}
    assert modules == bases
    assert len(adapters) == 2 * len(modules) == 8
    assert all(3 in p.shape for p in adapters)


@pytest.mark.parametrize("architecture", WITH_LORA)
def test_adapters_start_as_a_no_op(architecture: str, build: Build, inputs: dict[str, torch.Tensor]) -> None:
    before = build(architecture)(**inputs).logits
    module, _ = _prepare(build(architecture), "lora")
    torch.testing.assert_close(module.eval()(**inputs).logits, before, rtol=1e-6, atol=1e-7)


def test_alpha_is_twice_the_rank(build: Build) -> None:
    module, _ = _prepare(build("Bert"), "lora", rank=4)
    (config,) = module.peft_config.values()
    assert (config.r, config.lora_alpha, config.lora_dropout) == (4, 8, 0.0)


def test_adapters_depend_on_their_generator_alone_and_leave_the_global_one_as_it_was(build: Build) -> None:
    def adapters(seed: int) -> torch.Tensor:
        module, setup = _prepare(build("Bert"), "lora", seed=seed)
        named = dict(module.named_parameters())
        return torch.cat([named[p.name].reshape(-1) for p in setup.parameters if p.role == Role.ADAPTER])

    before = torch.get_rng_state()
    first = adapters(1)
    torch.randn(5)  # moves the global generator
    assert torch.equal(adapters(1), first)
    assert not torch.equal(adapters(2), first)
    torch.set_rng_state(before)
    _prepare(build("Bert"), "lora")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", ["full", "head", "lora"])
def test_only_listed_names_are_trainable(kind: str, build: Build) -> None:
    module, setup = _prepare(build("Bert"), kind)
    assert setup.trainable <= {p.name for p in setup.parameters}
    assert setup.trainable <= {name for name, _ in module.named_parameters()}


@pytest.mark.parametrize("dropout", [False, True])
def test_dropout_is_passed_on(dropout: bool, build: Build) -> None:
    assert _prepare(build("Bert"), "full", dropout=dropout)[1].dropout is dropout


def test_an_architecture_without_known_places_for_adapters_is_refused_in_words(build: Build) -> None:
    with pytest.raises(FedsecError, match="lora cannot tune a AlbertForSequenceClassification"):
        _prepare(build("Albert"), "lora")


@pytest.mark.parametrize("architecture", [*WITH_LORA, "Albert"])
def test_all_linear_adapts_every_linear_map_of_the_layers_and_no_other(architecture: str, build: Build) -> None:
    model = build(architecture)
    linear = {
        name
        for name, part in model.named_modules()
        if type(part).__name__ in ("Linear", "Conv1D") and re.search(r"\b(layer|layers|h)\.\d", name)
    }
    generator = torch.Generator().manual_seed(0)
    options: dict[str, Any] = {"rank": RANK, "train_embeddings": False, "dropout": False, "generator": generator}
    if not linear:
        with pytest.raises(FedsecError, match="no linear map"):
            prepare(model, kind="lora", targets="all-linear", **options)
        return
    _, setup = prepare(model, kind="lora", targets="all-linear", **options)
    adapters = [p for p in setup.parameters if p.role == Role.ADAPTER]
    assert {p.name.removeprefix("base_model.model.").split(".lora_")[0] for p in adapters} == linear
    assert {p.factor for p in adapters} == {"A", "B"}
    assert all(p.layer is not None for p in adapters)
    held = {p.adapts for p in adapters}
    attention = {Role.QUERY_KEY_VALUE} if architecture == "GPT2" else {Role.QUERY, Role.KEY, Role.VALUE}
    assert held == {*attention, Role.OTHER}
