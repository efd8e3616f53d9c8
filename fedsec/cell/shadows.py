"""Models like the released one that an adversary trains by itself, and records of the clients' kind that it has."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

from fedsec.api import TrainingSettings
from fedsec.data.corpus import Corpus, Example
from fedsec.data.overlap import Resemblance
from fedsec.data.tokens import Batch, Tokenised, collate
from fedsec.maths.stacked import StackedSets
from fedsec.models.flat import FlatModel
from fedsec.models.local import sample_losses, token_losses
from fedsec.seeds import SeedTree, scoped_torch_rng

MOST_ROWS = 64
"""Rows of all shadows together in one pass."""
MOST_LOGITS = 1 << 26
"""Logits of one pass: 256 MB in fp32. Large vocabularies mean fewer shadows at a time."""
LOOKED_AT = 2
"""Shadows by which the stage of all is told; that of one varies little from another's."""


def peers(
    corpus: Corpus, part: Corpus, candidates: Sequence[Example], others: Sequence[Example], count: int, seeds: SeedTree
) -> tuple[Example, ...]:
    """Return rows of the clients' kind that nobody holds and that resemble no candidate, as many as there are.

    Args:
        corpus: all rows.
        part: the cell's, whose training rows are dealt, or withheld as candidates.
        candidates: the pool's rows.
        others: rows that something else was trained on.
        count: how many at most.
        seeds: the cell's.
    """
    used, known = {id(row) for row in (*part.train, *others)}, Resemblance()
    for row in candidates:
        known.add(row.whole)
    found: list[Example] = []
    for place in seeds.numpy("peers").permutation(len(corpus.train)).tolist():
        row = corpus.train[place]
        if len(found) == count:
            break
        if id(row) not in used and row.whole not in known:
            found.append(row)
    return tuple(found)


