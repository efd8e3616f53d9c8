"""Speed as ratios against a named floor, measured in one run. Run by `make bench`, never by the tests."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import pytest
import torch

from fedsec.api import TrainingSettings
from fedsec.data.corpus import Example
from fedsec.data.tokens import Batch, collate, tokenise
from fedsec.maths.rows import Rows
from fedsec.models import minilm, tiny_bert
from fedsec.models.flat import FlatModel
from fedsec.models.local import LocalTrainer
from fedsec.models.tuning import prepare
from fedsec.seeds import SeedTree

pytestmark = pytest.mark.bench
ROUNDS = 7


def _paired(benchmark: Any, ours: Callable[[], Any], floor: Callable[[], Any], against: str) -> None:
    """Time both in turn; the ratio is the median over pairs, so drift of a shared machine cancels out."""
    ours(), floor()
    wall, cpu = [], []
    for _ in range(ROUNDS):
        stamps = [(time.perf_counter(), time.process_time())]
        for run in (ours, floor):
            run()
            stamps.append((time.perf_counter(), time.process_time()))
        for ratios, (began, between, ended) in zip((wall, cpu), zip(*stamps, strict=True), strict=True):
            ratios.append((between - began) / (ended - between))
    benchmark.extra_info.update(ratio=median(wall), cpu=median(cpu), against=against)
    benchmark.pedantic(ours, rounds=3)


def test_distances_against_one_gram_product(benchmark: Any) -> None:
    matrix = torch.randn(50, 1_000_000)
    _paired(
        benchmark,
        lambda: Rows(matrix).squared_distances(),
        lambda: matrix @ matrix.T,
        "one fp32 Gram product, n=50, d=1e6",
    )


def test_weighted_sum_against_one_product(benchmark: Any) -> None:
    matrix, weights = torch.randn(50, 1_000_000), torch.full((50,), 0.02, dtype=torch.float64)
    _paired(
        benchmark,
        lambda: Rows(matrix).weighted_sum(weights),
        lambda: weights.float() @ matrix,
        "one fp32 product, n=50, d=1e6",
    )


@pytest.mark.parametrize(("name", "kind"), [("minilm", "lora"), ("minilm", "full"), ("tiny-bert", "full")])
def test_local_training_against_a_bare_loop(benchmark: Any, name: str, kind: str) -> None:
    load = minilm.load if name == "minilm" else tiny_bert.load
    flat, batches = _model(load, kind)
    settings = TrainingSettings(update="delta", optimizer="adamw", learning_rate=1e-3, local_steps=4, batch_size=8)
    trainer, start, out = (
        LocalTrainer(flat, settings, dropout=False),
        flat.values.clone(),
        torch.empty_like(flat.values),
    )
    bare, _ = _model(load, kind)

    def floor() -> None:
        parameters = [p for p in bare.module.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.0, fused=True)
        for batch in batches:
            optimizer.zero_grad(set_to_none=True)
            logits = bare.module(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
            torch.nn.functional.cross_entropy(logits, batch.labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    generator = SeedTree(0).torch("dropout")
    _paired(
        benchmark,
        lambda: trainer.update(start, batches, out, generator),
        floor,
        f"a bare PyTorch loop with the same 4 steps of 8 rows of 32 tokens ({name}, {kind})",
    )


def _model(load: Callable[..., Any], kind: str) -> tuple[FlatModel, list[Batch]]:
    seeds = SeedTree(0)
    base = load(labels=6, generator=seeds.torch("model"))
    module, setup = prepare(
        base.module,
        kind=kind,
        rank=8,
        train_embeddings=kind == "full",
        dropout=False,
        generator=seeds.torch("adapters"),
    )
    module.eval()
    data = tokenise([Example("the patient has pain " * 10, i % 6) for i in range(32)], base.tokenizer, 32)
    return FlatModel(module, setup), [collate(data, range(8 * i, 8 * i + 8), 0) for i in range(4)]
