"""A corpus: texts in a training and a test split, with labels where there are any."""

from dataclasses import dataclass

import numpy as np

from fedsec.errors import FedsecError


@dataclass(frozen=True, slots=True)
class Example:
    """One text."""

    text: str
    """The text that is classified, or that a causal language model learns."""
    label: int = 0
    """Its class; 0 in a corpus without labels."""
    planted: tuple[str, ...] = ()
    """Personal data that the generator put there, verbatim; empty for other corpora."""
    prompt: str = ""
    """Stands before the text of an instruction; a causal language model reads it and does not learn it."""
    group: str = ""
    """The value of the column that `data.partition.column` names."""

    @property
    def whole(self) -> str:
        """Prompt and text, as two rows are compared."""
        return f"{self.prompt} {self.text}" if self.prompt else self.text


@dataclass(frozen=True, slots=True)
class Corpus:
    """Training and test examples with their label names."""

    train: tuple[Example, ...]
    test: tuple[Example, ...]
    labels: tuple[str, ...]
    """Empty for a corpus without labels, which only causal language models take."""

    def subset(self, train: int | None, test: int | None, generator: np.random.Generator) -> "Corpus":
        """A random part of each split, or all of it for None.

        Args:
            train: training rows to keep, at most those that there are.
            test: test rows to keep, likewise.
            generator: picks them.

        Raises:
            FedsecError: there are fewer.
        """
        return Corpus(_draw(self.train, train, generator), _draw(self.test, test, generator), self.labels)

    def of_words(self, least: int) -> "Corpus":
        """Without the training rows of fewer words, split at spaces.

        Raises:
            FedsecError: none is left.
        """
        if least <= 1:
            return self
        train = tuple(row for row in self.train if len(row.text.split()) >= least)
        if not train:
            raise FedsecError(f"no training row has {least} words or more; lower data.min_words")
        return Corpus(train, self.test, self.labels)


def _draw(rows: tuple[Example, ...], count: int | None, generator: np.random.Generator) -> tuple[Example, ...]:
    if count is None or count == len(rows):
        return rows
    if count > len(rows):
        raise FedsecError(f"{count:,} rows are asked for, and there are {len(rows):,}; lower data.train or data.test")
    return tuple(rows[i] for i in generator.choice(len(rows), size=count, replace=False))
