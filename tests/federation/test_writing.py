"""Greedy writing against a loop without padding and without kept keys and values."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from fedsec.api import Tokens
from fedsec.federation import writing
from fedsec.federation.process_pool import ProcessPool
from fedsec.federation.writing import Asked, write, write_through
from fedsec.models import tiny_gpt2, tiny_llama
from fedsec.models.flat import FlatModel
from fedsec.models.tuning import prepare
from fedsec.seeds import SeedTree

PROMPTS = ((5, 9, 7), (4,), (11, 12, 13, 14, 15, 16), (8, 8), (30, 21))


def _model(name: str, kind: str = "lora") -> tuple[FlatModel, torch.Tensor, Any]:
    load = tiny_gpt2.load if name == "gpt2" else tiny_llama.load
    base = load(labels=0, generator=SeedTree(0).torch("model"), task="causal-lm", width=32)
    module, setup = prepare(
        base.module,
        kind=kind,
        rank=2,
        train_embeddings=False,
        dropout=True,
        generator=SeedTree(0).torch("adapters"),
        task="causal-lm",
    )
    model = FlatModel(module, setup)
    noise = torch.randn(model.layout.size, generator=SeedTree(0).torch("noise"))
    return model, model.snapshot() + 0.5 * noise, base.tokenizer


@torch.no_grad()
def _by_hand(model: FlatModel, prompt: Tokens, limit: int, end: int) -> Tokens:
    ids = list(prompt)
    while len(ids) < len(prompt) + limit:
        module: Any = model.module
        token = int(module(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
        if token == end:
            break
        ids.append(token)
    return tuple(ids[len(prompt) :])


@pytest.mark.parametrize(("name", "kind"), [("gpt2", "lora"), ("llama", "lora"), ("llama", "full")])
def test_texts_are_those_of_a_loop_and_end_at_the_end_token_or_the_limit(
    name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "ROWS_PER_BATCH", 3)
    model, vector, tokenizer = _model(name, kind)
    asked = Asked(tuple(range(5)), PROMPTS, 8)
    model.load(vector)
    model.module.eval()
    first = _by_hand(model, PROMPTS[2], 8, -1)
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(first[3])  # so that some text ends before the limit
    expected = tuple(_by_hand(model, prompt, 8, tokenizer.eos_token_id) for prompt in PROMPTS)
    theirs = model.module.generation_config
    assert write(model, vector, asked, tokenizer) == expected
    assert model.module.generation_config is theirs
    assert write(model, vector, asked, tokenizer, ProcessPool(2)) == expected
    assert len({len(text) for text in expected}) > 1


def test_a_checkpoints_own_settings_of_generation_do_not_count() -> None:
    model, vector, tokenizer = _model("llama")
    asked = Asked((0,), PROMPTS[:1], 6)
    plain = write(model, vector, asked, tokenizer)
    config: Any = model.module.get_base_model().generation_config  # type: ignore[operator]
    config.do_sample, config.temperature, config.repetition_penalty, config.max_length = True, 5.0, 9.0, 4
    assert write(model, vector, asked, tokenizer) == plain


def test_through_answers_the_texts_are_the_same_and_end_at_a_refusal() -> None:
    model, vector, tokenizer = _model("llama")
    asked = Asked(tuple(range(5)), PROMPTS, 6)
    expected = write(model, vector, asked, tokenizer)

    def answer(queries: tuple[Tokens, ...]) -> list[torch.Tensor | None]:
        with torch.no_grad():
            return [model.module(input_ids=torch.tensor([query])).logits[0] for query in queries]

    assert write_through(answer, asked, tokenizer.eos_token_id) == expected
    refused = write_through(lambda queries: [None] * len(queries), replace(asked, limit=3), tokenizer.eos_token_id)
    assert refused == ((),) * 5
