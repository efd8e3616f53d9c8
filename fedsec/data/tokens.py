"""Texts as token ids, and batches of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from fedsec.data.chat import chat_prompts
from fedsec.data.corpus import Example
from fedsec.errors import FedsecError

NOT_LEARNED = -100
"""Label of a token that is no part of the loss: a prompt's, the first of a row, padding."""


class Tokenised(NamedTuple):
    """A split as token ids."""

    ids: list[list[int]]
    """Special tokens included."""
    labels: np.ndarray
    """int64 [rows], the examples' own."""
    learned_from: np.ndarray | None = None
    """For causal language modelling: int64 [rows], the place in `ids` of each row's first learned token."""


def joined(first: Tokenised, second: Tokenised) -> Tokenised:
    """The rows of both, in this order."""
    if first.learned_from is None or second.learned_from is None:
        learned = None
    else:
        learned = np.concatenate([first.learned_from, second.learned_from])
    return Tokenised([*first.ids, *second.ids], np.concatenate([first.labels, second.labels]), learned)


def chosen(data: Tokenised, rows: Sequence[int] | np.ndarray) -> Tokenised:
    """These rows of a split, in this order."""
    picked = np.asarray(rows, dtype=np.int64)
    learned = None if data.learned_from is None else data.learned_from[picked]
    return Tokenised([data.ids[row] for row in picked.tolist()], data.labels[picked], learned)


class CanaryRows(NamedTuple):
    """Rows of a batch that are no texts: each one's gradient is known, and 0 but for one entry."""

    places: torch.Tensor
    """Where in the flat vector that entry is, int64 [canaries]."""
    values: torch.Tensor
    """The entry, fp32 [canaries]."""


class Batch(NamedTuple):
    """Right-padded rows."""

    input_ids: torch.Tensor
    """[rows, length]"""
    attention_mask: torch.Tensor
    """[rows, length], 1 for a token, 0 for padding."""
    labels: torch.Tensor
    """Classes [rows]; for causal language modelling the ids themselves [rows, length], `NOT_LEARNED` where not learned.
    They are not shifted: a label stands at its own token, which the position before predicts."""
    canaries: CanaryRows | None = None
    """Rows of an audit beside the texts; None without any."""

    def row(self, place: int) -> "Batch":
        """Return one text's row as a batch of its own."""
        own = slice(place, place + 1)
        return Batch(self.input_ids[own], self.attention_mask[own], self.labels[own])


def tokenise(rows: Sequence[Example], tokenizer: Any, max_tokens: int) -> Tokenised:
    """Token ids of every text for classification, cut to `max_tokens`, special tokens included."""
    labels = _labels(rows)
    if not rows:
        return Tokenised([], labels)
    encoded = tokenizer([row.text for row in rows], truncation=True, max_length=max_tokens)
    return Tokenised(encoded["input_ids"], labels)


def tokenise_causal(rows: Sequence[Example], tokenizer: Any, max_tokens: int, *, chat: bool = False) -> Tokenised:
    """Token ids of every prompt and text for causal language modelling.

    A row is [begin token, if the tokenizer adds one] + prompt + text + end token. Prompt and text are tokenised apart,
    so that no token spans the boundary; nothing is put between them. Text and end token are learned, except the very
    first token of a row, which nothing predicts.

    A row that is too long loses the beginning of its prompt first, down to half of the room; then the end of its text,
    and with it the end token, since the text does not end there. The text always keeps at least half of the room.

    Args:
        rows: prompts and texts.
        tokenizer: of the model; needs an end token.
        max_tokens: length of a row at most.
        chat: whether the prompt stands in the tokenizer's chat template as what the user says, up to where the
            assistant's answer begins. A prompt that is cut then loses its own beginning, never the template's.

    Raises:
        FedsecError: the tokenizer has no end token, or a row has nothing to learn; under `chat`, there is no template,
            its answers end otherwise, it leaves no room, or a row has no prompt.
    """
    end = tokenizer.eos_token_id
    if end is None:
        raise FedsecError(
            f"this {type(tokenizer).__name__} has no end token, so that no causal language model can learn to stop; "
            "choose a model with one, or model.task: sequence-classification"
        )
    begin = [] if chat else _begin(tokenizer)  # a template has its own
    if not rows:
        return Tokenised([], _labels(rows), np.zeros(0, dtype=np.int64))
    # Prompts are needed to their end. A text longer than a row is cut by `_cut`, and loses its end token there.
    asked, opening = chat_prompts(rows, tokenizer, max_tokens) if chat else ([row.prompt for row in rows], 0)
    prompts = tokenizer(asked, add_special_tokens=False, verbose=False)["input_ids"]
    texts = tokenizer([row.text for row in rows], add_special_tokens=False, truncation=True, max_length=max_tokens)[
        "input_ids"
    ]
    ids, learned_from = [], np.zeros(len(rows), dtype=np.int64)
    for number, (prompt, text) in enumerate(zip(prompts, texts, strict=True)):
        before, after = _cut(prompt, [*text, end], max_tokens - len(begin), opening)
        ids.append([*begin, *before, *after])
        learned_from[number] = max(1, len(begin) + len(before))
        if learned_from[number] == len(ids[-1]):
            raise FedsecError(f"row {number + 1} of the data has neither a prompt nor a text; nothing can be learned")
    return Tokenised(ids, _labels(rows), learned_from)


