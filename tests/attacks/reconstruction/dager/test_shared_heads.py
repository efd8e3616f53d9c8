"""Llama-architecture models whose query heads share keys and values, as SmolLM2's do."""

from importlib.util import find_spec

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from fedsec.attacks.reconstruction.dager.attack import Dager
from fedsec.attacks.reconstruction.dager.spaces import layer_space
from fedsec.maths.activations import layer_input
from fedsec.models import smollm2
from fedsec.models.base import CAUSAL_LM, BaseModel
from fedsec.models.byte_tokens import own_tokenizer
from fedsec.seeds import scoped_torch_rng

from ..reach import SEEDS, Reach
from ..support import exact

TEXTS = ["the chest is clear", "no fever and no cough", "the patient sleeps well", "pain in the left knee"]
FOUND = 4e-5
"""The attack's own tolerance in a decoder's first layer."""


def _small() -> BaseModel:
    tokenizer = own_tokenizer(2000, 512)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=72,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=3,
        num_key_value_heads=1,
        tie_word_embeddings=True,
    )
    with scoped_torch_rng(SEEDS.torch("model")):
        return BaseModel(LlamaForCausalLM(config), tokenizer, "random")


def _assert_told_apart(lab: Reach, texts: list[str]) -> None:
    """The first layer's span has a direction for each token that stands before a text's end, and for no other."""
    view = lab.view([texts])
    assert view.rows is not None
    first = layer_space(view, view.rows[0], 0)
    assert first is not None
    before = {token for ids in lab.ids(texts) for token in ids[:-1]}
    ids = torch.arange(len(lab.tokenizer))
    inputs = layer_input(lab.flat.module, first.query, input_ids=ids[:, None])[:, 0]  # [tokens, width]
    found = first.space.residuals(inputs.double()) < FOUND
    assert set(ids[found].tolist()) == before
    assert first.space.rank == len(before)


def test_every_token_before_an_end_is_found_and_no_other() -> None:
    lab = Reach(_small(), CAUSAL_LM)
    _assert_told_apart(lab, TEXTS)
    claims = Dager().reconstruct(lab.view([TEXTS]))
    assert exact(claims, lab.truth(TEXTS)) == 4
    assert all(claim.verified for claim in claims)


@pytest.mark.slow
@pytest.mark.skipif(find_spec(smollm2.PACKAGE) is None, reason=f"needs: {smollm2.INSTALL}")
def test_so_it_is_among_49_152_tokens() -> None:
    base = smollm2.load(labels=2, generator=SEEDS.torch("model"), task=CAUSAL_LM, layers=4)
    lab = Reach(base, CAUSAL_LM)
    _assert_told_apart(lab, [text.capitalize() + "." for text in TEXTS])
