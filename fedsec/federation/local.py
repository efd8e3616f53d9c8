"""Local training of one client on the resident model."""

from collections.abc import Sequence

import torch
from torch.nn import functional

from fedsec.api import TrainingSettings
from fedsec.data.tokens import Batch
from fedsec.models.flat import FlatModel
from fedsec.seeds import scoped_torch_rng


class LocalTrainer:
    """Turns a client's batches into its update, on the one resident model.

    Args:
        model: the resident model; its trainables are overwritten.
        settings: the protocol.
        dropout: whether the model's own dropout is active.
    """

    def __init__(self, model: FlatModel, settings: TrainingSettings, *, dropout: bool) -> None:
        self._model = model
        self._settings = settings
        self._dropout = dropout

    def update(
        self, start: torch.Tensor, batches: Sequence[Batch], out: torch.Tensor, generator: torch.Generator
    ) -> float:
        """Write the client's update into `out` and return its mean loss.

        Args:
            start: the global trainables [parameters].
            batches: one per local step.
            out: fp32 [parameters]; the gradient at `start` under `gradient`, weights after minus before under `delta`.
            generator: source of the dropout masks.
        """
        self._model.load(start)
        self._model.module.train(self._dropout)
        with scoped_torch_rng(generator), self._model.sparse_embeddings():
            if self._settings.update == "gradient":
                loss = self._backward(batches[0])
                out.copy_(self._model.gradient)
                return loss
            losses = self._steps(batches)
        torch.sub(self._model.values, start, out=out)
        return sum(losses) / len(losses)

    def _steps(self, batches: Sequence[Batch]) -> list[float]:
        values, gradient = self._model.values, self._model.gradient
        if self._settings.optimizer == "sgd":
            losses = []
            for batch in batches:
                losses.append(self._backward(batch))
                values.add_(gradient, alpha=-self._settings.learning_rate)
            return losses
        # AdamW sees the flat vector as its only parameter. Its moments start anew in every round.
        flat = torch.nn.Parameter(values, requires_grad=False)
        flat.grad = gradient
        optimizer = torch.optim.AdamW([flat], lr=self._settings.learning_rate, weight_decay=0.0, fused=True)
        losses = []
        for batch in batches:
            losses.append(self._backward(batch))
            optimizer.step()
        return losses

    def _backward(self, batch: Batch) -> float:
        self._model.gradient.zero_()
        loss = sample_losses(self._model, batch).mean()
        loss.backward()
        return float(loss.detach())


def sample_losses(model: FlatModel, batch: Batch) -> torch.Tensor:
    """Cross-entropy of each row [rows]; padding is masked, so no row's loss depends on the others."""
    logits = model.module(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits
    return functional.cross_entropy(logits, batch.labels, reduction="none")
