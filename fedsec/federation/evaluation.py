"""The global model on the test set."""

from typing import NamedTuple

import numpy as np
import torch

from fedsec.data.tokens import Tokenised, collate
from fedsec.models.flat import FlatModel

ROWS_PER_BATCH = 64


class Evaluation(NamedTuple):
    """How the model did."""

    correct: np.ndarray
    """bool [rows], in the test set's order."""
    loss: float
    """Mean cross-entropy."""

    @property
    def accuracy(self) -> float:
        """Fraction of rows classified right."""
        return float(self.correct.mean())


@torch.inference_mode()
def evaluate(model: FlatModel, vector: torch.Tensor, test: Tokenised, pad_id: int) -> Evaluation:
    """Accuracy and loss of the trainables `vector` [parameters] on `test`, without dropout.

    Rows are batched by length, so that little padding is computed; the result is in the test set's order. A model
    that an attack drove to non-finite outputs counts as wrong everywhere.
    """
    model.load(vector)
    model.module.eval()
    order = np.argsort([len(ids) for ids in test.ids], kind="stable")
    correct = np.zeros(len(order), dtype=bool)
    total = 0.0
    for start in range(0, len(order), ROWS_PER_BATCH):
        chosen = order[start : start + ROWS_PER_BATCH]
        batch = collate(test, chosen, pad_id)
        logits = model.module(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
        finite = logits.isfinite().all(dim=1)
        correct[chosen] = ((logits.argmax(dim=1) == batch.labels) & finite).numpy()
        total += float(torch.nn.functional.cross_entropy(logits, batch.labels, reduction="sum"))
    return Evaluation(correct, total / len(order))
