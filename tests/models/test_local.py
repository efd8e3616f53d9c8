"""Local training against plain PyTorch loops on an untouched model."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from fedsec.api import TrainingSettings
from fedsec.data.corpus import Example
from fedsec.data.tokens import Batch, CanaryRows, Tokenised, collate, tokenise, tokenise_causal
from fedsec.federation.evaluation import evaluate
from fedsec.models import tiny_bert, tiny_gpt2
from fedsec.models.base import BaseModel
from fedsec.models.flat import FlatModel
from fedsec.models.local import LocalTrainer, batch_loss, sample_losses, token_losses
from fedsec.models.tuning import prepare
from fedsec.seeds import SeedTree

STEPS, RATE = 4, 0.05
TEXTS = [
    "chest pain since day three",
    "the knee hurts",
    "short of breath at night and in the morning",
    "headache",
    "no fever today, but a cough",
]
DATA_ROWS = [[0, 1], [2, 3], [4, 0], [1, 2], [3, 4]]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _base() -> BaseModel:
    return tiny_bert.load(labels=3, generator=SeedTree(0).torch("model"), layers=2, width=32)


def _module(kind: str) -> tuple[nn.Module, Any]:
    return prepare(
        _base().module,
        kind=kind,
        rank=2,
        train_embeddings=kind == "full",
        dropout=False,
        generator=SeedTree(0).torch("adapters"),
    )


def _data() -> Tokenised:
    return tokenise([Example(text, i % 3) for i, text in enumerate(TEXTS)], _base().tokenizer, 32)


def _batches() -> list[Batch]:
    data = _data()
    return [collate(data, rows, 0) for rows in DATA_ROWS[:STEPS]]


def _settings(update: str = "delta", optimizer: str = "sgd") -> TrainingSettings:
    return TrainingSettings(update=update, optimizer=optimizer, learning_rate=RATE, local_steps=STEPS, batch_size=2)


def _update(
    kind: str, settings: TrainingSettings, batches: list[Batch], *, dropout: bool = False, seed: int = 0
) -> tuple[torch.Tensor, float, FlatModel]:
    flat = FlatModel(*_module(kind))
    out = torch.empty(flat.layout.size)
    generator = SeedTree(seed).torch("dropout")
    loss = LocalTrainer(flat, settings, dropout=dropout).update(flat.values.clone(), batches, out, generator)
    return out, loss, flat


def _plain(
    kind: str, make: Callable[[list[nn.Parameter]], torch.optim.Optimizer], batches: list[Batch]
) -> tuple[torch.Tensor, list[float]]:
    """The same training with torch's own optimizer over separate tensors of a model that nobody flattened."""
    module, setup = _module(kind)
    chosen = [(name, p) for name, p in module.named_parameters() if name in setup.trainable]
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name in setup.trainable)
    before = [p.detach().clone() for _, p in chosen]
    optimizer = make([p for _, p in chosen])
    losses = []
    module.eval()
    for batch in batches:
        optimizer.zero_grad()
        logits = module(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        loss = functional.cross_entropy(logits, batch.labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    after = [p.detach() for _, p in chosen]
    return torch.cat([(a - b).reshape(-1) for a, b in zip(after, before, strict=True)]), losses


def _distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@contextmanager
def _untouched_global_generator() -> Iterator[None]:
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", ["full", "head", "lora"])
def test_sgd_equals_plain_pytorch_bit_for_bit(kind: str) -> None:
    found, loss, _ = _update(kind, _settings(), _batches())
    expected, losses = _plain(kind, lambda ps: torch.optim.SGD(ps, lr=RATE), _batches())
    assert torch.equal(found, expected)
    assert loss == pytest.approx(sum(losses) / len(losses), rel=1e-6)
    assert found.any()


@pytest.mark.parametrize("kind", ["full", "head", "lora"])
@pytest.mark.parametrize("variant", [{"fused": True}, {"foreach": False}])
def test_adamw_equals_plain_pytorch(kind: str, variant: dict[str, bool]) -> None:
    def adamw(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.0, **variant)

    found, loss, _ = _update(kind, _settings(optimizer="adamw"), _batches()[:2])
    expected, losses = _plain(kind, adamw, _batches()[:2])
    # Gradients at the rounding floor (a key's bias) are blown up to full steps by Adam, in either direction.
    assert _distance(found, expected) < (1e-6 if "fused" in variant else 1e-4)
    assert loss == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_adamws_first_step_has_the_learning_rates_size_whatever_the_gradients() -> None:
    found, _, flat = _update("head", _settings(optimizer="adamw"), _batches()[:1])
    moved = found[flat.gradient.abs() > 1e-4]
    assert len(moved) > 10
    torch.testing.assert_close(moved.abs(), torch.full_like(moved, RATE), rtol=1e-3, atol=0)


def test_adamws_moments_start_anew_in_every_round() -> None:
    flat = FlatModel(*_module("head"))
    trainer = LocalTrainer(flat, _settings(optimizer="adamw"), dropout=False)
    start, outs = flat.values.clone(), torch.empty(2, flat.layout.size)
    for out in outs:
        trainer.update(start, _batches(), out, torch.Generator())
    assert torch.equal(outs[0], outs[1])


@pytest.mark.parametrize("kind", ["full", "head", "lora"])
def test_gradient_mode_sends_autograds_gradient_and_moves_nothing(kind: str) -> None:
    batch = _batches()[0]
    found, loss, flat = _update(kind, _settings("gradient"), [batch])
    module, setup = _module(kind)
    parameters = [p for name, p in module.named_parameters() if name in setup.trainable]
    for parameter in parameters:
        parameter.requires_grad_()
    logits = module.eval()(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    expected_loss = functional.cross_entropy(logits, batch.labels)
    gradients = torch.autograd.grad(expected_loss, parameters)
    assert torch.equal(found, torch.cat([g.reshape(-1) for g in gradients]))
    assert loss == float(expected_loss.detach())
    start = torch.cat([p.detach().reshape(-1) for p in parameters])
    assert torch.equal(flat.values, start)


def test_gradient_mode_looks_at_the_first_batch_only() -> None:
    first, _, _ = _update("head", _settings("gradient"), _batches()[:1])
    all_of_them, _, _ = _update("head", _settings("gradient"), _batches())
    assert torch.equal(first, all_of_them)


@pytest.mark.parametrize("update", ["gradient", "delta"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_an_update_depends_on_start_and_batches_and_not_on_who_trained_before(update: str, optimizer: str) -> None:
    alone, _, _ = _update("full", _settings(update, optimizer), _batches())
    flat = FlatModel(*_module("full"))
    trainer = LocalTrainer(flat, _settings(update, optimizer), dropout=False)
    start, out = flat.values.clone(), torch.empty(flat.layout.size)
    trainer.update(start + 0.3, _batches()[::-1], out, torch.Generator())
    trainer.update(start, _batches(), out, torch.Generator())
    assert torch.equal(out, alone)


@pytest.mark.parametrize("update", ["gradient", "delta"])
def test_start_and_batches_stay_as_they_were(update: str) -> None:
    flat = FlatModel(*_module("full"))
    start, batches = flat.values.clone(), _batches()
    before = start.clone(), [[tensor.clone() for tensor in batch[:3]] for batch in batches]
    out = torch.empty(flat.layout.size)
    LocalTrainer(flat, _settings(update), dropout=False).update(start, batches, out, torch.Generator())
    assert torch.equal(start, before[0])
    for batch, copy in zip(batches, before[1], strict=True):
        assert all(torch.equal(now, then) for now, then in zip(batch[:3], copy, strict=True))
    assert flat.attached()


def test_a_row_of_a_larger_buffer_is_written_alone() -> None:
    expected, _, flat = _update("head", _settings(), _batches())
    buffer = torch.full((3, flat.layout.size), 7.0)
    fresh = FlatModel(*_module("head"))
    trainer = LocalTrainer(fresh, _settings(), dropout=False)
    trainer.update(fresh.values.clone(), _batches(), buffer[1], torch.Generator())
    assert torch.equal(buffer[1], expected)
    assert buffer[[0, 2]].eq(7.0).all()


def test_dropout_is_repeatable_by_its_generator_and_off_when_off() -> None:
    def run(dropout: bool, seed: int) -> torch.Tensor:
        return _update("full", _settings(), _batches(), dropout=dropout, seed=seed)[0]

    with _untouched_global_generator():
        on = run(True, 1)
    torch.randn(3)  # moves the global generator
    assert torch.equal(run(True, 1), on)
    assert not torch.equal(run(True, 2), on)
    off = run(False, 1)
    assert torch.equal(run(False, 2), off)
    assert not torch.equal(off, on)


def test_each_step_draws_a_mask_of_its_own() -> None:
    """The same batch twice, with a learning rate of 0: with one mask for both the losses would be equal."""
    flat = FlatModel(*_module("full"))
    still = TrainingSettings(update="delta", optimizer="sgd", learning_rate=0.0, local_steps=2, batch_size=2)
    trainer, batch = LocalTrainer(flat, still, dropout=True), _batches()[0]
    out, start = torch.empty(flat.layout.size), flat.values.clone()
    once = trainer.update(start, [batch], out, SeedTree(0).torch("dropout"))
    twice = trainer.update(start, [batch, batch], out, SeedTree(0).torch("dropout"))
    assert once != twice
    assert not out.any()


def test_the_global_generator_is_untouched_even_after_an_error() -> None:
    flat = FlatModel(*_module("head"))
    bad = Batch(torch.tensor([[10**6]]), torch.ones(1, 1, dtype=torch.long), torch.tensor([0]))
    trainer = LocalTrainer(flat, _settings(), dropout=True)
    with _untouched_global_generator(), pytest.raises(IndexError):
        trainer.update(flat.values.clone(), [bad], torch.empty(flat.layout.size), torch.Generator())


def test_a_rows_loss_does_not_depend_on_the_rows_beside_it() -> None:
    flat, data = FlatModel(*_module("full")), _data()
    flat.module.eval()
    together = sample_losses(flat, collate(data, range(len(TEXTS)), 0))
    alone = [sample_losses(flat, collate(data, [i], 0))[0] for i in range(len(TEXTS))]
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-5, atol=1e-5)


def test_the_batchs_gradient_is_the_mean_of_its_rows_gradients() -> None:
    data = _data()
    whole, _, _ = _update("full", _settings("gradient"), [collate(data, range(len(TEXTS)), 0)])
    rows = [_update("full", _settings("gradient"), [collate(data, [i], 0)])[0] for i in range(len(TEXTS))]
    assert _distance(torch.stack(rows).double().mean(dim=0).float(), whole) < 1e-5


def test_evaluation_equals_one_row_at_a_time_in_the_test_sets_order() -> None:
    flat, data = FlatModel(*_module("full")), _data()
    vector = flat.values + 0.3 * torch.randn(flat.layout.size, generator=SeedTree(0).torch("noise"))
    found = evaluate(flat, vector, data, 0)
    right, losses = [], []
    with torch.no_grad():
        for ids, label in zip(data.ids, data.labels, strict=True):
            logits = flat.module(input_ids=torch.tensor([ids])).logits
            right.append(bool(logits.argmax() == label))
            losses.append(float(functional.cross_entropy(logits, torch.tensor([label]))))
    assert found.correct.tolist() == right
    assert found.loss == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    assert found.accuracy == sum(right) / len(right)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_a_ruined_model_is_wrong_everywhere(value: float) -> None:
    flat, data = FlatModel(*_module("full")), _data()
    found = evaluate(flat, torch.full((flat.layout.size,), value), data, 0)
    assert not found.correct.any()


def _causal() -> tuple[FlatModel, Tokenised]:
    seeds = SeedTree(0)
    base = tiny_gpt2.load(labels=0, generator=seeds.torch("model"), task="causal-lm", width=32)
    module, setup = prepare(
        base.module,
        kind="full",
        rank=1,
        train_embeddings=True,
        dropout=False,
        generator=seeds.torch("adapters"),
        task="causal-lm",
    )
    rows = [Example(text, prompt="Note: " if i % 2 else "") for i, text in enumerate(TEXTS)]
    model = FlatModel(module, setup)
    model.module.eval()
    return model, tokenise_causal(rows, base.tokenizer, 32)


def test_a_causal_batchs_loss_is_the_mean_over_its_learned_tokens() -> None:
    model, data = _causal()
    batch = collate(data, range(len(TEXTS)), 0)
    losses, learned = token_losses(model, batch)
    assert data.learned_from is not None
    counts = [len(ids) - int(start) for ids, start in zip(data.ids, data.learned_from, strict=True)]
    assert learned.sum(dim=1).tolist() == counts
    assert not losses[~learned].any()
    rows = sample_losses(model, batch)
    torch.testing.assert_close(rows, losses.sum(dim=1) / torch.tensor(counts))
    expected = (rows * torch.tensor(counts)).sum() / sum(counts)
    torch.testing.assert_close(batch_loss(model, batch), expected)
    assert len(set(counts)) > 1
    assert not torch.isclose(rows.mean(), expected, rtol=1e-6)


@pytest.mark.parametrize("pad_id", [0, 2])
def test_padding_changes_no_loss_even_if_it_is_the_end_token(pad_id: int) -> None:
    model, data = _causal()
    together = sample_losses(model, collate(data, range(len(TEXTS)), pad_id))
    alone = [sample_losses(model, collate(data, [i], pad_id))[0] for i in range(len(TEXTS))]
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-5, atol=1e-5)


def test_a_prompt_is_read_and_not_learned() -> None:
    """Other prompts change what a text costs; what follows from the prompt alone has no gradient of its own."""
    model, data = _causal()
    row = 1
    assert data.learned_from is not None
    start = int(data.learned_from[row])
    losses, learned = token_losses(model, collate(data, [row], 0))
    assert not learned[0, : start - 1].any()
    assert learned[0, start - 1 : -1].all()
    other = Tokenised([[9, 9, *data.ids[row][2:]]], data.labels[:1], data.learned_from[row : row + 1])
    changed, _ = token_losses(model, collate(other, [0], 0))
    assert (changed[learned] != losses[learned]).all()


def test_causal_training_learns_to_stop() -> None:
    model, data = _causal()
    settings = TrainingSettings(update="delta", optimizer="adamw", learning_rate=0.01, local_steps=30, batch_size=5)
    batches = [collate(data, range(len(TEXTS)), 2)] * 30  # padding is the end token
    start = model.snapshot()
    out = torch.empty_like(start)
    LocalTrainer(model, settings, dropout=False).update(start, batches, out, torch.Generator())
    ids = torch.tensor([data.ids[0][:-1]])
    assert int(model.module.eval()(input_ids=ids).logits[0, -1].argmax()) == 2


@pytest.mark.parametrize("texts", [[0, 1], []])
def test_canaries_are_rows_of_known_gradients(texts: list[int]) -> None:
    """Beside the texts' gradients they are rows of their own; without hooks they are added to the sum."""
    flat = FlatModel(*_module("head"))
    plain = collate(_data(), texts, 0)
    canaries = CanaryRows(torch.tensor([3, 40]), torch.tensor([10.0, -2.0]))
    batch = plain._replace(canaries=canaries)
    trainer = LocalTrainer(flat, _settings("gradient"), dropout=False)
    start, (with_them, without, rows) = flat.values.clone(), torch.empty(3, flat.layout.size)

    class EachRow:
        def gradient(self, step: int, parameters: torch.Tensor, plain: Any, per_example: Any) -> torch.Tensor:
            found: torch.Tensor = per_example()
            assert found.shape == (len(texts) + 2, flat.layout.size)
            assert int(found[-2].count_nonzero()) == int(found[-1].count_nonzero()) == 1
            return found.sum(dim=0) / 4

    for own, out, hooks in ((batch, with_them, None), (plain, without, None), (batch, rows, EachRow())):
        trainer.update(start, [own], out, torch.Generator(), hooks, expected_rows=4.0)
    expected = without.clone()
    expected[canaries.places] += canaries.values / 4
    torch.testing.assert_close(with_them, expected)
    torch.testing.assert_close(rows, expected, atol=1e-6, rtol=1e-5)
