"""Texts that a causal language model writes greedily after prompts."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from fedsec.api import Tokens
from fedsec.federation.process_pool import ProcessPool
from fedsec.federation.release import Answer
from fedsec.models.base import quiet_transformers
from fedsec.models.flat import FlatModel
from fedsec.models.roles import unwrapped

ROWS_PER_BATCH = 16
_NOTHING = -1


@dataclass(frozen=True, slots=True)
class Asked:
    """What a model is asked to write."""

    rows: tuple[int, ...]
    """Numbers of the test rows."""
    prompts: tuple[Tokens, ...]
    """Their token ids up to where the text begins."""
    limit: int
    """Tokens after which a text is cut."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a model wrote before training and after it, without end tokens."""

    rows: tuple[int, ...]
    """Numbers of the test rows."""
    before: tuple[Tokens, ...]
    after: tuple[Tokens, ...]
    """Of the released model; empty where a defense refused to answer."""


@torch.no_grad()
def write(
    model: FlatModel, vector: torch.Tensor, asked: Asked, tokenizer: Any, processes: ProcessPool | None = None
) -> tuple[Tokens, ...]:
    """Return what the parameters `vector` [parameters] write after each prompt: the likeliest token, one after another.

    Prompts are padded on the left in batches of similar length, with masks and positions to suit, and keys and values
    are kept from token to token.

    Args:
        model: the resident model.
        vector: its trainables.
        asked: the prompts.
        tokenizer: gives padding and the end token.
        processes: writes batches side by side; the result does not depend on their number.
    """
    model.load(vector)
    model.module.eval()
    processes = processes or ProcessPool()
    order = sorted(range(len(asked.prompts)), key=lambda place: len(asked.prompts[place]))
    batches = [order[start : start + ROWS_PER_BATCH] for start in range(0, len(order), ROWS_PER_BATCH)]
    shared = processes.empty(len(order), asked.limit, dtype=torch.int64).fill_(_NOTHING)  # [prompts, limit]

    def work(place: int) -> None:
        ids, mask = _left_padded([asked.prompts[row] for row in batches[place]], tokenizer.pad_token_id)
        found = _generated(model, ids, mask, tokenizer, asked.limit)
        shared[batches[place], : found.shape[1]] = found

    processes.run(len(batches), work, "write")
    return tuple(_until(row, (tokenizer.eos_token_id, _NOTHING)) for row in shared.tolist())


def write_through(answer: Answer, asked: Asked, end: int) -> tuple[Tokens, ...]:
    """Return what a released model writes as its answers tell, token by token; a text ends where it refuses.

    Args:
        answer: the model behind its inference-time defenses.
        asked: the prompts.
        end: the end token.
    """
    texts: list[list[int]] = [[] for _ in asked.prompts]
    going = list(range(len(texts)))
    for _ in range(asked.limit):
        if not going:
            break
        found = answer(tuple((*asked.prompts[place], *texts[place]) for place in going))
        still = []
        for place, logits in zip(going, found, strict=True):
            token = end if logits is None or logits.dim() != 2 else int(logits[-1].argmax())
            if token != end:
                texts[place].append(token)
                still.append(place)
        going = still
    return tuple(map(tuple, texts))


def _left_padded(prompts: Sequence[Tokens], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and mask [rows, length]."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[pad_id] * (longest - len(one)) + list(one) for one in prompts])
    mask = torch.tensor([[0] * (longest - len(one)) + [1] * len(one) for one in prompts])
    return ids, mask


def _generated(model: FlatModel, ids: torch.Tensor, mask: torch.Tensor, tokenizer: Any, limit: int) -> torch.Tensor:
    """Return the tokens behind the prompts [rows, at most limit], padded after an end token."""
    inner: Any = unwrapped(model.module)
    with quiet_transformers(), _greedy(inner, tokenizer, limit), model.autocast():
        found = inner.generate(input_ids=ids.to(model.device), attention_mask=mask.to(model.device))
    return found[:, ids.shape[1] :].cpu()  # type: ignore[no-any-return]


@contextmanager
def _greedy(inner: Any, tokenizer: Any, limit: int) -> Iterator[None]:
    """Put aside what a checkpoint says of generation, such as a temperature."""
    from transformers import GenerationConfig

    theirs = inner.generation_config
    inner.generation_config = GenerationConfig(
        max_new_tokens=limit,
        do_sample=False,
        use_cache=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    try:
        yield
    finally:
        inner.generation_config = theirs


def _until(row: Sequence[int], ends: tuple[int, ...]) -> Tokens:
    return tuple(row[: next((place for place, token in enumerate(row) if token in ends), len(row))])
