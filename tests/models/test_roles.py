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


DECODERS = ("GPT2", "Llama", "Qwen2")
TIED = {"tie_word_embeddings": True}
UNTIED = {"tie_word_embeddings": False}


@pytest.mark.parametrize("wrapped", [False, True])
def test_gpt2s_one_attention_matrix_holds_queries_keys_and_values_side_by_side(wrapped: bool, build: Build) -> None:
    model = _with_lora(build("GPT2")) if wrapped else build("GPT2")
    found = _by_role(describe_parameters(model), Role.QUERY_KEY_VALUE)
    assert [(p.layer, p.shape, p.inputs_first) for p in found] == [(0, (32, 96), True), (1, (32, 96), True)]
    assert not any(_by_role(describe_parameters(model), role) for role in (Role.QUERY, Role.KEY, Role.VALUE))
    # The middle third makes the keys: without it every token attends to all before it alike.
    base: Any = unwrapped(model)
    base.set_attn_implementation("eager")
    weight, block = dict(model.named_parameters())[found[0].name], base.transformer.h[0].attn
    with torch.no_grad():
        weight[:, 32:64] = 0.0
        hidden = torch.randn(1, 5, 32, generator=torch.Generator().manual_seed(0))
        attention = block(hidden, attention_mask=torch.full((5, 5), -1e30).triu(1)[None, None])[1]
    expected = torch.ones(5, 5).tril() / torch.arange(1, 6)[:, None]
    torch.testing.assert_close(attention, expected.expand(1, 2, 5, 5))


def test_only_gpt2_stores_its_matrices_inputs_first(build: Build) -> None:
    for architecture in ALL:
        turned = {p.name for p in describe_parameters(build(architecture)) if p.inputs_first}
        assert bool(turned) == (architecture == "GPT2")
        assert all(".attn." in name or ".mlp." in name for name in turned)


@pytest.mark.parametrize("architecture", WITH_LORA)
def test_each_adapter_says_which_factor_it_is_and_what_it_adapts(architecture: str, build: Build) -> None:
    model = _with_lora(build(architecture))
    described = describe_parameters(model)
    adapters = _by_role(described, Role.ADAPTER)
    adapted = (Role.QUERY_KEY_VALUE,) if architecture == "GPT2" else (Role.QUERY, Role.VALUE)
    found = {(p.layer, p.adapts, p.factor) for p in adapters}
    assert found == {(layer, role, factor) for layer in range(LAYERS) for role in adapted for factor in "AB"}
    assert len(adapters) == len(found)
    assert not any(p.factor or p.adapts for p in described if p.role != Role.ADAPTER)
    # B A times the scale is what the weight changes by.
    part = next(p for p in adapters if (p.layer, p.adapts, p.factor) == (1, adapted[-1], "B"))
    layer = model.get_submodule(part.name.split(".lora_B")[0])
    named, a = dict(model.named_parameters()), part.name.replace("lora_B", "lora_A")
    with torch.no_grad():
        named[part.name].normal_(generator=torch.Generator().manual_seed(0))
        change = 2.0 * named[part.name] @ named[a]
        delta = layer.get_delta_weight("default")
    torch.testing.assert_close(change.T if architecture == "GPT2" else change, delta)


@pytest.mark.parametrize("architecture", DECODERS)
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_tied_output_layer_is_the_word_embedding_and_stands_once(
    architecture: str, wrapped: bool, build_causal: Build
) -> None:
    def described(**settings: Any) -> tuple[ParameterInfo, ...]:
        model = build_causal(architecture, **settings)
        options = {"kind": "lora", "rank": 2, "train_embeddings": True, "dropout": False, "task": "causal-lm"}
        if wrapped:
            model = prepare(model, generator=torch.Generator(), **options)[0]
        names = [p.name for p in describe_parameters(model)]
        assert len(set(names)) == len(names)
        return describe_parameters(model)

    tied, untied = described(**TIED), described(**UNTIED)
    assert _by_role(tied, Role.HEAD) == []
    assert [p.name.split(".")[-2] for p in _by_role(untied, Role.HEAD)] == ["lm_head"]
    for parameters in (tied, untied):
        assert len(_by_role(parameters, Role.WORD_EMBEDDING)) == 1
    assert len(untied) == len(tied) + 1


