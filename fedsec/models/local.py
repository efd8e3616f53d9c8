"""Local training of one client on the resident model."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import torch
from torch.nn import functional

from fedsec.api import TrainingSettings
from fedsec.data.tokens import NOT_LEARNED, Batch, CanaryRows
from fedsec.maths.example_gradients import ExampleGradients
from fedsec.models.flat import FlatModel
from fedsec.seeds import scoped_torch_rng


class Steps(Protocol):
    """What wraps the steps of one client in one round."""

    def gradient(
        self,
        step: int,
        parameters: torch.Tensor,
        plain: Callable[[], torch.Tensor],
        per_example: Callable[[], torch.Tensor],
    ) -> torch.Tensor:
        """The gradient to step along [parameters], made of the batch's own or of each row's."""
        ...


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
        self._examples: ExampleGradients | None = None
        self._expected: float | None = None

    def update(
        self,
        start: torch.Tensor,
        batches: Sequence[Batch],
        out: torch.Tensor,
        generator: torch.Generator,
        hooks: Steps | None = None,
        expected_rows: float | None = None,
    ) -> float:
        """Write the client's update into `out` and return its mean loss; NaN if no batch held a row.

        Args:
            start: the global trainables [parameters], on the CPU.
            batches: one per local step, on the CPU.
            out: fp32 [parameters], on the CPU; the gradient at `start` under `gradient`, weights after minus before
                under `delta`.
            generator: source of the dropout masks.
            hooks: what wraps the client's steps.
            expected_rows: rows of a batch on average, by which the sum of the rows' losses is divided (Poisson
                batches, whose own size stays private); None: the batch's mean loss.
        """
        self._expected = expected_rows
        self._model.load(start)
        self._model.module.train(self._dropout)
        with self._masks(generator), self._model.sparse_embeddings():
            if self._settings.update == "gradient":
                loss = self._gradient(0, batches[0], hooks)
                out.copy_(self._model.gradient)
                return float(loss)
            losses = self._steps(batches, hooks)
        torch.sub(self._model.values.to(out.device), start, out=out)
        known = [loss for loss in map(float, losses) if loss == loss]  # an empty batch has none
        return sum(known) / len(known) if known else math.nan

    def _steps(self, batches: Sequence[Batch], hooks: Steps | None) -> list[torch.Tensor]:
        step = self._optimizer()
        losses = []
        for number, batch in enumerate(batches):
            losses.append(self._gradient(number, batch, hooks))
            step()
        return losses

    def _gradient(self, step: int, batch: Batch, hooks: Steps | None) -> torch.Tensor:
        """Put the gradient to step along into the flat gradient; the batch's loss."""
        if hooks is None:
            return self._backward(batch)
        flat, losses = self._model.gradient, list[torch.Tensor]()

        def plain() -> torch.Tensor:
            losses.append(self._backward(batch))
            return flat

        def per_example() -> torch.Tensor:
            found, of_rows = self._rows(batch)
            losses.append(of_rows.mean())
            return found if batch.canaries is None else torch.cat([found, _spelled_out(batch.canaries, found)])

        found = hooks.gradient(step, self._model.values, plain, per_example)
        if found is not flat:
            flat.copy_(found)
        return losses[0] if losses else torch.tensor(torch.nan)

    def _rows(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradients of the rows' losses [rows, parameters], and the losses [rows]."""
        model, count = self._model, len(batch.input_ids)
        if count == 0:
            return torch.empty(0, model.layout.size, device=model.device), torch.empty(0, device=model.device)
        if self._examples is None:
            named = zip(model.layout.parameters, model.layout.offsets, strict=True)
            offsets = {info.name: offset for info, offset in named}
            self._examples = ExampleGradients(model.module, offsets, model.layout.size)
        at_once = self._examples.of(lambda: sample_losses(model, batch), count)
        if at_once is not None:
            return at_once
        found = torch.empty(count, model.layout.size, device=model.device)  # [rows, parameters]
        losses = torch.empty(count, device=model.device)
        for place in range(count):
            model.gradient.zero_()
            loss = sample_losses(model, batch.row(place)).sum()
            loss.backward()
            found[place], losses[place] = model.gradient, loss.detach()
        return found, losses

    def _backward(self, batch: Batch) -> torch.Tensor:
        """Put the gradient of a batch's loss into the flat gradient; the loss, where it is read off at the end."""
        loss = self._of_texts(batch)
        if batch.canaries is not None:
            rows = self._expected or max(1, len(batch.input_ids))
            places, values = (part.to(self._model.device) for part in batch.canaries)
            self._model.gradient.index_add_(0, places, values / rows)
        return loss

    def _of_texts(self, batch: Batch) -> torch.Tensor:
        """Put the gradient of the loss on a batch's texts into the flat gradient; that loss, NaN without any."""
        self._model.gradient.zero_()
        if len(batch.input_ids) == 0:  # a step without a pass
            return torch.tensor(torch.nan)
        if self._expected is None:
            loss = batch_loss(self._model, batch)
            loss.backward()
            return loss.detach()
        losses = sample_losses(self._model, batch)
        (losses.sum() / self._expected).backward()
        return losses.detach().mean()

    def _optimizer(self) -> Callable[[], Any]:
        """A step of a fresh optimizer: its state starts anew in every round."""
        values, gradient, rate = self._model.values, self._model.gradient, self._settings.learning_rate
        if self._settings.optimizer == "sgd":
            return lambda: values.add_(gradient, alpha=-rate)
        # AdamW sees the flat vector as its only parameter.
        flat = torch.nn.Parameter(values, requires_grad=False)
        flat.grad = gradient
        return torch.optim.AdamW([flat], lr=rate, weight_decay=0.0, fused=True).step

    def _masks(self, generator: torch.Generator) -> AbstractContextManager[None]:
        """Where dropout draws from; without dropout nothing is drawn."""
        return _drawing_from(generator, self._model.device) if self._dropout else nullcontext()


def _spelled_out(canaries: CanaryRows, like: torch.Tensor) -> torch.Tensor:
    """The gradients of canaries as whole rows [canaries, parameters], where and of what type `like` is."""
    found = like.new_zeros(len(canaries.places), like.shape[1])
    found[torch.arange(len(found)), canaries.places.to(like.device)] = canaries.values.to(like)
    return found


def batch_loss(model: FlatModel, batch: Batch) -> torch.Tensor:
    """The loss of a local step: the mean over the batch's rows, or over all learned tokens of the batch."""
    if batch.labels.ndim == 1:
        return sample_losses(model, batch).mean()
    losses, learned = token_losses(model, batch)
    return losses.sum() / learned.sum()


def sample_losses(model: FlatModel, batch: Batch) -> torch.Tensor:
    """Cross-entropy of each row [rows], or its mean over the row's learned tokens.

    Padding is masked, so no row's loss depends on the others.
    """
    if batch.labels.ndim == 1:
        return functional.cross_entropy(model.logits(batch), batch.labels.to(model.device), reduction="none")
    losses, learned = token_losses(model, batch)
    return losses.sum(dim=1) / learned.sum(dim=1)


def token_losses(model: FlatModel, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy of each next token [rows, length], 0 where nothing is learned; and where something is.

    Position i holds what the tokens up to i make of token i + 1.
    """
    logits, targets = model.logits(batch), next_tokens(batch).to(model.device)
    losses = functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), reduction="none", ignore_index=NOT_LEARNED
    )
    return losses.view(targets.shape), targets != NOT_LEARNED


def next_tokens(batch: Batch) -> torch.Tensor:
    """The learned token that each position predicts [rows, length]; `NOT_LEARNED` where there is none."""
    return functional.pad(batch.labels[:, 1:], (0, 1), value=NOT_LEARNED)


@contextmanager
def _drawing_from(generator: torch.Generator, device: torch.device) -> Iterator[None]:
    """Let dropout on the CPU or on a GPU draw from `generator`; the global generators are as they were afterwards."""
    with scoped_torch_rng(generator):
        if device.type != "cuda":
            yield
            return
        index = device.index if device.index is not None else torch.cuda.current_device()
        theirs = torch.cuda.default_generators[index]
        before = theirs.get_state()
        theirs.manual_seed(generator.initial_seed())
        try:
            yield
        finally:
            theirs.set_state(before)
