"""A frozen encoder that runs once per text gives what it gives when it runs every time."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from fedsec.api import TrainingSettings
from fedsec.data.tokens import Tokenised, collate
from fedsec.models import frozen_encoder
from fedsec.models.flat import FlatModel
from fedsec.models.frozen_encoder import FrozenEncoder, encode, is_frozen
from fedsec.models.local import LocalTrainer
from fedsec.models.tuning import prepare
from fedsec.seeds import SeedTree, scoped_torch_rng

PAD = 1
SMALL = {"vocab_size": 50, "num_labels": 3, "pad_token_id": PAD}
WIDE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
MODELS = {
    "bert": lambda: BertForSequenceClassification(BertConfig(**SMALL, **WIDE)),
    "roberta": lambda: RobertaForSequenceClassification(RobertaConfig(**SMALL, **WIDE)),
    "distilbert": lambda: DistilBertForSequenceClassification(
        DistilBertConfig(**SMALL, dim=32, n_layers=2, n_heads=2, hidden_dim=64)
    ),
}


def _data(seed: int = 0) -> Tokenised:
    generator = np.random.default_rng(seed)
    ids = [[int(t) for t in generator.integers(2, 50, size=int(n))] for n in generator.integers(3, 12, size=20)]
    return Tokenised(ids, generator.integers(0, 3, size=20))


def _model(name: str, kind: str = "head", *, dropout: bool = False) -> FlatModel:
    seeds = SeedTree(0)
    with scoped_torch_rng(seeds.torch("model")):
        base: Any = MODELS[name]()
    module, setup = prepare(
        base, kind=kind, rank=2, train_embeddings=False, dropout=dropout, generator=seeds.torch("adapters")
    )
    return FlatModel(module, setup)


def _update(model: FlatModel, data: Tokenised) -> torch.Tensor:
    settings = TrainingSettings(update="delta", optimizer="sgd", learning_rate=0.1, local_steps=2, batch_size=4)
    batches = [collate(data, range(4), PAD), collate(data, range(4, 8), PAD)]
    out = torch.empty_like(model.values)
    LocalTrainer(model, settings, dropout=False).update(
        model.values.clone(), batches, out, SeedTree(0).torch("dropout")
    )
    return out


@pytest.mark.parametrize("name", MODELS)
def test_training_is_the_same_with_and_without(name: str) -> None:
    data, plain, cached = _data(), _model(name), _model(name)
    known = encode(cached.module, (data,), PAD)
    assert known is not None
    FrozenEncoder.put_into(cached.module, known)
    torch.testing.assert_close(_update(cached, data), _update(plain, data), rtol=1e-4, atol=1e-6)
    assert cached.attached()


def test_the_encoder_runs_once_for_each_text_that_is_new_whatever_is_beside_it() -> None:
    data, new, model = _data(), _data(1), _model("bert")
    known = encode(model.module, (data,), PAD)
    assert known is not None
    FrozenEncoder.put_into(model.module, known)
    module: Any = model.module
    ran: list[int] = []
    module.bert.encoder.register_forward_hook(lambda *_: ran.append(1))
    module.eval()

    def answer(rows: Sequence[int], texts: Tokenised) -> torch.Tensor:
        ran.clear()
        batch = collate(texts, rows, PAD)
        logits: torch.Tensor = module(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        return logits

    distinct = len({tuple(ids) for ids in new.ids[:8]})
    answer(range(8), data)
    assert not ran
    together = answer(range(8), new)
    assert len(ran) == distinct
    with FrozenEncoder.laid_aside(model.module):
        torch.testing.assert_close(together, answer(range(8), new), rtol=1e-4, atol=1e-6)
    assert torch.equal(answer(range(8), new), together)
    assert not ran
    FrozenEncoder.take_out(model.module)
    FrozenEncoder.put_into(model.module, known)  # as after a restart
    alone = torch.cat([answer([row], new) for row in range(8)])
    torch.testing.assert_close(alone, together, rtol=1e-6, atol=1e-7)


def test_new_texts_are_kept_as_long_as_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    new, model = _data(1), _model("bert")
    FrozenEncoder.put_into(model.module, {})
    monkeypatch.setattr(frozen_encoder, "LARGEST_BYTES", 0)
    module: Any = model.module
    ran: list[int] = []
    module.bert.encoder.register_forward_hook(lambda *_: ran.append(1))
    batch = collate(new, [0], PAD)
    for _ in range(2):
        module.eval()(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
    assert len(ran) == 2


def test_a_stand_in_that_is_lent_remembers_what_it_was_asked_and_leaves_the_model_as_it_was() -> None:
    module, encoder, memory = MODELS["bert"](), None, {}  # type: ignore[var-annotated]
    encoder, ids = module.base_model, torch.tensor([[4, 5, 6]])
    plain = module.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    for _ in range(2):
        with FrozenEncoder.lent(module, memory):
            assert isinstance(module.base_model, FrozenEncoder)
            with FrozenEncoder.lent(module, {}):  # one that is there already stays
                found = module(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        assert module.base_model is encoder
        torch.testing.assert_close(found, plain)
    assert list(memory) == [(4, 5, 6)]


def test_only_a_head_without_dropout_makes_the_encoder_constant() -> None:
    assert is_frozen(_model("bert").setup)
    assert not is_frozen(_model("bert", dropout=True).setup)
    assert not is_frozen(_model("bert", "full").setup)
    assert not is_frozen(_model("bert", "lora").setup)


def test_too_large_outputs_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen_encoder, "LARGEST_BYTES", 1000)
    assert encode(_model("bert").module, (_data(),), PAD) is None


def test_the_bits_do_not_depend_on_the_order_of_splits() -> None:
    model, one, other = _model("bert"), _data(), _data(1)
    first, second = encode(model.module, (one, other), PAD), encode(model.module, (other, one), PAD)
    assert first is not None
    assert second is not None
    assert all(torch.equal(first[key][0], second[key][0]) for key in first)
