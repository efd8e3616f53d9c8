"""Step 9: the released model answers queries behind its inference-time defenses."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from fedsec.api import Measured, QueryHook, QueryView, ReleaseHook, ReleaseView, Tokens
from fedsec.data.tokens import Tokenised, collate
from fedsec.models.flat import FlatModel
from fedsec.seeds import SeedTree

ROWS_PER_BATCH = 64

Answer = Callable[[tuple[Tokens, ...]], list[torch.Tensor | None]]


def released(
    model: FlatModel, vector: torch.Tensor, tokenizer: Any, hooks: Sequence[tuple[str, QueryHook]], seeds: SeedTree
) -> Answer:
    """Return a function that answers queries with logits, [classes] or [tokens, vocabulary] each, or None.

    Args:
        model: the resident model; each call sets it to `vector`.
        vector: the released trainables [parameters].
        tokenizer: gives padding.
        hooks: inference-time defenses, in the stack's order; the last one meets a query first.
        seeds: the seed tree.
    """

    def plain(queries: tuple[Tokens, ...]) -> list[torch.Tensor | None]:
        return list(logits_of(model, vector, queries, tokenizer.pad_token_id))

    def ask(parameters: torch.Tensor, queries: tuple[Tokens, ...]) -> list[torch.Tensor]:
        return logits_of(model, parameters, queries, tokenizer.pad_token_id)

    answer: Answer = plain
    for label, hook in hooks:
        view = QueryView(
            tokenizer=tokenizer, generator=seeds.torch(f"query {label}"), parameters=vector.clone(), ask=ask
        )
        answer = _through(label, hook, answer, view)
    return answer


def _through(label: str, hook: QueryHook, beneath: Answer, view: QueryView) -> Answer:
    def answer(queries: tuple[Tokens, ...]) -> list[torch.Tensor | None]:
        found = hook.on_query(queries, beneath, view)
        if isinstance(found, Measured):
            found = found.value
        if not isinstance(found, list) or len(found) != len(queries):
            raise ValueError(f"{label} must return a list with one answer for each of {len(queries)} queries")
        if not all(one is None or _is_logits(one) for one in found):
            raise ValueError(f"{label} must answer each query with logits, or with None to refuse it")
        return found

    return answer


def _is_logits(one: object) -> bool:
    return isinstance(one, torch.Tensor) and one.is_floating_point() and one.dim() in (1, 2)


def prepared(
    vector: torch.Tensor, hooks: Sequence[tuple[str, ReleaseHook]], view: Callable[[str], ReleaseView]
) -> torch.Tensor:
    """Return the parameters that are released [parameters]: what the stack's hooks make of the trained ones.

    Args:
        vector: as training left them [parameters].
        hooks: the stack's, in its order.
        view: what a plug-in of that label sees.

    Raises:
        ValueError: a defense returned something of the wrong shape or type, or non-finite numbers.
    """
    for label, hook in hooks:
        found = hook.on_release(vector.clone(), view(label))
        found = found.value if isinstance(found, Measured) else found
        fits = isinstance(found, torch.Tensor) and found.dtype == torch.float32 and found.shape == vector.shape
        if not fits or not bool(found.isfinite().all()):
            raise ValueError(f"{label} must release finite fp32 parameters of the model's length")
        vector = found.detach().clone()
    return vector


@torch.no_grad()
def logits_of(model: FlatModel, vector: torch.Tensor, queries: tuple[Tokens, ...], pad_id: int) -> list[torch.Tensor]:
    """Return the model's answers with the parameters `vector` [parameters], which it keeps, in the queries' order.

    Batched by length, so that little padding is computed.
    """
    model.load(vector)
    model.module.eval()
    data = Tokenised([list(query) for query in queries], np.zeros(len(queries), dtype=np.int64))
    order = np.argsort([len(query) for query in queries], kind="stable")
    answers: list[torch.Tensor] = [torch.empty(0)] * len(queries)
    for start in range(0, len(order), ROWS_PER_BATCH):
        chosen = order[start : start + ROWS_PER_BATCH]
        batch = collate(data, chosen, pad_id)
        logits = model.logits(batch).cpu()
        for row, place in enumerate(chosen):
            one = logits[row] if logits.dim() == 2 else logits[row, : len(queries[place])]
            answers[place] = one.clone()
    return answers
