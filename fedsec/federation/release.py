"""Step 9: the released model answers queries behind its inference-time defenses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from fedsec.api import Language, Measured, QueryHook, QueryView, ReleaseHook, ReleaseView, Sample, Tokens
from fedsec.data.tokens import Tokenised, collate
from fedsec.federation.measurements import Measurements
from fedsec.models.base import positions_of
from fedsec.models.flat import FlatModel
from fedsec.models.roles import unwrapped
from fedsec.seeds import SeedTree

ROWS_PER_BATCH = 64

Answer = Callable[[tuple[Tokens, ...]], list[torch.Tensor | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What inference-time defenses know beside the released model."""

    tokenizer: Any
    classes: tuple[str, ...] = ()
    trusted: tuple[Sample, ...] = ()
    encode: Callable[[Sequence[str]], tuple[Tokens, ...]] | None = None
    """Turns texts into queries."""
    language: Language | None = None


def released(
    model: FlatModel,
    vector: torch.Tensor,
    known: Known,
    hooks: Sequence[tuple[str, QueryHook]],
    seeds: SeedTree,
    measurements: Measurements | None = None,
) -> Answer:
    """Return a function that answers queries with logits, [classes] or [tokens, vocabulary] each, or None.

    Args:
        model: the resident model; each call sets it to `vector`.
        vector: the released trainables [parameters].
        known: to the defenses.
        hooks: inference-time defenses, in the stack's order; the last one meets a query first.
        seeds: the seed tree.
        measurements: takes what the defenses measure; nothing does if absent.
    """
    pad_id, measurements = known.tokenizer.pad_token_id, measurements or Measurements()
    positions = positions_of(model.module) if hooks else None

    def ask(parameters: torch.Tensor, queries: tuple[Tokens, ...]) -> list[torch.Tensor]:
        return logits_of(model, parameters, queries, pad_id)

    def plain(queries: tuple[Tokens, ...]) -> list[torch.Tensor | None]:
        return list(ask(vector, queries))

    answer: Answer = plain
    for label, hook in hooks:
        view = QueryView(
            tokenizer=known.tokenizer,
            generator=seeds.torch(f"query {label}"),
            parameters=vector.clone(),
            ask=ask,
            classes=known.classes,
            trusted=known.trusted,
            encode=known.encode,
            embed=partial(embeddings_of, model, vector),
            ask_embedded=partial(logits_of_embeddings, model, vector),
            language=known.language,
            positions=positions,
        )
        answer = _through(label, hook, answer, view, measurements)
    return answer


def _through(label: str, hook: QueryHook, beneath: Answer, view: QueryView, measurements: Measurements) -> Answer:
    def answer(queries: tuple[Tokens, ...]) -> list[torch.Tensor | None]:
        found: Any = measurements.of(label, hook.on_query(queries, beneath, view))
        if not isinstance(found, list) or len(found) != len(queries):
            raise ValueError(f"{label} must return a list with one answer for each of {len(queries)} queries")
        if not all(one is None or _is_logits(one) for one in found):
            raise ValueError(f"{label} must answer each query with logits, or with None to refuse it")
        return list(found)

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


@torch.no_grad()
def embeddings_of(model: FlatModel, vector: torch.Tensor, queries: tuple[Tokens, ...]) -> list[torch.Tensor]:
    """Return the word embeddings of each query [tokens, width], on the CPU, with the parameters `vector` [parameters].

    The model keeps these.
    """
    model.load(vector)
    inner: Any = unwrapped(model.module)
    table = inner.get_input_embeddings()
    return [table(torch.tensor(query, device=model.device)).to("cpu", copy=True) for query in queries]


def logits_of_embeddings(model: FlatModel, vector: torch.Tensor, texts: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return the model's answers to texts as embeddings [tokens, width], differentiable in them, in their order.

    Texts of one length go together, so that nothing is padded. The model keeps the parameters `vector` [parameters].
    """
    model.load(vector)
    model.module.eval()
    answers: list[torch.Tensor] = [torch.empty(0)] * len(texts)
    lengths = [len(text) for text in texts]
    for length in sorted(set(lengths)):
        own = [place for place, one in enumerate(lengths) if one == length]
        for start in range(0, len(own), ROWS_PER_BATCH):
            part = own[start : start + ROWS_PER_BATCH]
            inputs = torch.stack([texts[place] for place in part]).to(model.device)  # [rows, length, width]
            mask = torch.ones(inputs.shape[:2], dtype=torch.long, device=model.device)
            with model.autocast():
                logits = model.module(inputs_embeds=inputs, attention_mask=mask).logits.float().cpu()
            for place, one in zip(part, logits, strict=True):
                answers[place] = one
    return answers
