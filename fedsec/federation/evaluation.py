"""Evaluation of the global model on the test set."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from fedsec.api import Tokens
from fedsec.data.tokens import NOT_LEARNED, Tokenised, collate
from fedsec.federation.process_pool import ProcessPool
from fedsec.models.flat import FlatModel
from fedsec.models.local import next_tokens

ROWS_PER_BATCH = 64
LOGITS_PER_BATCH = 1 << 25
"""Logits in one batch of a causal language model: 128 MB in fp32. Long texts and large vocabularies make smaller
batches."""


class TokenCounts(NamedTuple):
    """Per-text results of a causal language model, in the test set's order."""

    nll: np.ndarray
    """Negative log likelihood in nats, summed over the learned tokens, fp64 [rows]; may be infinite."""
    learned: np.ndarray
    """Number of learned tokens, int64 [rows]."""
    right: np.ndarray
    """Number of learned tokens that were the model's first choice, int64 [rows]."""


NO_CLASS, REFUSED = -1, -2
"""Stands in place of a predicted class where outputs are not finite, or a defense refused to answer."""


class Evaluation(NamedTuple):
    """The result of an evaluation."""

    correct: np.ndarray
    """Whether each row is right, bool [rows], in the test set's order; empty for a causal language model."""
    loss: float
    """Mean cross-entropy over rows, or over all learned tokens; refused rows are left out."""
    texts: TokenCounts | None = None
    """For a causal language model only."""
    predicted: np.ndarray = np.zeros(0, dtype=np.int64)
    """Predicted class of each row, int64 [rows], `NO_CLASS` or `REFUSED`; empty for a causal language model."""
    refusals: np.ndarray = np.zeros(0, dtype=bool)
    """Whether a defense refused to answer each row, bool [rows]; empty where none could."""

    @property
    def refused(self) -> int:
        """Return the number of rows that a defense refused to answer."""
        return int(self.refusals.sum())

    @property
    def accuracy(self) -> float:
        """Return the fraction of rows classified right, or of learned tokens predicted right."""
        if self.texts is not None:
            return float(self.texts.right.sum() / self.texts.learned.sum())
        return float(self.correct.mean())


@torch.inference_mode()
def evaluate(
    model: FlatModel, vector: torch.Tensor, test: Tokenised, pad_id: int, processes: ProcessPool | None = None
) -> Evaluation:
    """Return accuracy and loss of the parameters `vector` [parameters] on `test`, without dropout.

    Rows are batched by length, so that little padding is computed; the result is in the test set's order. A model
    that an attack drove to non-finite outputs counts as wrong everywhere.

    Args:
        model: the resident model.
        vector: its trainables.
        test: the test set.
        pad_id: padding token.
        processes: computes batches side by side; the result does not depend on their number.
    """
    model.load(vector)
    model.module.eval()
    processes = processes or ProcessPool()
    return (
        _classified(model, test, pad_id, processes)
        if test.learned_from is None
        else _written(model, test, pad_id, processes)
    )


@torch.inference_mode()
def predict(
    model: FlatModel, vector: torch.Tensor, texts: Tokenised, pad_id: int, processes: ProcessPool | None = None
) -> np.ndarray:
    """Return what the parameters `vector` [parameters] make of each text, int64 [texts]; see `answered`.

    Args:
        model: the resident model.
        vector: its trainables.
        texts: to classify, or to be written; their labels are not looked at.
        pad_id: padding token.
        processes: computes batches side by side.
    """
    model.load(vector)
    model.module.eval()
    processes = processes or ProcessPool()
    if texts.learned_from is None:
        return _classified(model, texts, pad_id, processes).predicted
    return answered(_written(model, texts, pad_id, processes))


def answered(found: Evaluation) -> np.ndarray:
    """Return the predicted class of each text, int64 [texts], `NO_CLASS` or `REFUSED`.

    Of a causal language model, 1 where every learned token is its first choice after those before it, and else 0: then
    greedy decoding writes exactly this text; `REFUSED` as well.
    """
    if found.texts is None:
        return found.predicted
    written = (found.texts.right == found.texts.learned).astype(np.int64)
    return np.where(found.refusals, REFUSED, written) if len(found.refusals) else written