_SMALL = {"vocab_size": 60, "hidden_size": 32, "num_attention_heads": 2, "num_labels": 2}
_DEEP = {**_SMALL, "num_hidden_layers": 2, "intermediate_size": 48, "max_position_embeddings": 40, "pad_token_id": 1}
FAMILIES: dict[str, tuple[dict[str, Any], set[str], set[str]]] = {
    "OPT": (
        {**_DEEP, "ffn_dim": 48, "word_embed_proj_dim": 16},
        {"decoder.embed_positions.weight"},
        {"decoder.project_in.weight"},
    ),
    "Bloom": (
        {**_SMALL, "n_layer": 2},
        set(),
        {"word_embeddings_layernorm.weight", "word_embeddings_layernorm.bias"},
    ),
    "GPTNeoX": (_DEEP, set(), set()),
    "XLM": (
        {"vocab_size": 60, "emb_dim": 32, "n_layers": 2, "n_heads": 2, "max_position_embeddings": 40},
        {"position_embeddings.weight"},
        {"layer_norm_emb.weight", "layer_norm_emb.bias"},
    ),
    "OpenAIGPT": (
        {"vocab_size": 60, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 40},
        {"positions_embed.weight"},
        set(),
    ),
    "BioGpt": (_DEEP, {"embed_positions.weight"}, set()),
    "Electra": (
        {**_DEEP, "embedding_size": 16},
        {"embeddings.position_embeddings.weight"},
        {
            "embeddings.token_type_embeddings.weight",
            "embeddings.LayerNorm.weight",
            "embeddings.LayerNorm.bias",
            "embeddings_project.weight",
            "embeddings_project.bias",
        },
    ),
}


def _of_family(family: str) -> Any:
    import transformers

    config = getattr(transformers, f"{family}Config")(**FAMILIES[family][0])
    return getattr(transformers, f"{family}ForSequenceClassification")(config)


@pytest.mark.parametrize("family", FAMILIES)
def test_all_below_the_layers_is_found_whatever_a_family_calls_it(family: str) -> None:
    model = _of_family(family)
    described = describe_parameters(model)
    _, positions, rest = FAMILIES[family]

    def named(role: Role) -> set[str]:
        return {p.name.removeprefix(f"{model.base_model_prefix}.") for p in _by_role(described, role)}

    assert named(Role.POSITION_EMBEDDING) == positions
    assert named(Role.EMBEDDING) == rest
    assert len(named(Role.WORD_EMBEDDING)) == 1
    assert not any(p.layer is not None for p in described if "embedding" in p.role)


@pytest.mark.parametrize("family", FAMILIES)
def test_with_frozen_embeddings_no_text_depends_on_anything_trained_before_the_first_layer(family: str) -> None:
    model = _of_family(family)
    options: dict[str, Any] = {"rank": 2, "train_embeddings": False, "dropout": False, "generator": torch.Generator()}
    _, setup = prepare(model, kind="full", **options)
    reached: list[torch.Tensor] = []
    stacks = {name for name, part in model.base_model.named_modules() if isinstance(part, nn.ModuleList)}
    first = next(part for name, part in model.base_model.named_modules() if name.rpartition(".")[0] in stacks)
    first.register_forward_pre_hook(lambda _, given: reached.append(given[0]))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in setup.trainable)
    model(input_ids=torch.arange(4, 10)[None])
    assert not reached[0].requires_grad


def test_looking_for_embeddings_leaves_the_model_and_the_generator_as_they_were(build: Build) -> None:
    model = build("Bert").train()
    model.bert.encoder.layer[0].eval()
    modes = [part.training for part in model.modules()]
    before = torch.get_rng_state()
    describe_parameters(model)
    assert torch.equal(torch.get_rng_state(), before)
    assert [part.training for part in model.modules()] == modes
    assert not any(part._forward_pre_hooks for part in model.modules())
