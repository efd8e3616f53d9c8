"""A corpus: labelled texts in a training and a test split."""

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled text."""

    text: str
    label: int
    planted: tuple[str, ...] = ()
    """Personal data that the generator put there, verbatim; empty for other corpora."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """Training and test examples with their label names."""

    train: tuple[Example, ...]
    test: tuple[Example, ...]
    labels: tuple[str, ...]

    def subset(self, train: int | None, test: int | None, generator: np.random.Generator) -> "Corpus":
        """A random part of each split; all of a split for None or for more than it has.

        Args:
            train: training rows to keep.
            test: test rows to keep.
            generator: picks them.
        """
        return Corpus(_draw(self.train, train, generator), _draw(self.test, test, generator), self.labels)

    def content_hash(self) -> str:
        """sha256 over every text and label in order."""
        digest = hashlib.sha256()
        for split in (self.train, self.test):
            for example in split:
                digest.update(f"{example.label}\x1f{example.text}\x1e".encode())
            digest.update(b"\x1d")
        return digest.hexdigest()


def _draw(rows: tuple[Example, ...], count: int | None, generator: np.random.Generator) -> tuple[Example, ...]:
    if count is None or count >= len(rows):
        return rows
    return tuple(rows[i] for i in generator.choice(len(rows), size=count, replace=False))
