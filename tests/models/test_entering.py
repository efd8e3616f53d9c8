"""What enters trained linear maps, against one text after the other without padding."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from fedsec.data.tokens import Tokenised
from fedsec.models.entering import mean_inputs
from fedsec.models.flat import FlatModel
from fedsec.models.tuning import prepare
from fedsec.seeds import SeedTree, scoped_torch_rng

PAD = 0


def _model(kind: str) -> FlatModel:
    seeds = SeedTree(0)
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    with scoped_torch_rng(seeds.torch("model")):
        base: Any = BertForSequenceClassification(BertConfig(vocab_size=50, num_labels=3, **small))
    module, setup = prepare(
        base, kind=kind, rank=2, train_embeddings=False, dropout=True, generator=seeds.torch("adapters")
    )
    return FlatModel(module, setup)


@pytest.mark.parametrize("kind", ["head", "lora", "full"])
def test_sizes_are_means_over_tokens_or_texts_without_padding(kind: str) -> None:
    model, draws = _model(kind), np.random.default_rng(0)
    ids = [[int(token) for token in draws.integers(1, 50, size=int(size))] for size in (9, 3, 6)]
    vector = model.snapshot() + 0.1
    found = mean_inputs(model, vector, Tokenised(ids, np.zeros(3, dtype=np.int64)), PAD)
    parts, seen = dict(model.module.named_modules()), dict[str, list[torch.Tensor]]()
    for name in found:

        def note(part: Any, given: Any, _: Any, name: str = name) -> None:
            seen.setdefault(name, []).append(given[0].detach().reshape(-1, given[0].shape[-1]))

        parts[name.removesuffix(".weight")].register_forward_hook(note)
    model.load(vector)
    model.module.eval()
    for text in ids:
        model.module(input_ids=torch.tensor([text]), attention_mask=torch.ones(1, len(text), dtype=torch.long))
    assert found
    for name, sizes in found.items():
        torch.testing.assert_close(sizes, torch.cat(seen[name]).abs().mean(dim=0), rtol=1e-4, atol=1e-5)
    lengths = {len(seen[name]) for name in found}
    assert lengths == {3}
    if kind == "lora":
        assert {name for name in found if "lora_B" in name}
        assert all(len(found[name]) == 2 for name in found if "lora_B" in name)
    else:
        assert len(found["classifier.weight"]) == 16
