"""What the server makes of samples of its own: an update by the clients' protocol, and the loss of a model on them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from fedsec.data.tokens import Tokenised
from fedsec.federation.draws import SERVER
from fedsec.federation.evaluation import evaluate
from fedsec.federation.holdings import Held, Holdings, expected_rows
from fedsec.models.local import LocalTrainer

if TYPE_CHECKING:
    from fedsec.federation.parties import Federation


class OfRound(NamedTuple):
    """What a round's defenses may ask of the server's samples."""

    update: Callable[[], torch.Tensor]
    """Computes the update from the global model [parameters]."""
    loss: Callable[[torch.Tensor], float]
    """Gives the mean loss at any parameters [parameters] on the samples that are drawn for the round."""


@dataclass(frozen=True, slots=True)
class Trusted:
    """The server as a client of its own.

    Args:
        federation: whose server it is.
        holdings: draws and batches samples.
        trainer: of the resident model.
    """

    federation: "Federation"
    holdings: Holdings
    trainer: LocalTrainer

    def of(self, number: int, current: torch.Tensor) -> OfRound:
        """Return what it makes of a round's samples.

        Args:
            number: the round.
            current: the global trainables [parameters].
        """
        f = self.federation
        training = f.settings.training
        held = Held(f.train, f.trusted, f.examples)
        chosen = self.holdings.choose(number, SERVER, held.rows, training)

        def update() -> torch.Tensor:
            out = torch.empty_like(current)
            dropout = f.seeds.torch("dropout", round_number=number, client=SERVER)
            batches, expected = self.holdings.batches(held, chosen), expected_rows(len(held.rows), training)
            self.trainer.update(current, batches, out, dropout, expected_rows=expected)
            return out

        def loss(parameters: torch.Tensor) -> float:
            return evaluate(f.model, parameters, _rows(f.train, np.concatenate(chosen)), f.tokenizer.pad_token_id).loss

        return OfRound(update, loss)


def _rows(data: Tokenised, rows: np.ndarray) -> Tokenised:
    learned = None if data.learned_from is None else data.learned_from[rows]
    return Tokenised([data.ids[row] for row in rows], data.labels[rows], learned)
