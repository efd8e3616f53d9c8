"""What the server makes of its own samples: a loss that is the model's on the rows of the round."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from fedsec.data.tokens import Tokenised
from fedsec.federation import trusted as module
from fedsec.federation.aggregation import _guessed
from fedsec.federation.trusted import Trusted

from ..defenses.aggregation.support import DELTA


def test_the_loss_is_of_the_rows_that_are_drawn_for_the_round(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def evaluate(model: Any, parameters: torch.Tensor, rows: Tokenised, pad_id: int) -> Any:
        asked.append((parameters, rows, pad_id))
        return SimpleNamespace(loss=0.5)

    monkeypatch.setattr(module, "evaluate", evaluate)
    data = Tokenised([[number] for number in range(9)], np.arange(9), np.zeros(9, dtype=np.int64))
    federation = SimpleNamespace(
        settings=SimpleNamespace(training=DELTA), train=data, trusted=np.array([2, 5, 7]), examples=(), model=None,
        tokenizer=SimpleNamespace(pad_token_id=3),
    )  # fmt: skip
    holdings = SimpleNamespace(choose=lambda number, client, rows, training: [rows[:1], rows[2:]])
    parameters = torch.ones(4)
    made = Trusted(federation, holdings, None).of(1, torch.zeros(4))  # type: ignore[arg-type]
    assert made.loss(parameters) == 0.5
    ((seen, rows, pad_id),) = asked
    assert seen is parameters
    assert (rows.ids, rows.labels.tolist(), pad_id) == ([[2], [7]], [2, 7], 3)
    assert rows.learned_from is not None


def test_colluders_take_the_loss_to_fall_along_the_update_that_they_expect() -> None:
    update, current = torch.tensor([1.0, 0.0]), torch.ones(2)
    made = _guessed(update, current, DELTA)
    assert torch.equal(made.update(), update)
    assert made.loss(current) == 0.0
    assert made.loss(current + update) < made.loss(current + 0.5 * update) < 0 < made.loss(current - update)
