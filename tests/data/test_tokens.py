"""Token ids and batches."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec.data.corpus import Example
from fedsec.data.tokens import Tokenised, collate, content_ids, tokenise
from fedsec.models import tiny_bert
from fedsec.seeds import SeedTree

PAD = 0


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    """The tiny model's."""
    return tiny_bert.load(labels=2, generator=SeedTree(0).torch("m"), layers=1, width=16).tokenizer


def test_every_text_gets_its_special_tokens_and_label(tokenizer: Any) -> None:
    rows = [Example("chest pain", 1), Example("a", 0)]
    data = tokenise(rows, tokenizer, 32)
    assert data.labels.tolist() == [1, 0]
    assert data.labels.dtype == np.int64
    for row, ids in zip(rows, data.ids, strict=True):
        assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
        assert tokenizer.decode(ids[1:-1]) == row.text


@pytest.mark.parametrize("longest", [3, 8, 20])
def test_long_texts_are_cut_with_their_special_tokens_kept(longest: int, tokenizer: Any) -> None:
    text = "pain in the chest and in the left arm since day three " * 3
    (ids,) = tokenise([Example(text, 0)], tokenizer, longest).ids
    (whole,) = tokenise([Example(text, 0)], tokenizer, 500).ids
    assert len(ids) == longest
    assert ids == [*whole[: longest - 1], tokenizer.sep_token_id]


def test_no_rows_give_no_ids(tokenizer: Any) -> None:
    data = tokenise([], tokenizer, 8)
    assert data.ids == []
    assert data.labels.shape == (0,)


_rows = st.lists(st.lists(st.integers(1, 99), min_size=1, max_size=9), min_size=1, max_size=6)


@settings(deadline=None)
@given(_rows, st.data())
def test_a_batch_holds_the_chosen_rows_in_order_padded_on_the_right(rows: list[list[int]], data: Any) -> None:
    split = Tokenised(rows, np.arange(len(rows), dtype=np.int64) * 10)
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1, max_size=8))
    for picks in (chosen, np.array(chosen)):
        batch = collate(split, picks, PAD)
        longest = max(len(rows[i]) for i in chosen)
        assert batch.input_ids.shape == batch.attention_mask.shape == (len(chosen), longest)
        assert batch.input_ids.dtype == batch.attention_mask.dtype == batch.labels.dtype == torch.long
        for index, row in enumerate(chosen):
            length = len(rows[row])
            assert batch.input_ids[index, :length].tolist() == rows[row]
            assert batch.input_ids[index, length:].eq(PAD).all()
            assert batch.attention_mask[index].tolist() == [1] * length + [0] * (longest - length)
        assert batch.labels.tolist() == [10 * i for i in chosen]


def test_a_batch_shares_no_memory_with_the_split() -> None:
    split = Tokenised([[5, 6]], np.array([1]))
    batch = collate(split, [0], PAD)
    batch.labels.fill_(9)
    batch.input_ids.fill_(9)
    assert split.labels.tolist() == [1]
    assert split.ids == [[5, 6]]


def test_the_padding_id_may_be_any(tokenizer: Any) -> None:
    split = Tokenised([[5], [6, 7]], np.array([0, 1]))
    assert collate(split, [0, 1], 77).input_ids.tolist() == [[5, 77], [6, 7]]


def test_content_is_what_is_left_without_special_tokens(tokenizer: Any) -> None:
    plain = tokenizer("chest pain", add_special_tokens=False)["input_ids"]
    ids = tokenizer("chest pain", padding="max_length", max_length=9)["input_ids"]
    assert len(ids) == 9
    assert content_ids(ids, tokenizer) == tuple(plain)
    assert content_ids([], tokenizer) == ()


def test_an_unknown_token_stands_for_text_and_stays(tokenizer: Any) -> None:
    ids = tokenizer("pain 漢字")["input_ids"]
    assert tokenizer.unk_token_id in ids
    assert tokenizer.unk_token_id in content_ids(ids, tokenizer)
