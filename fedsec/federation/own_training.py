"""Training outside the protocol, on the resident model: by a malicious client, or by a defense before the release."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from fedsec.api import Sample, TrainingSettings
from fedsec.data.corpus import Example
from fedsec.data.tokens import Tokenised, collate
from fedsec.federation.holdings import check_samples
from fedsec.models.flat import FlatModel
from fedsec.models.local import LocalTrainer
from fedsec.models.roles import unwrapped

ROWS_PER_BATCH = 64


class OwnTraining:
    """Implements `view.train` and `view.gradient`; the resident model is unchanged afterwards.

    Args:
        model: the resident model.
        training: the protocol, whose settings hold where a caller gives none.
        tokenise: turns texts into what the model learns.
        tokenizer: gives padding.
        classes: names of the labels.
        dropout: whether the model's own dropout is active in training.
    """

    def __init__(
        self,
        model: FlatModel,
        training: TrainingSettings,
        tokenise: Callable[[Sequence[Example]], Tokenised],
        tokenizer: Any,
        classes: Sequence[str],
        *,
        dropout: bool,
    ) -> None:
        self._model, self._training, self._dropout = model, training, dropout
        self._tokenise, self._tokenizer, self._classes = tokenise, tokenizer, classes

    def train(
        self,
        samples: Sequence[Sample],
        start: torch.Tensor,
        *,
        steps: int | None = None,
        learning_rate: float | None = None,
        batch_size: int | None = None,
        generator: torch.Generator,
    ) -> torch.Tensor:
        """See `fedsec.api.Train`."""
        own = self._training
        settings = replace(
            own,
            update="delta",
            local_steps=own.local_steps if steps is None else steps,
            learning_rate=own.learning_rate if learning_rate is None else learning_rate,
            batch_size=own.batch_size if batch_size is None else batch_size,
        )
        data = self._tokenised(samples)
        size = min(settings.batch_size, len(data.ids))
        per_pass = len(data.ids) // size
        passes = -(-settings.local_steps // per_pass)
        order = [torch.randperm(len(data.ids), generator=generator)[: per_pass * size] for _ in range(passes)]
        chosen = torch.cat(order).view(-1, size)[: settings.local_steps].numpy()
        batches = [collate(data, rows, self._tokenizer.pad_token_id) for rows in chosen]
        trainer = LocalTrainer(self._model, settings, dropout=self._dropout)
        with self._left_alone():
            trainer.update(start, batches, torch.empty_like(start), generator)
            return self._model.snapshot()

    def gradient(self, samples: Sequence[Sample], parameters: torch.Tensor) -> torch.Tensor:
        """Return the gradient of the mean loss on the samples at these parameters [parameters], without dropout."""
        data = self._tokenised(samples)
        batch = collate(data, range(len(data.ids)), self._tokenizer.pad_token_id)
        trainer = LocalTrainer(self._model, replace(self._training, update="gradient"), dropout=False)
        found = torch.empty_like(parameters)
        with self._left_alone():
            trainer.update(parameters, [batch], found, torch.Generator())
        return found

    @torch.no_grad()
    def represent(self, samples: Sequence[Sample], parameters: torch.Tensor) -> torch.Tensor:
        """Return the last hidden state that a classifier reads of each sample [samples, width], on the CPU.

        Of an encoder it is that of the first token, of a decoder that of the last one.
        """
        data = self._tokenised(samples)
        inner: Any = unwrapped(self._model.module)
        found = []
        with self._left_alone():
            self._model.load(parameters)
            self._model.module.eval()
            for start in range(0, len(data.ids), ROWS_PER_BATCH):
                rows = range(start, min(len(data.ids), start + ROWS_PER_BATCH))
                batch = collate(data, rows, self._tokenizer.pad_token_id)
                ids, mask = batch.input_ids.to(self._model.device), batch.attention_mask.to(self._model.device)
                with self._model.autocast():
                    hidden = inner.base_model(input_ids=ids, attention_mask=mask).last_hidden_state.float().cpu()
                last = batch.attention_mask.sum(dim=1) - 1 if hasattr(inner, "score") else torch.zeros(len(rows))
                found.append(hidden[torch.arange(len(rows)), last.long()])  # decoders' heads are called score
        return torch.cat(found)

    def _tokenised(self, samples: Sequence[Sample]) -> Tokenised:
        check_samples(tuple(samples), self._classes, "view.train and view.gradient: whoever calls them")
        return self._tokenise([Example(one.text, one.label, prompt=one.prompt) for one in samples])

    @contextmanager
    def _left_alone(self) -> Iterator[None]:
        """Restore the model afterwards, since a step hook may train in the middle of its client's training."""
        model = self._model
        values, gradient, mode = model.values.clone(), model.gradient.clone(), model.module.training
        try:
            yield
        finally:
            model.values.copy_(values)
            model.gradient.copy_(gradient)
            model.module.train(mode)
