"""Token ids and batches."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec.data.corpus import Example
from fedsec.data.tokens import NOT_LEARNED, Tokenised, collate, content_ids, tokenise, tokenise_causal, truncated
from fedsec.errors import FedsecError
from fedsec.models import tiny_bert
from fedsec.models.byte_tokens import own_tokenizer
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


class Letters:
    """A tokenizer with one token per letter: a is 0, and so on; no begin token of its own accord unless asked."""

    bos_token_id, eos_token_id = 100, 101

    def __init__(self, *, adds_begin: bool = False, end: int | None = 101) -> None:
        self.adds_begin, self.eos_token_id = adds_begin, end  # type: ignore[assignment]

    def __call__(self, texts: Any, add_special_tokens: bool = True, **_: Any) -> dict[str, Any]:
        if isinstance(texts, str):
            return {"input_ids": self([texts], add_special_tokens)["input_ids"][0]}
        begin = [self.bos_token_id] if self.adds_begin and add_special_tokens else []
        return {"input_ids": [[*begin, *(ord(letter) - ord("a") for letter in text)] for text in texts]}


def _example(prompt: str, text: str) -> Example:
    return Example(text, prompt=prompt)


@pytest.mark.parametrize(
    ("adds_begin", "prompt", "text", "ids", "learned"),
    [
        (True, "ab", "cd", [100, 0, 1, 2, 3, 101], [2, 3, 101]),
        (False, "ab", "cd", [0, 1, 2, 3, 101], [2, 3, 101]),
        (True, "", "cd", [100, 2, 3, 101], [2, 3, 101]),
        (False, "", "cd", [2, 3, 101], [3, 101]),  # nothing predicts the first token of all
        (False, "ab", "", [0, 1, 101], [101]),
        (True, "", "", [100, 101], [101]),
    ],
)
def test_prompts_are_read_and_texts_with_their_end_are_learned(
    adds_begin: bool, prompt: str, text: str, ids: list[int], learned: list[int]
) -> None:
    data = tokenise_causal([_example(prompt, text)], Letters(adds_begin=adds_begin), 32)
    assert data.ids == [ids]
    batch = collate(data, [0], PAD)
    assert batch.labels[batch.labels != NOT_LEARNED].tolist() == learned
    assert batch.labels.tolist() == [[NOT_LEARNED] * (len(ids) - len(learned)) + learned]


@pytest.mark.parametrize(
    ("prompt", "text", "ids"),
    [
        ("abcdefgh", "xy", [5, 6, 7, 23, 24, 101]),  # the prompt loses its beginning, the text nothing
        ("ab", "uvwxyz", [0, 1, 20, 21, 22, 23]),  # the text loses its end, and no end token says that it stopped
        ("abcdefgh", "uvwxyz", [5, 6, 7, 20, 21, 22]),  # both: half for each
        ("", "uvwxyz", [20, 21, 22, 23, 24, 25]),
        ("", "vwxyz", [21, 22, 23, 24, 25, 101]),
    ],
)
def test_what_is_too_long_loses_the_prompts_beginning_and_then_the_texts_end(
    prompt: str, text: str, ids: list[int]
) -> None:
    assert tokenise_causal([_example(prompt, text)], Letters(), 6).ids == [ids]


_letters = st.text(alphabet="abcdefghij", max_size=30)


@settings(deadline=None)
@given(st.lists(st.tuples(_letters, _letters.filter(bool)), min_size=1, max_size=5), st.integers(8, 20), st.booleans())
def test_every_row_fits_and_learns_what_a_loop_over_it_says(
    rows: list[tuple[str, str]], longest: int, adds_begin: bool
) -> None:
    tokenizer = Letters(adds_begin=adds_begin)
    data = tokenise_causal([_example(*row) for row in rows], tokenizer, longest)
    batch = collate(data, range(len(rows)), 101)  # padding is the end token
    for line, (prompt, text), labels in zip(data.ids, rows, batch.labels.tolist(), strict=True):
        begin, ids = [100] * adds_begin, [ord(c) - ord("a") for c in text] + [101]
        assert len(line) <= longest
        assert line[: len(begin)] == begin
        kept = next(k for k in range(len(prompt), -1, -1) if _fits(line, begin, prompt, ids, k))
        learned = [i for i in range(len(line)) if i >= max(1, len(begin) + kept)]
        assert learned, "a row without a learned token"
        assert labels == [line[i] if i in learned else NOT_LEARNED for i in range(len(labels))]
        room = longest - len(begin)
        assert kept == len(prompt) or kept + len(ids) >= room
        assert len(line) - len(begin) - kept == min(len(ids), room - kept)


def _fits(line: list[int], begin: list[int], prompt: str, ids: list[int], kept: int) -> bool:
    before = [ord(c) - ord("a") for c in prompt[len(prompt) - kept :]]
    rest = line[len(begin) + kept :]
    return line[len(begin) : len(begin) + kept] == before and rest == ids[: len(rest)] and bool(rest)


def test_the_end_is_learned_and_padding_is_not_where_they_are_one_token() -> None:
    data = tokenise_causal([_example("", "ab"), _example("", "abcdef")], Letters(), 32)
    batch = collate(data, [0, 1], 101)
    assert batch.input_ids[0].tolist() == [0, 1, 101, 101, 101, 101, 101]
    assert batch.labels[0].tolist() == [NOT_LEARNED, 1, 101, *[NOT_LEARNED] * 4]


def test_an_end_token_inside_a_prompt_is_not_learned() -> None:
    tokenizer = Letters(end=3)
    data = tokenise_causal([_example("ada", "b")], tokenizer, 32)
    assert collate(data, [0], 3).labels.tolist() == [[NOT_LEARNED] * 3 + [1, 3]]


def test_labels_of_the_examples_stay_for_partitions() -> None:
    data = tokenise_causal([Example("ab", 2), Example("c", 1)], Letters(), 32)
    assert data.labels.tolist() == [2, 1]


def test_a_row_with_nothing_to_learn_is_refused_with_its_number() -> None:
    with pytest.raises(FedsecError, match="row 2 of the data has neither a prompt nor a text"):
        tokenise_causal([_example("", "a"), _example("", "")], Letters(), 32)


def test_a_tokenizer_without_an_end_is_refused(tokenizer: Any) -> None:
    with pytest.raises(FedsecError, match="no end token"):
        tokenise_causal([_example("", "a")], Letters(end=None), 32)


def test_no_rows_give_no_ids_for_writing_either() -> None:
    data = tokenise_causal([], Letters(), 8)
    assert data.ids == []
    assert data.learned_from is not None
    assert data.learned_from.shape == (0,)


def test_no_token_spans_the_boundary_between_prompt_and_text() -> None:
    """One piece together, two pieces apart: what is learned begins exactly with the text."""
    real = own_tokenizer(2000, 512)
    whole = real(" patient", add_special_tokens=False)["input_ids"]
    data = tokenise_causal([_example(" pati", "ent")], real, 32)
    (ids,) = data.ids
    assert data.learned_from is not None
    start = int(data.learned_from[0])
    assert len(whole) == 1
    assert real.decode(ids[1:start]) == " pati"
    assert real.decode(ids[start:-1]) == "ent"
    assert (ids[0], ids[-1]) == (real.bos_token_id, real.eos_token_id)
    assert content_ids(ids, real) == tuple(ids[1:-1])


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.text("ab c\n", max_size=12), st.text("ab c\n", min_size=1, max_size=12)), max_size=4),
    st.integers(2, 24),
)
def test_what_is_left_as_text_has_the_tokens_that_are_left(rows: list[tuple[str, str]], longest: int) -> None:
    """Of a byte tokenizer, where no token changes with its neighbours."""
    made = [Example(text, prompt=prompt) for prompt, text in rows]
    own = own_tokenizer(300, 512)
    left = [Example(text, prompt=prompt) for prompt, text in truncated(made, own, longest, causal=True)]
    for row, cut, ids in zip(made, left, tokenise_causal(made, own, longest).ids, strict=True):
        assert row.prompt.endswith(cut.prompt)
        assert row.text.startswith(cut.text)
        assert own.decode(content_ids(ids, own)) == cut.prompt + cut.text


@pytest.mark.parametrize("longest", [3, 8, 500])
def test_a_classifier_sees_the_beginning(longest: int, tokenizer: Any) -> None:
    row = Example("Pain in  the chest and in the left arm since day three ", prompt="as it is")
    ((prompt, text),) = truncated([row], tokenizer, longest, causal=False)
    assert prompt == row.prompt
    assert row.text.startswith(text)
    assert (text == row.text) == (longest == 500)
    left, whole = (tokenise([Example(one)], tokenizer, longest).ids for one in (text, row.text))
    assert left == whole