def truncated(
    rows: Sequence[Example], tokenizer: Any, max_tokens: int, *, causal: bool, chat: bool = False
) -> list[tuple[str, str]]:
    """What `tokenise` or `tokenise_causal` leaves of every row, as texts: its prompt's end, and its text's beginning.

    Args:
        rows: prompts and texts.
        tokenizer: of the model; one that cannot say where tokens stand leaves the texts as they are.
        max_tokens: length of a row at most.
        causal: whether prompts stand before texts.
        chat: see `tokenise_causal`.
    """
    if not rows or not tokenizer.is_fast:
        return [(row.prompt, row.text) for row in rows]
    texts = _places([row.text for row in rows], tokenizer)
    if not causal:
        room = max_tokens - tokenizer.num_special_tokens_to_add()
        return [(row.prompt, _head(row.text, spans, room)) for row, spans in zip(rows, texts, strict=True)]
    asked, opening = chat_prompts(rows, tokenizer, max_tokens) if chat else ([row.prompt for row in rows], 0)
    whole = tokenizer(asked, add_special_tokens=False, verbose=False)["input_ids"]
    prompts = _places([row.prompt for row in rows], tokenizer)
    room = max_tokens - (0 if chat else len(_begin(tokenizer)))
    found = []
    for row, ids, prompt, text in zip(rows, whole, prompts, texts, strict=True):
        before, after = _cut(ids, [0] * (len(text) + 1), room, opening)  # their number alone counts
        lost = len(ids) - len(before)
        kept = row.prompt if lost == 0 else row.prompt[prompt[lost][0] :] if lost < len(prompt) else ""
        found.append((kept, _head(row.text, text, len(after))))
    return found


def _places(texts: Sequence[str], tokenizer: Any) -> list[list[tuple[int, int]]]:
    """Where each token of each text begins and ends."""
    encoded = tokenizer(list(texts), add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return [list(map(tuple, spans)) for spans in encoded["offset_mapping"]]


def _head(text: str, spans: Sequence[tuple[int, int]], tokens: int) -> str:
    """A text up to so many of its tokens."""
    if len(spans) <= tokens:
        return text
    return text[: spans[tokens - 1][1]] if tokens > 0 else ""


def collate(data: Tokenised, chosen: Sequence[int] | np.ndarray, pad_id: int) -> Batch:
    """The chosen rows as one batch, padded on the right to the longest of them; of no rows, a batch without any."""
    picked = [data.ids[i] for i in chosen]
    length = max((len(ids) for ids in picked), default=0)
    input_ids = torch.full((len(picked), length), pad_id, dtype=torch.long)
    mask = torch.zeros((len(picked), length), dtype=torch.long)
    for row, ids in enumerate(picked):
        input_ids[row, : len(ids)] = torch.tensor(ids)
        mask[row, : len(ids)] = 1
    if data.learned_from is None:
        return Batch(input_ids, mask, torch.from_numpy(data.labels[np.asarray(chosen, dtype=np.int64)]))
    # By place, never by id: the padding token may be the end token, which is learned.
    starts = torch.from_numpy(data.learned_from[np.asarray(chosen, dtype=np.int64)])[:, None]  # [rows, 1]
    learned = (torch.arange(length) >= starts) & mask.bool()  # [rows, length]
    return Batch(input_ids, mask, input_ids.masked_fill(~learned, NOT_LEARNED))


def content_ids(ids: Sequence[int], tokenizer: Any) -> tuple[int, ...]:
    """The ids without special tokens and padding; unknown tokens stay, since they stand for text.

    GPT-2's tokenizer names its end token as its unknown one too; it needs none, and there it marks an end.
    """
    marks = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
    special = set(tokenizer.all_special_ids) - ({tokenizer.unk_token_id} - marks)
    return tuple(i for i in ids if i not in special)


def _labels(rows: Sequence[Example]) -> np.ndarray:
    return np.array([row.label for row in rows], dtype=np.int64)


def _begin(tokenizer: Any) -> list[int]:
    """Return the begin token, if the tokenizer puts one before a text by itself."""
    begin = tokenizer.bos_token_id
    return [begin] if begin is not None and tokenizer("a")["input_ids"][:1] == [begin] else []


def _cut(prompt: list[int], text: list[int], room: int, opening: int) -> tuple[list[int], list[int]]:
    """The end of the prompt and the beginning of the text that fit; the prompt's first `opening` tokens always stay."""
    kept = min(len(prompt), max(room - len(text), room // 2))
    return [*prompt[:opening], *prompt[len(prompt) - kept + opening :]], text[: room - kept]
