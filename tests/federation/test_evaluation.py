"""Evaluation of causal language models and of released models that can only be asked, against slow loops."""

from typing import Any

import numpy as np
import pytest
import torch

from fedsec.data.corpus import Example
from fedsec.data.tokens import Tokenised, tokenise, tokenise_causal
from fedsec.federation import evaluation
from fedsec.federation.evaluation import REFUSED, Evaluation, answered, evaluate, evaluate_answers
from fedsec.models import tiny_bert, tiny_gpt2, tiny_llama
from fedsec.models.flat import FlatModel
from fedsec.models.tuning import prepare
from fedsec.seeds import SeedTree

ROWS = [
    Example("chest pain since day three", 1),
    Example("no fever", 0, prompt="How is the patient today? "),
    Example("the knee hurts at night and in the morning, and the hip does too", 2),
    Example("yes", 0, prompt="Any pain? "),
    Example("short of breath", 1),
]


def _written(name: str = "gpt2") -> tuple[FlatModel, Tokenised, Any]:
    load = tiny_gpt2.load if name == "gpt2" else tiny_llama.load
    seeds = SeedTree(0)
    base = load(labels=0, generator=seeds.torch("model"), task="causal-lm", width=32)
    module, setup = prepare(
        base.module,
        kind="full",
        rank=1,
        train_embeddings=True,
        dropout=True,
        generator=seeds.torch("adapters"),
        task="causal-lm",
    )
    return FlatModel(module, setup), tokenise_causal(ROWS, base.tokenizer, 24), base.tokenizer


def _moved(model: FlatModel) -> torch.Tensor:
    return model.snapshot() + 0.2 * torch.randn(model.layout.size, generator=SeedTree(0).torch("noise"))


@torch.no_grad()
def _by_hand(model: FlatModel, data: Tokenised) -> tuple[list[float], list[int], list[int]]:
    """Each row alone, token by token."""
    module: Any = model.module
    module.eval()
    assert data.learned_from is not None
    sums, counts, right = [], [], []
    for ids, start in zip(data.ids, data.learned_from, strict=True):
        chances = module(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(dim=-1)
        places = range(int(start), len(ids))
        sums.append(-sum(float(chances[i - 1, ids[i]]) for i in places))
        counts.append(len(places))
        right.append(sum(int(chances[i - 1].argmax()) == ids[i] for i in places))
    return sums, counts, right


def _same(found: Evaluation, expected: tuple[list[float], list[int], list[int]]) -> None:
    sums, counts, right = expected
    assert found.texts is not None
    np.testing.assert_allclose(found.texts.nll, sums, rtol=1e-4)
    assert found.texts.learned.tolist() == counts
    assert found.texts.right.tolist() == right
    assert found.loss == pytest.approx(sum(sums) / sum(counts), rel=1e-4)
    assert found.accuracy == sum(right) / sum(counts)
    assert found.correct.tolist() == []


@pytest.mark.parametrize("name", ["gpt2", "llama"])
@pytest.mark.parametrize("bound", [1 << 25, 2 * 12 * 2000, 1])
def test_texts_are_counted_as_a_loop_over_their_tokens_counts_them(
    name: str, bound: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "LOGITS_PER_BATCH", bound)
    model, data, tokenizer = _written(name)
    vector = _moved(model)
    found = evaluate(model, vector, data, tokenizer.pad_token_id)
    _same(found, _by_hand(model, data))
    assert torch.equal(model.snapshot(), vector)


@pytest.mark.parametrize("bound", [1 << 25, 30 * 2000, 1])
def test_no_batch_has_more_outputs_than_the_bound_unless_it_is_one_row(
    bound: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "LOGITS_PER_BATCH", bound)
    model, data, tokenizer = _written()
    shapes: list[torch.Size] = []
    model.module.register_forward_hook(lambda _m, _i, out: shapes.append(out.logits.shape))  # type: ignore[arg-type]
    evaluate(model, model.snapshot(), data, tokenizer.pad_token_id)
    assert sum(shape[0] for shape in shapes) == len(data.ids)
    assert all(shape.numel() <= bound or shape[0] == 1 for shape in shapes)
    assert len(shapes) == {1 << 25: 1, 1: 5}.get(bound, len(shapes))


def test_prompts_do_not_count() -> None:
    model, _, tokenizer = _written()
    bare = tokenise_causal([Example("yes")], tokenizer, 24)
    asked = tokenise_causal([Example("yes", prompt="Any pain? ")], tokenizer, 24)
    found = [evaluate(model, model.snapshot(), data, tokenizer.pad_token_id).texts for data in (bare, asked)]
    assert found[0] is not None
    assert found[1] is not None
    assert found[0].learned.tolist() == found[1].learned.tolist()
    assert found[0].nll.tolist() != found[1].nll.tolist()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_a_ruined_language_model_is_wrong_everywhere(value: float) -> None:
    model, data, tokenizer = _written()
    found = evaluate(model, torch.full((model.layout.size,), value), data, tokenizer.pad_token_id)
    assert found.texts is not None
    assert found.texts.right.tolist() == [0] * len(ROWS) or np.isfinite(found.texts.nll).all()
    assert not np.isnan(found.texts.nll).any()
    assert found.loss > 5.0


def _ask(model: FlatModel) -> Any:
    def answer(queries: tuple[tuple[int, ...], ...]) -> list[torch.Tensor]:
        with torch.no_grad():
            return [model.module(input_ids=torch.tensor([query])).logits[0] for query in queries]

    return answer


def test_a_released_language_model_is_scored_by_its_answers_alone() -> None:
    model, data, _ = _written()
    model.load(_moved(model))
    model.module.eval()
    _same(evaluate_answers(_ask(model), data), _by_hand(model, data))


def test_a_refused_text_is_told_from_one_that_is_not_written() -> None:
    model, data, _ = _written()
    ask = _ask(model)
    found = evaluate_answers(lambda queries: [None if row % 2 else one for row, one in enumerate(ask(queries))], data)
    assert found.refused == 2
    assert answered(found).tolist() == [0, REFUSED, 0, REFUSED, 0]
    assert answered(evaluate_answers(lambda queries: [None] * len(queries), data)).tolist() == [REFUSED] * len(ROWS)


def test_a_released_classifier_is_scored_by_its_answers_alone() -> None:
    base = tiny_bert.load(labels=3, generator=SeedTree(0).torch("model"), width=32)
    options = {"rank": 1, "train_embeddings": True, "dropout": False}
    model = FlatModel(*prepare(base.module, kind="full", generator=SeedTree(0).torch("a"), **options))
    data, vector = tokenise(ROWS * 20, base.tokenizer, 24), _moved(model)
    expected = evaluate(model, vector, data, base.tokenizer.pad_token_id)
    model.module.eval()
    found = evaluate_answers(_ask(model), data)
    assert found.correct.tolist() == expected.correct.tolist()
    assert found.loss == pytest.approx(expected.loss, rel=1e-5)
    assert found.texts is None
