"""What differential privacy costs in time: gradients of single rows, and clients side by side. Run by `make bench`."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import pytest
import torch

from fedsec import load_scenario
from fedsec.api import TrainingSettings
from fedsec.cell.resources import Resources
from fedsec.cell.training import train
from fedsec.data.tokens import Batch
from fedsec.federation.process_pool import ProcessPool
from fedsec.models import minilm
from fedsec.models.flat import FlatModel
from fedsec.models.local import LocalTrainer, batch_loss
from fedsec.models.tuning import prepare
from fedsec.plan.cells import expand

pytestmark = pytest.mark.bench
TARGET, TOKENS, TWO_CORES = 1.10, 32, 1.6


def _model() -> FlatModel:
    """MiniLM with LoRA of rank 8."""
    base = minilm.load(labels=2, generator=torch.Generator().manual_seed(0))
    module, setup = prepare(
        base.module,
        kind="lora",
        rank=8,
        train_embeddings=False,
        dropout=False,
        generator=torch.Generator().manual_seed(1),
        task="sequence-classification",
    )
    model = FlatModel(module, setup)
    model.values.add_(0.01 * torch.randn(model.values.shape, generator=torch.Generator().manual_seed(2)))
    model.module.eval()
    return model


def _batch(rows: int) -> Batch:
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(1000, 20_000, (rows, TOKENS), generator=generator)
    return Batch(ids, torch.ones_like(ids), torch.randint(0, 2, (rows,), generator=generator))


def _interleaved(works: dict[str, Callable[[], Any]], times: int) -> dict[str, float]:
    """CPU seconds of each, the median of some turns in each of which all run once."""
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(times):
        for name, work in works.items():
            began = time.process_time()
            work()
            taken[name].append(time.process_time() - began)
    return {name: median(seconds[1:] or seconds) for name, seconds in taken.items()}


@pytest.mark.parametrize("rows", [8, 32])
def test_gradients_of_rows_against_a_plain_step(benchmark: Any, rows: int, quick: bool) -> None:
    """Forward, backward and [rows, parameters], on one thread, against the batch's own gradient and Opacus' hooks."""
    grad_sample = pytest.importorskip("opacus.grad_sample")
    model, batch = _model(), _batch(2 if quick else rows)
    settings = TrainingSettings(update="delta", optimizer="sgd", learning_rate=0.1, local_steps=1, batch_size=rows)
    trainer = LocalTrainer(model, settings, dropout=False)
    other = _model()
    for part in other.module.modules():  # Opacus refuses evaluation mode; nothing is to be drawn either way
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    hooked = grad_sample.GradSampleModule(other.module.train(), loss_reduction="sum")

    def plain() -> None:
        model.gradient.zero_()
        batch_loss(model, batch).backward()

    def by_opacus() -> torch.Tensor:
        hooked.zero_grad(set_to_none=True)
        logits = hooked(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        torch.nn.functional.cross_entropy(logits.float(), batch.labels, reduction="sum").backward()
        parts = (p.grad_sample.flatten(1) for p in hooked.parameters() if p.requires_grad)
        return torch.cat(list(parts), dim=1)

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        works = {"plain": plain, "ours": lambda: trainer._rows(batch), "opacus": by_opacus}
        found = benchmark.pedantic(_interleaved, args=(works, 3 if quick else 12), rounds=1)
        error = _error(model, trainer, batch)
    finally:
        torch.set_num_threads(before)
    benchmark.extra_info.update(
        ratio=found["ours"] / found["plain"],
        against=f"a plain step ({1e3 * found['plain']:.0f} ms of CPU); clipped sums are {error:.1e} from an fp64 loop",
        target=TARGET,
        error=error,
        also=[
            {
                "name": "against Opacus' hooks",
                "ratio": found["ours"] / found["opacus"],
                "against": f"GradSampleModule ({found['opacus'] / found['plain']:.2f} plain steps)",
                "target": 1.0,
            }
        ],
    )


def _error(model: FlatModel, trainer: LocalTrainer, batch: Batch) -> float:
    """Relative distance of the clipped sum from a loop in fp64, weights included."""
    each, _ = trainer._rows(batch)
    norms = each.double().norm(dim=1)
    bound = float(norms.median())
    ours = (bound / norms).clamp_max(1.0).float() @ each
    named = dict(model.module.named_parameters())
    kept = {name: parameter.data for name, parameter in named.items()}
    model.module.double()
    rows = []
    for place in range(len(batch.input_ids)):
        loss = _loss(model, batch.row(place))
        chosen = [named[info.name] for info in model.layout.parameters]
        rows.append(torch.cat([part.flatten() for part in torch.autograd.grad(loss, chosen)]))
    for name, parameter in named.items():
        parameter.data = kept[name]
    exact = torch.stack(rows)
    lengths = exact.norm(dim=1)
    true = (bound / lengths).clamp_max(1.0) @ exact
    return float((ours.double() - true).norm() / true.norm())


def _loss(model: FlatModel, batch: Batch) -> torch.Tensor:
    """A row's loss in the precision of the weights."""
    logits = model.module(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    return torch.nn.functional.cross_entropy(logits, batch.labels)


def test_a_private_training_on_two_cores_against_one(benchmark: Any, quick: bool) -> None:
    """DP-SGD on MiniLM's LoRA factors, 4 clients of 5 steps with 16 rows, whose hooks run in worker processes too."""
    scenario = load_scenario(
        {
            "schema": 1,
            "name": "bench/private",
            "summary": "How much do two cores help?",
            "model": {"name": "minilm", "tuning": {"kind": "lora", "rank": 8}, "dropout": False},
            "data": {"name": "clinic-notes", "train": 400, "test": 20, "max_tokens": TOKENS},
            "federation": {
                "clients": 2 if quick else 4,
                "rounds": 2 if quick else 4,
                "local_steps": 1 if quick else 5,
                "batch_size": 16,
                "sampling": "poisson",
                "learning_rate": 0.1,
                "evaluate_every": 4,
            },
            "matrix": {"attack": ["none"], "defense": [{"name": "dp-sgd", "epsilon": 0, "noise_multiplier": 1.0}]},
        }
    )
    cell = next(one for one in expand(scenario) if one.defense)

    def seconds(size: int) -> float:
        outcome = train(cell, frozenset(), Resources("cpu", ProcessPool(size)), lambda _: None).outcome
        return sum(summary.seconds for summary in outcome.rounds[1:])

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone, apart = benchmark.pedantic(lambda: (seconds(1), seconds(2)), rounds=1)
    finally:
        torch.set_num_threads(before)
    benchmark.extra_info.update(
        ratio=apart / alone,
        against=f"one core ({alone:.1f} s): {alone / apart:.2f} times as fast",
        target=1 / TWO_CORES,
    )
