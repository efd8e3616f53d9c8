"""Step 2 of a round: which texts a client trains on, after its own hooks, and in which batches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fedsec.api import Sample, TrainingSettings
from fedsec.data.corpus import Example
from fedsec.data.tokens import Batch, Tokenised, collate, content_ids
from fedsec.errors import FedsecError
from fedsec.federation.draws import batch_rows
from fedsec.federation.transcript import Secret
from fedsec.seeds import SeedTree


class Held(NamedTuple):
    """What one client trains on in one round."""

    data: Tokenised
    rows: np.ndarray
    """Its rows of `data`."""
    examples: Sequence[Example]
    """The texts of `data`."""
    origins: Sequence[int | None] | None = None
    """Row of the training split that each of `data` was made from; None if no hook changed anything."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """Every client's data.

    Args:
        train: the training split, tokenised.
        examples: its texts.
        rows: row numbers that each client holds.
        tokenise: turns texts into what `train` is made of; for clients whose hooks change their texts.
        tokenizer: gives padding and special tokens.
        seeds: the seed tree.
    """

    train: Tokenised
    examples: Sequence[Example]
    rows: Sequence[np.ndarray]
    tokenise: Callable[[Sequence[Example]], Tokenised]
    tokenizer: Any
    seeds: SeedTree

    def of(self, client: int, change: Callable[[tuple[Sample, ...]], tuple[Sample, ...]] | None) -> Held:
        """What a client trains on.

        Args:
            client: the client.
            change: its data hooks, or None.
        """
        own = self.rows[client]
        if change is None:
            return Held(self.train, own, self.examples)
        before = [self.examples[i] for i in own]
        samples = change(tuple(Sample(e.text, e.label, e.prompt, place) for place, e in enumerate(before)))
        places = [_place(sample, len(own)) for sample in samples]
        examples = [
            Example(s.text, s.label, () if place is None else before[place].planted, s.prompt)
            for s, place in zip(samples, places, strict=True)
        ]
        origins = [None if place is None else int(own[place]) for place in places]
        return Held(self.tokenise(examples), np.arange(len(examples)), examples, origins)

    def choose(self, number: int, client: int, rows: np.ndarray, training: TrainingSettings) -> list[np.ndarray]:
        """Row numbers of each local step of a client in a round; see `fedsec.federation.draws`."""
        return batch_rows(number, client, rows, training, self.seeds)

    def batches(self, held: Held, chosen: Sequence[np.ndarray]) -> list[Batch]:
        """The chosen rows of each step as batches."""
        return [collate(held.data, rows, self.tokenizer.pad_token_id) for rows in chosen]

    def secret(self, held: Held, chosen: Sequence[np.ndarray]) -> Secret:
        """The truth about the chosen rows, for the vault."""
        rows = np.concatenate(chosen)
        ids = [held.data.ids[i] for i in rows]
        return Secret(
            tokens=tuple(content_ids(one, self.tokenizer) for one in ids),
            lengths=tuple(len(one) for one in ids),
            labels=tuple(held.examples[i].label for i in rows),
            planted=tuple(held.examples[i].planted for i in rows),
            originals=() if held.origins is None else tuple(self._original(held.origins[i]) for i in rows),
            rows=tuple(int(i) if held.origins is None else held.origins[i] for i in rows),
        )

    def _original(self, row: int | None) -> tuple[int, ...]:
        return () if row is None else content_ids(self.train.ids[row], self.tokenizer)


def expected_rows(rows: int, training: TrainingSettings) -> float | None:
    """What sums over a client's batch are divided by, under Poisson sampling; None under fixed batches: their size."""
    return float(min(rows, training.batch_size)) if training.sampling == "poisson" else None


def _place(sample: Sample, count: int) -> int | None:
    """Which of the client's own texts a sample was made from; None for an invented one."""
    origin = sample.origin
    return origin if type(origin) is int and 0 <= origin < count else None


def check_samples(samples: object, classes: Sequence[str], label: str) -> None:
    """FedsecError that names the plug-in, unless these are samples that can be trained on.

    Args:
        samples: what a plug-in gave.
        classes: names of the labels; empty where any number will do.
        label: the plug-in's.
    """
    if not isinstance(samples, tuple) or not samples or not all(type(one) is Sample for one in samples):
        raise FedsecError(f"{label} must return a tuple of at least one Sample")
    for sample in samples:
        if not isinstance(sample.text, str) or not isinstance(sample.prompt, str):
            raise FedsecError(f"{label} returned a Sample whose text or prompt is no text")
        fits = type(sample.label) is int and (not classes or 0 <= sample.label < len(classes))
        if not fits:
            allowed = f"0 to {len(classes) - 1}" if classes else "whole numbers"
            raise FedsecError(f"{label} returned a Sample of label {sample.label!r:.40}; labels here are {allowed}")
