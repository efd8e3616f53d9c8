"""What each parameter is for, over the architectures."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from fedsec.api import ParameterInfo, Role
from fedsec.models.roles import describe_parameters, unwrapped
from fedsec.models.tuning import prepare

LAYERS = 2
ALL = ("Bert", "Roberta", "DistilBert", "Electra", "Albert", "GPT2", "Llama", "Qwen2")
WITH_SEPARATE_ATTENTION = ("Bert", "Roberta", "DistilBert", "Electra", "Llama", "Qwen2")
WITH_LORA = (*WITH_SEPARATE_ATTENTION, "GPT2")

Build = Callable[..., Any]


def _by_role(parameters: tuple[ParameterInfo, ...], role: Role) -> list[ParameterInfo]:
    return [parameter for parameter in parameters if parameter.role == role]


def _with_lora(model: nn.Module) -> Any:
    generator = torch.Generator().manual_seed(0)
    return prepare(model, kind="lora", rank=2, train_embeddings=False, dropout=False, generator=generator)[0]


@pytest.mark.parametrize("architecture", ALL)
def test_every_parameter_stands_once_with_its_shape_and_in_the_models_order(architecture: str, build: Build) -> None:
    model = build(architecture)
    described = describe_parameters(model)
    own = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    assert {parameter.name: parameter.shape for parameter in described} == own
    assert [parameter.name for parameter in described] == list(own)


@pytest.mark.parametrize("architecture", ALL)
def test_the_word_embedding_is_the_input_embedding(architecture: str, build: Build) -> None:
    model = build(architecture)
    (words,) = _by_role(describe_parameters(model), Role.WORD_EMBEDDING)
    assert dict(model.named_parameters())[words.name] is model.get_input_embeddings().weight


@pytest.mark.parametrize("architecture", ALL)
def test_positions_are_found_where_they_are_learned(architecture: str, build: Build) -> None:
    positions = _by_role(describe_parameters(build(architecture)), Role.POSITION_EMBEDDING)
    assert [p.shape[0] for p in positions] == ([] if architecture in ("Llama", "Qwen2") else [40])


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("architecture", WITH_SEPARATE_ATTENTION)
@pytest.mark.parametrize("role", [Role.QUERY, Role.KEY, Role.VALUE])
def test_every_layer_has_one_matrix_of_each_attention_role(
    architecture: str, role: Role, wrapped: bool, build: Build
) -> None:
    model = _with_lora(build(architecture)) if wrapped else build(architecture)
    found = _by_role(describe_parameters(model), role)
    assert [parameter.layer for parameter in found] == list(range(LAYERS))
    assert all(len(parameter.shape) == 2 for parameter in found)


@pytest.mark.parametrize("architecture", WITH_SEPARATE_ATTENTION)
def test_the_query_matrix_is_what_turns_hidden_states_into_queries(architecture: str, build: Build) -> None:
    """Found from the modules rather than from names: what feeds the first attention three ways."""
    model = build(architecture)
    seen: dict[str, torch.Tensor] = {}
    weights = {id(p): name for name, p in model.named_parameters()}

    def note(module: nn.Module, arguments: tuple[torch.Tensor, ...], _: torch.Tensor) -> None:
        seen.setdefault(weights[id(module.weight)], arguments[0])

    handles = [m.register_forward_hook(note) for m in model.modules() if isinstance(m, nn.Linear)]
    model(input_ids=torch.arange(4, 10)[None])
    for handle in handles:
        handle.remove()
    roles = {p.name: p for p in describe_parameters(model)}
    for layer in range(LAYERS):
        here = [name for name in seen if roles[name].layer == layer]
        three = [name for name in here if roles[name].role in (Role.QUERY, Role.KEY, Role.VALUE)]
        assert len(three) == 3
        assert all(seen[name] is seen[three[0]] for name in three)
        assert not any(seen[name] is seen[three[0]] for name in here if name not in three)


@pytest.mark.parametrize("architecture", ALL)
def test_the_head_is_all_that_lies_outside_the_base_model(architecture: str, build: Build) -> None:
    model = build(architecture)
    inside = {id(parameter) for parameter in model.base_model.parameters()}
    outside = {name for name, parameter in model.named_parameters() if id(parameter) not in inside}
    assert outside
    assert {p.name for p in _by_role(describe_parameters(model), Role.HEAD)} == outside


@pytest.mark.parametrize("architecture", WITH_LORA)
def test_under_adapters_the_trained_head_stands_once_and_adapters_are_known(architecture: str, build: Build) -> None:
    plain = build(architecture)
    heads = sorted(p.shape for p in _by_role(describe_parameters(plain), Role.HEAD))
    model = _with_lora(plain)
    described = describe_parameters(model)
    assert sorted(p.shape for p in _by_role(described, Role.HEAD)) == heads
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {p.name for p in described if p.role in (Role.HEAD, Role.ADAPTER)} == trained
    assert _by_role(described, Role.ADAPTER)


@pytest.mark.parametrize("architecture", WITH_LORA)
def test_wrapping_changes_no_role(architecture: str, build: Build) -> None:
    before = {p.name: (p.role, p.layer) for p in describe_parameters(build(architecture))}
    after = {
        p.name.removeprefix("base_model.model.").replace(".base_layer", "").replace(".modules_to_save.default", ""): (
            p.role,
            p.layer,
        )
        for p in describe_parameters(_with_lora(build(architecture)))
        if p.role != Role.ADAPTER
    }
    assert after == before


def test_tied_weights_stand_once_under_their_first_name() -> None:
    from transformers import BertConfig, BertForMaskedLM

    model = BertForMaskedLM(
        BertConfig(vocab_size=20, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    )
    names = [p.name for p in describe_parameters(model)]
    assert "bert.embeddings.word_embeddings.weight" in names
    assert not any("decoder.weight" in name for name in names)


def test_unwrapping_finds_the_model_itself(build: Build) -> None:
    plain = build("Bert")
    assert unwrapped(plain) is plain
    assert unwrapped(_with_lora(plain)) is plain