def evaluate_answers(answer: Callable[[tuple[Tokens, ...]], list[torch.Tensor | None]], test: Tokenised) -> Evaluation:
    """Return accuracy and loss of a released model through its answers on `test`; a refused row counts as wrong.

    Args:
        answer: fp32 logits for each query: [classes], or [tokens, words] of a causal language model; None if refused.
        test: the test set.
    """
    count, first = len(test.ids), test.learned_from
    predicted = np.full(count if first is None else 0, REFUSED, dtype=np.int64)
    texts = _no_counts(0 if first is None else count)
    total, words, refusals = 0.0, 0, np.zeros(count, dtype=bool)
    for start in range(0, count, ROWS_PER_BATCH):
        rows = range(start, min(count, start + ROWS_PER_BATCH))
        for row, logits in zip(rows, answer(tuple(tuple(test.ids[i]) for i in rows)), strict=True):
            if logits is None or (first is not None and len(logits) != len(test.ids[row])):
                refusals[row] = logits is None
                if first is not None:
                    texts.learned[row] = (next_tokens(collate(test, [row], 0)) != NOT_LEARNED).sum()
            elif first is None:
                found, loss = _classes(logits[None], torch.tensor([int(test.labels[row])]))
                predicted[row], total = int(found[0]), total + loss
            else:
                _count(texts, np.array([row]), logits[None], next_tokens(collate(test, [row], 0)))
                words = logits.shape[-1]
    if first is not None:
        # Who is told nothing guesses among all words.
        unanswered = (texts.nll == 0) & (texts.right == 0)
        texts.nll[unanswered] = texts.learned[unanswered] * (np.log(words) if words else np.inf)
        return _summed(texts)._replace(refusals=refusals)
    answered_rows = max(1, count - int(refusals.sum()))
    return Evaluation(predicted == test.labels, total / answered_rows, None, predicted, refusals)


def _classified(model: FlatModel, test: Tokenised, pad_id: int, processes: ProcessPool) -> Evaluation:
    order = _by_length(test)
    batches = [order[start : start + ROWS_PER_BATCH] for start in range(0, len(order), ROWS_PER_BATCH)]
    shared, losses = processes.empty(len(order), dtype=torch.int64), processes.empty(len(batches), dtype=torch.float64)

    def work(place: int) -> None:
        batch = collate(test, batches[place], pad_id)
        found, losses[place] = _classes(model.logits(batch), batch.labels)
        shared[batches[place]] = torch.from_numpy(found)

    processes.run(len(batches), work, "evaluate")
    predicted = shared.numpy().copy()
    return Evaluation(predicted == test.labels, sum(losses.tolist()) / len(order), None, predicted)


def _classes(logits: torch.Tensor, labels: torch.Tensor) -> tuple[np.ndarray, float]:
    """Return the class of each row, int64 [rows], and the sum of the rows' losses, from logits [rows, classes]."""
    labels = labels.to(logits.device)
    found = torch.where(logits.isfinite().all(dim=1), logits.argmax(dim=1), NO_CLASS)
    return found.cpu().numpy(), float(functional.cross_entropy(logits, labels, reduction="sum"))


def _written(model: FlatModel, test: Tokenised, pad_id: int, processes: ProcessPool) -> Evaluation:
    batches, rows = list(_batches(model, test)), len(test.ids)
    nll = processes.empty(rows, dtype=torch.float64)
    learned, right = processes.empty(rows, dtype=torch.int64), processes.empty(rows, dtype=torch.int64)
    shared = TokenCounts(nll.numpy(), learned.numpy(), right.numpy())

    def work(place: int) -> None:
        batch = collate(test, batches[place], pad_id)
        _count(shared, batches[place], model.logits(batch), next_tokens(batch))

    processes.run(len(batches), work, "evaluate")
    return _summed(TokenCounts(*(one.copy() for one in shared)))


def _count(texts: TokenCounts, chosen: np.ndarray, logits: torch.Tensor, targets: torch.Tensor) -> None:
    """Fill in the chosen rows from logits [rows, length, words] and the tokens to predict [rows, length]."""
    targets = targets.to(logits.device)
    learned = targets != NOT_LEARNED
    losses = functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), reduction="none", ignore_index=NOT_LEARNED
    ).view(targets.shape)
    finite = logits.isfinite().all(dim=2)
    right = (logits.argmax(dim=2) == targets) & learned & finite
    texts.nll[chosen] = losses.sum(dim=1, dtype=torch.float64).nan_to_num(nan=torch.inf).cpu().numpy()
    texts.learned[chosen] = learned.sum(dim=1).cpu().numpy()
    texts.right[chosen] = right.sum(dim=1).cpu().numpy()


def _no_counts(rows: int) -> TokenCounts:
    return TokenCounts(np.zeros(rows), np.zeros(rows, dtype=np.int64), np.zeros(rows, dtype=np.int64))


def _summed(texts: TokenCounts) -> Evaluation:
    return Evaluation(np.zeros(0, dtype=bool), float(texts.nll.sum() / texts.learned.sum()), texts)


def _batches(model: FlatModel, test: Tokenised) -> Iterator[np.ndarray]:
    """Return row numbers by length, shortest first, in batches of at most `LOGITS_PER_BATCH` outputs (or one row).

    Lengths are bounded by the batch's last row, since rows are sorted.
    """
    order, words = _by_length(test), int(model.module.config.vocab_size)  # type: ignore[union-attr, arg-type]
    waiting: list[int] = []
    for row in order:
        outputs = (len(waiting) + 1) * len(test.ids[row]) * words
        if waiting and (outputs > LOGITS_PER_BATCH or len(waiting) == ROWS_PER_BATCH):
            yield np.array(waiting)
            waiting = []
        waiting.append(int(row))
    if waiting:
        yield np.array(waiting)


def _by_length(test: Tokenised) -> np.ndarray:
    return np.argsort([len(ids) for ids in test.ids], kind="stable")