@dataclass(slots=True)
class Shadows:
    """Trains shadows of one federation's model, all of them in one pass; each choice once.

    Args:
        training: the clients' protocol.
        start: the base model's trainables [parameters].
        rows: the candidates as the model gets them.
        pad_id: the padding token.
        dropout: whether the model's own dropout is active in training.
        seeds: the cell's.
    """

    training: TrainingSettings
    start: torch.Tensor
    rows: Tokenised
    pad_id: int
    dropout: bool
    seeds: SeedTree
    _made: dict[tuple[bytes, float], torch.Tensor] = field(default_factory=dict)

    def train(self, model: FlatModel, included: torch.Tensor, like: float) -> torch.Tensor:
        """Return the shadows' trainables [shadows, parameters]; see `fedsec.api.TrainShadows`.

        Args:
            model: the resident model, which is as it was afterwards.
            included: bool [shadows, candidates].
            like: mean probability of what candidates are labelled, or of their learned tokens, to train to.

        Raises:
            ValueError: `included` has another shape, or a shadow has no candidate.
        """
        chosen = np.asarray(included)
        if chosen.dtype != bool or chosen.ndim != 2 or chosen.shape[1] != len(self.rows.ids):
            raise ValueError(f"shadows are asked for with bool [shadows, {len(self.rows.ids)}], not {chosen.shape}")
        if not chosen.any(axis=1).all():
            raise ValueError("each shadow has to include at least one candidate")
        key = (chosen.tobytes(), float(like))
        if key not in self._made:
            with _left_alone(model):
                self._made[key] = self._trained(model, chosen, like)
        return self._made[key].clone()

    def _trained(self, model: FlatModel, chosen: np.ndarray, like: float) -> torch.Tensor:
        """Train pass by pass until the shadows know candidates as well as asked, and keep the nearer of two passes."""
        size = min(self.training.batch_size, int(chosen.sum(axis=1).min()))
        groups = _in_groups(len(chosen), self._at_once(model, size))
        values = self.start.repeat(len(chosen), 1)
        steps = [_Steps(values[group], self.training) for group in groups]
        order = self.seeds.numpy("shadows")
        known, before = self._known(model, values), values
        for number in range(self._passes(chosen)):
            if known >= like:
                break
            batches = [_dealt(np.nonzero(row)[0], size, order) for row in chosen]
            for group, own in zip(groups, steps, strict=True):
                masks = self.seeds.torch("shadows' dropout", round_number=number, client=group.start)
                self._one_pass(model, own, batches[group], masks)
            earlier, before = known, values
            values = torch.cat([own.values.detach() for own in steps])
            known = self._known(model, values)
            if known >= like and like - earlier < known - like:
                return before
        return values.clone()

    def _one_pass(self, model: FlatModel, own: "_Steps", batches: Sequence[np.ndarray], masks: torch.Generator) -> None:
        """Train some shadows on their batches, one of each at a time; dropout draws from `masks`."""
        sets = StackedSets(model.module, tuple(info.name for info in model.layout.parameters))
        model.module.train(self.dropout)
        with scoped_torch_rng(masks):
            for step in range(min(map(len, batches))):
                rows = [batch[step] for batch in batches]
                if sets.covers:
                    own.step(_stacked_loss(model, sets, own.values, self._batch(np.concatenate(rows)), len(rows[0])))
                else:
                    own.step_along(
                        torch.stack([self._gradient(model, *one) for one in zip(own.values, rows, strict=True)])
                    )

    def _gradient(self, model: FlatModel, values: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
        """The gradient of one shadow's batch [parameters], where its layers cannot be stacked."""
        model.load(values.detach())
        model.gradient.zero_()
        _losses_of_sets(model, self._batch(rows), 1).sum().backward()
        return model.gradient.clone()

    def _batch(self, rows: np.ndarray) -> Batch:
        return collate(self.rows, rows, self.pad_id)

    @torch.no_grad()
    def _known(self, model: FlatModel, values: torch.Tensor) -> float:
        """Mean probability that the first shadows give to all candidates' labels, or to their learned tokens."""
        model.module.eval()
        order, found = np.argsort([len(ids) for ids in self.rows.ids], kind="stable"), list[torch.Tensor]()
        for one in values[:LOOKED_AT]:
            model.load(one)
            parts = np.array_split(order, -(-len(order) // MOST_ROWS))
            found += [sample_losses(model, self._batch(part)).neg().exp() for part in parts]
        return float(torch.cat(found).double().mean())

    def _passes(self, chosen: np.ndarray) -> int:
        """As many passes at most as the clients together made over what they hold."""
        training = self.training
        seen = training.rounds * training.local_steps * max(1, training.cohort) * training.batch_size
        return max(1, round(seen / float(chosen.sum(axis=1).mean())))

    def _at_once(self, model: FlatModel, size: int) -> int:
        """Shadows in one pass."""
        most = MOST_ROWS
        if self.rows.learned_from is not None:
            longest = max(map(len, self.rows.ids))
            most = min(most, MOST_LOGITS // (longest * int(model.module.config.vocab_size)))  # type: ignore[union-attr, arg-type]
        return max(1, most // size)


class _Steps:
    """Steps of the clients' optimizer on several shadows at once.

    Args:
        values: where they start [shadows, parameters].
        training: the protocol.
    """

    def __init__(self, values: torch.Tensor, training: TrainingSettings) -> None:
        self.values = torch.nn.Parameter(values.clone())
        rate = training.learning_rate
        if training.optimizer == "sgd":
            self._optimizer: torch.optim.Optimizer = torch.optim.SGD([self.values], lr=rate)
        else:
            self._optimizer = torch.optim.AdamW([self.values], lr=rate, weight_decay=0.0)

    def step(self, loss: torch.Tensor) -> None:
        """One step down a loss, the sum over the shadows of each one's."""
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()

    def step_along(self, gradient: torch.Tensor) -> None:
        """One step along gradients [shadows, parameters]."""
        self.values.grad = gradient
        self._optimizer.step()


def _stacked_loss(model: FlatModel, sets: StackedSets, values: torch.Tensor, batch: Batch, rows: int) -> torch.Tensor:
    """The sum over the sets of the mean loss of each one's rows, as clients train on a batch []."""
    with sets.running(values, rows):
        return _losses_of_sets(model, batch, len(values)).sum()


def _losses_of_sets(model: FlatModel, batch: Batch, sets: int) -> torch.Tensor:
    """The loss of each set's batch [sets]: the mean over its rows, or over all learned tokens of it."""
    if batch.labels.ndim == 1:
        return sample_losses(model, batch).view(sets, -1).mean(dim=1)
    losses, learned = token_losses(model, batch)
    return losses.view(sets, -1).sum(dim=1) / learned.view(sets, -1).sum(dim=1)


def _dealt(rows: np.ndarray, size: int, order: np.random.Generator) -> np.ndarray:
    """The rows of one pass in random order, in full batches [steps, size]."""
    steps = len(rows) // size
    dealt: np.ndarray = order.permutation(rows)[: steps * size].reshape(steps, size)
    return dealt


def _in_groups(count: int, size: int) -> list[slice]:
    return [slice(start, min(count, start + size)) for start in range(0, count, size)]


@contextmanager
def _left_alone(model: FlatModel) -> Iterator[None]:
    """Restore the model afterwards."""
    values, gradient, mode = model.values.clone(), model.gradient.clone(), model.module.training
    try:
        yield
    finally:
        model.values.copy_(values)
        model.gradient.copy_(gradient)
        model.module.train(mode)
