"""Perplexities of texts: as the definition has them, each scored once."""

from math import exp
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from fedsec.models.perplexity import Perplexities
from fedsec.seeds import scoped_torch_rng

WORDS = ("<s>", "?", "a", "b", "c", "d")


def _tokenizer(begin: str | None) -> Any:
    bare = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="?"))  # noqa: S106
    bare.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    return PreTrainedTokenizerFast(tokenizer_object=bare, bos_token=begin, unk_token="?")  # noqa: S106


@pytest.fixture(scope="module")
def model() -> Any:
    sizes = {"vocab_size": 6, "n_positions": 16, "n_embd": 8, "n_layer": 1, "n_head": 2}
    with scoped_torch_rng(torch.Generator().manual_seed(0)):
        return GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=None, eos_token_id=None, use_cache=False)).eval()


@torch.no_grad()
def _plain(model: Any, ids: list[int]) -> float:
    logs = model(torch.tensor([ids])).logits[0].double().log_softmax(dim=-1)
    nll = [-float(logs[place, ids[place + 1]]) for place in range(len(ids) - 1)]
    return exp(sum(nll) / len(nll))


@pytest.mark.parametrize("begin", ["<s>", None])
def test_a_perplexity_is_the_definitions_and_is_computed_once(model: Any, begin: str | None) -> None:
    texts, tokenizer = ["a b c", "a b d", "d", "c a b b", "a b c"], _tokenizer(begin)
    scorer, calls = Perplexities(model, tokenizer, 16), list[int]()
    handle = model.register_forward_pre_hook(lambda *_: calls.append(1))
    found = scorer(texts)
    once = len(calls)
    assert scorer(texts[::-1]) == found[::-1]
    assert len(calls) == once
    handle.remove()
    first = [0] if begin else []
    for text, one in zip(texts, found, strict=True):
        ids = [*first, *tokenizer(text)["input_ids"]]
        assert one == pytest.approx(_plain(model, ids) if len(ids) > 1 else 1.0, rel=1e-4)
    assert scorer([]) == []
    (cut,) = Perplexities(model, tokenizer, 3)(["a b c d"])
    assert cut == pytest.approx(_plain(model, [*first, 2, 3, 4][:3]), rel=1e-4)
