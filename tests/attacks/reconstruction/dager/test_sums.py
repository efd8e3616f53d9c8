"""Factored products of normalised sums against the inputs themselves."""

from typing import Any

import pytest
import torch
import transformers

from fedsec.attacks.reconstruction.dager.sums import normalised_sums
from fedsec.maths.activations import layer_input
from fedsec.seeds import SeedTree, scoped_torch_rng

from ....bounds import within

pytestmark = pytest.mark.numeric

SIZES = {"vocab_size": 90, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
QUERY = {
    "Bert": "bert.encoder.layer.0.attention.self.query",
    "Roberta": "roberta.encoder.layer.0.attention.self.query",
    "DistilBert": "distilbert.transformer.layer.0.attention.q_lin",
    "ModernBert": "model.layers.0.attn.Wqkv",
    "ConvBert": "convbert.encoder.layer.0.attention.self.query",
    "Albert": "albert.encoder.albert_layer_groups.0.albert_layers.0.attention.query",
}


def model_of(kind: str) -> Any:
    sizes: dict[str, Any] = dict(SIZES)
    if kind == "DistilBert":
        sizes = {"vocab_size": 90, "dim": 24, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}
    if kind == "ModernBert":
        sizes |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
    if kind == "Albert":
        sizes["embedding_size"] = 12
    config = getattr(transformers, f"{kind}Config")(**sizes)
    with scoped_torch_rng(SeedTree(0).torch("model")):
        module = getattr(transformers, f"{kind}ForSequenceClassification")(config).eval()
        for parameter in module.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)  # norms start at one and zero, which hides mistakes
    return module


@pytest.mark.parametrize("kind", ["Bert", "Roberta", "DistilBert", "ModernBert"])
def test_squares_are_those_of_the_inputs(kind: str) -> None:
    module, ids = model_of(kind), torch.arange(5, 90, 3)
    sums = normalised_sums(module, QUERY[kind], 9)
    assert sums is not None
    inputs = layer_input(module, QUERY[kind], input_ids=ids[:, None].expand(-1, 9)).double()  # [tokens, places, width]
    matrix = torch.linalg.qr(torch.randn(24, 7, dtype=torch.float64, generator=SeedTree(1).torch("attack"))).Q
    whole, inside = sums.squares(ids, [matrix])
    size = inputs.square().sum(dim=-1)
    within("normalised sums: squares", ((whole - size) / size).abs().max(), 2e-6)
    within(
        "normalised sums: squares in a space",
        ((inside - (inputs @ matrix).square().sum(dim=-1)) / size).abs().max(),
        2e-6,
    )


def test_inputs_that_are_no_sums_are_told() -> None:
    assert normalised_sums(model_of("Albert"), QUERY["Albert"], 9) is None  # a projection stands behind the norm
    module = model_of("Bert")
    module.bert.embeddings.word_embeddings.register_forward_hook(lambda _, __, left: left * left)
    assert normalised_sums(module, QUERY["Bert"], 9) is None


def test_no_hook_stays_behind() -> None:
    module = model_of("Bert")
    normalised_sums(module, QUERY["Bert"], 9)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
