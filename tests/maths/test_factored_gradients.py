from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
)

from fedsec.maths.factored_gradients import Candidates, FactoredGradients, Observed, Outer, first_linear
from fedsec.seeds import scoped_torch_rng

from ..bounds import within

pytestmark = pytest.mark.numeric

WORDS = 30


def model(kind: str) -> Any:
    """A tiny random classifier of three classes in fp64."""
    shared = {"vocab_size": WORDS, "num_labels": 3, "pad_token_id": 0}
    wide = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    small = {"n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 16, "bos_token_id": 0, "eos_token_id": 0}
    build: dict[str, Any] = {
        "bert": lambda: BertForSequenceClassification(BertConfig(**shared, **wide)),
        "distilbert": lambda: DistilBertForSequenceClassification(
            DistilBertConfig(**shared, n_layers=2, n_heads=2, dim=16, hidden_dim=24)
        ),
        "gpt2": lambda: GPT2ForSequenceClassification(GPT2Config(**shared, **small)),
        "llama": lambda: LlamaForSequenceClassification(LlamaConfig(**shared, **wide, num_key_value_heads=1)),
    }
    with scoped_torch_rng(torch.Generator().manual_seed(0)):
        return build[kind]().double().eval()


def explicit(module: Any, x: torch.Tensor, mask: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Weight gradients of one candidate [texts, tokens, width] by autograd."""
    words = module.get_input_embeddings()
    handle = words.register_forward_hook(lambda *_: x)
    try:
        ids = torch.where(mask.bool(), 1, 0)
        loss = functional.cross_entropy(module(input_ids=ids, attention_mask=mask).logits, labels)
    finally:
        handle.remove()
    named = dict(module.named_parameters())
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {name: one for name, one in zip(named, found, strict=True) if one is not None}


def draw(
    module: Any, candidates: int, texts: int, tokens: int, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Embeddings, a mask with padding on the right, and labels."""
    generator = torch.Generator().manual_seed(seed)
    width = module.get_input_embeddings().embedding_dim
    x = torch.randn(candidates, texts, tokens, width, generator=generator, dtype=torch.float64)
    lengths = torch.randint(1, tokens + 1, (texts,), generator=generator)
    lengths[0] = tokens
    return x, (torch.arange(tokens) < lengths[:, None]).long(), torch.randint(3, (texts,), generator=generator)


def kernel(module: Any) -> FactoredGradients:
    return FactoredGradients(module, [name for name, _ in module.named_parameters()])


def by_output(module: Any, name: str, gradient: torch.Tensor) -> torch.Tensor:
    part = module.get_submodule(name.rpartition(".")[0])
    return gradient.T if type(part).__name__ == "Conv1D" and gradient.ndim == 2 else gradient


def formed(gradient: Any) -> torch.Tensor:
    return gradient.formed() if isinstance(gradient, Outer) else gradient


@pytest.mark.parametrize("kind", ["bert", "distilbert", "gpt2", "llama"])
def test_gradients_equal_autograds(kind: str) -> None:
    module = model(kind)
    x, mask, labels = draw(module, 3, 2, 5)
    matched = kernel(module)
    found = matched.of(Candidates(x, mask, labels))
    words = module.get_input_embeddings().weight
    assert set(matched.names) == {name for name, one in module.named_parameters() if one is not words}
    promised = 1e-6 if kind == "llama" else 1e-9  # its normalisations are in fp32, whatever the model is in
    for place in range(3):
        for name, reference in explicit(module, x[place], mask, labels).items():
            if name in found:
                close = formed(found[name])[place] - by_output(module, name, reference)
                error = close.norm() / reference.norm().clamp_min(1e-6)
                within(f"factored gradients: {kind}", error, promised)


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_distances_equal_explicit_ones_and_differentiate_alike(kind: str) -> None:
    module = model(kind)
    x, mask, labels = draw(module, 2, 2, 4)
    other = draw(module, 1, 2, 4, seed=1)[0]
    target = {n: by_output(module, n, g).detach() for n, g in explicit(module, other[0], mask, labels).items()}
    matched = kernel(module)
    target = {name: target[name] for name in matched.names if target[name].norm() > 1e-9}
    observed = Observed(target, int(mask.sum()), torch.Generator().manual_seed(0))
    at = x.clone().requires_grad_()
    found = matched.of(Candidates(at, mask, labels), differentiable=True)
    for name in ("cosine", "squared", "absolute", "residual"):
        distances = getattr(observed, name)(found)
        slopes = torch.autograd.grad(distances.sum(), at, retain_graph=True)[0]
        for place in range(2):
            one = x[place].clone().requires_grad_()
            reference = _explicit_distance(module, name, one, mask, labels, target)
            assert torch.allclose(distances[place], reference, rtol=1e-6), name
            slope = torch.autograd.grad(reference, one)[0]
            assert torch.allclose(slopes[place], slope, rtol=1e-5, atol=1e-7 * float(slope.abs().max())), name


def _explicit_distance(
    module: Any, name: str, x: torch.Tensor, mask: torch.Tensor, labels: torch.Tensor, target: dict[str, torch.Tensor]
) -> torch.Tensor:
    words = module.get_input_embeddings()
    handle = words.register_forward_hook(lambda *_: x)
    module.config._attn_implementation = "eager"  # which torch differentiates twice
    try:
        ids = torch.where(mask.bool(), 1, 0)
        loss = functional.cross_entropy(module(input_ids=ids, attention_mask=mask).logits, labels)
    finally:
        handle.remove()
        module.config._attn_implementation = "sdpa"
    named = dict(module.named_parameters())
    found = torch.autograd.grad(loss, [named[one] for one in target], create_graph=True)
    pairs = [(by_output(module, one, g), target[one]) for one, g in zip(target, found, strict=True)]
    if name == "cosine":
        flat = [1 - functional.cosine_similarity(g.flatten(), t.flatten(), dim=0, eps=1e-30) for g, t in pairs]
        return torch.stack(flat).mean()
    if name == "absolute":
        return torch.stack([(g - t).abs().sum() for g, t in pairs]).sum()
    squared = torch.stack([(g - t).square().sum() for g, t in pairs]).sum()
    return squared if name == "squared" else squared.sqrt() / torch.stack([t.norm() for _, t in pairs]).norm()


def test_second_derivative_passes_gradcheck() -> None:
    module = model("bert")
    x, mask, labels = draw(module, 1, 1, 3)
    matched = kernel(module)
    target = {n: formed(g)[0].detach() for n, g in matched.of(Candidates(x.flip(2), mask, labels)).items()}
    observed = Observed({n: g for n, g in target.items() if g.norm() > 1e-9}, 3, torch.Generator().manual_seed(0))

    def distance(at: torch.Tensor) -> torch.Tensor:
        return observed.cosine(matched.of(Candidates(at, mask, labels), differentiable=True))

    assert torch.autograd.gradcheck(distance, (x.requires_grad_(),), eps=1e-6, atol=1e-5, rtol=1e-4)


@settings(max_examples=20, deadline=None)
@given(
    candidates=st.integers(1, 4),
    tokens=st.integers(1, 7),
    outputs=st.integers(1, 9),
    inputs=st.integers(1, 9),
    seed=st.integers(0, 1000),
)
def test_products_of_factors_are_those_of_what_they_form(
    candidates: int, tokens: int, outputs: int, inputs: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    outer = Outer(drawn(candidates, tokens, outputs), drawn(candidates, tokens, inputs))
    target = drawn(outputs, inputs)
    inner, squares, norms = Observed({"w": target}, 1, generator).products({"w": outer})
    matrices = outer.formed()
    assert torch.allclose(inner[:, 0], (matrices * target).sum(dim=(1, 2)))
    assert torch.allclose(squares[:, 0], matrices.square().sum(dim=(1, 2)))
    assert torch.allclose(norms[0], target.norm())


def test_low_rank_targets_are_kept_as_factors_and_noisy_ones_are_not() -> None:
    generator = torch.Generator().manual_seed(0)
    low = torch.randn(60, 3, generator=generator) @ torch.randn(3, 80, generator=generator)
    noisy = low + 0.1 * torch.randn(60, 80, generator=generator)
    outer = Outer(torch.randn(2, 4, 60, generator=generator), torch.randn(2, 4, 80, generator=generator))
    for target, factored in ((low, True), (noisy, False)):
        observed = Observed({"w": target}, 3, generator)
        assert (observed._factors["w"][1] is not None) == factored
        inner = observed.products({"w": outer})[0][:, 0]
        assert torch.allclose(inner, (outer.formed() * target).sum(dim=(1, 2)), rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
def test_the_model_is_as_it_was(kind: str) -> None:
    module = model(kind)
    x, mask, labels = draw(module, 2, 1, 4)
    before = {name: one.clone() for name, one in module.state_dict().items()}
    kernel(module).of(Candidates(x, mask, labels), differentiable=True)
    bad = Candidates(x[..., :3], mask, labels)
    with pytest.raises(RuntimeError):
        kernel(module).of(bad)
    assert all(torch.equal(one, before[name]) for name, one in module.state_dict().items())
    assert all(one.grad is None for one in module.parameters())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    assert not module.training


def test_first_linear_stands_behind_the_embeddings() -> None:
    assert first_linear(model("bert")) == "bert.encoder.layer.0.attention.self.query"
    assert first_linear(model("gpt2")) == "transformer.h.0.attn.c_attn"
    assert first_linear(model("llama")) == "model.layers.0.self_attn.q_proj"


def test_a_causal_model_is_refused() -> None:
    from transformers import GPT2LMHeadModel

    config = GPT2Config(vocab_size=WORDS, n_embd=16, n_positions=16, n_layer=1, n_head=2)
    module = GPT2LMHeadModel(config).double().eval()
    names = [name for name, _ in module.named_parameters() if "c_attn" in name]
    x = torch.zeros(1, 1, 4, 16, dtype=torch.float64)
    with pytest.raises(ValueError, match="classifier"):
        FactoredGradients(module, names).of(Candidates(x, torch.ones(1, 4).long(), torch.zeros(1).long()))
