"""The built-in model: made from its generator alone, with a vocabulary that holds no client's text."""

import re

import pytest
import torch

from fedsec.data import clinic_notes
from fedsec.models import tiny_bert
from fedsec.models.base import BaseModel
from fedsec.seeds import SeedTree


def _load(seed: int = 0, labels: int = 3, layers: int = 1, width: int = 32) -> BaseModel:
    return tiny_bert.load(labels=labels, generator=SeedTree(seed).torch("model"), layers=layers, width=width)


def _weights(model: BaseModel) -> torch.Tensor:
    return torch.cat([parameter.detach().reshape(-1) for parameter in model.module.parameters()])


def test_weights_come_from_the_generator_alone() -> None:
    first = _weights(_load(1))
    torch.rand(3)  # moves the global generator
    assert torch.equal(_weights(_load(1)), first)
    assert not torch.equal(_weights(_load(2)), first)


def test_the_global_generator_stays_as_it_was() -> None:
    before = torch.get_rng_state()
    _load()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("layers", "width", "labels"), [(1, 16, 2), (3, 48, 6)])
def test_the_sizes_asked_for(layers: int, width: int, labels: int) -> None:
    module = _load(layers=layers, width=width, labels=labels).module
    assert len(module.bert.encoder.layer) == layers  # type: ignore[union-attr, arg-type]
    logits = module(input_ids=torch.tensor([[2, 9, 3]])).logits
    assert logits.shape == (1, labels)
    assert module.bert.embeddings.word_embeddings.embedding_dim == width  # type: ignore[union-attr]


@pytest.mark.parametrize("width", [1, 15, 17, 100])
def test_a_width_that_heads_do_not_divide_is_refused(width: int) -> None:
    with pytest.raises(ValueError, match=f"multiple of 16, not {width}"):
        _load(width=width)


def test_the_hash_names_the_architecture_and_not_the_seed() -> None:
    hashes = {_load(seed=s, layers=n, width=w).weights_hash for s in (0, 1) for n in (1, 2) for w in (16, 32)}
    assert len(hashes) == 4


def test_the_vocabulary_has_no_double_and_begins_with_the_special_tokens() -> None:
    words = tiny_bert.vocabulary()
    assert len(set(words)) == len(words)
    assert words[:5] == ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def test_the_tokenizer_knows_its_special_tokens() -> None:
    tokenizer = _load().tokenizer
    assert (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id) == (
        0,
        1,
        2,
        3,
    )
    assert len(tokenizer) == len(tiny_bert.vocabulary())


def test_words_beyond_the_vocabulary_are_spelled_out() -> None:
    """No text in printable characters loses a letter, so that leakage can be counted exactly."""
    tokenizer = _load().tokenizer
    text = "qqzzxv 000-12-3456 jo.bloggs@example.org 555-0199"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert re.sub(r"\s", "", tokenizer.decode(ids)) == re.sub(r"\s", "", text)


def test_no_note_of_the_corpus_holds_an_unknown_token() -> None:
    tokenizer = _load().tokenizer
    for note in clinic_notes.generate(200):
        assert tokenizer.unk_token_id not in tokenizer(note.text)["input_ids"], note.text


def test_texts_longer_than_the_positions_are_cut_to_them() -> None:
    base = _load()
    ids = base.tokenizer("pain " * 2000, truncation=True)["input_ids"]
    assert len(ids) == base.tokenizer.model_max_length == 512
    assert base.module(input_ids=torch.tensor([ids])).logits.isfinite().all()
