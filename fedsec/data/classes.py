"""How many rows of each class a corpus has, and whether its labels look like classes at all."""

from collections import Counter
from typing import Any, NamedTuple

from fedsec.data.corpus import Corpus
from fedsec.errors import FedsecError

MANY = 20
"""Classes up to which a small corpus may have so many."""
FEWEST, FEW = 2, 10
"""Training rows for each class, on average, of more classes than `MANY`: below the first they are refused, since most
classes then stand in a single row; below the second whoever runs it is asked whether they are meant."""
_SHOWN, _LONGEST = 8, 30


class Classes(NamedTuple):
    """Rows of each class."""

    names: tuple[str, ...]
    train: tuple[int, ...]
    test: tuple[int, ...]

    def in_words(self) -> str:
        """`90 training and 10 test rows of 2 classes: 'ham' 61 (61 %), 'spam' 39 (39 %)`; the largest come first."""
        counts = [a + b for a, b in zip(self.train, self.test, strict=True)]
        rows, order = sum(counts), sorted(range(len(counts)), key=lambda place: (-counts[place], place))
        parts = [f"{self._name(p)} {counts[p]:,} ({100 * counts[p] / max(1, rows):.0f} %)" for p in order[:_SHOWN]]
        more = f" and {len(order) - _SHOWN:,} more" if len(order) > _SHOWN else ""
        split = f"{sum(self.train):,} training and {sum(self.test):,} test rows"
        return f"{split} of {len(counts):,} classes: {', '.join(parts)}{more}"

    def doubt(self) -> str | None:
        """What should be looked at before anything is trained, and how it is set right; None if nothing."""
        empty = [place for place, count in enumerate(self.train) if not count]
        if len(self.names) > MANY and sum(self.train) < FEW * len(self.names):
            return f"{self._few()}: if these are scores, years or identifiers, {_REMEDY}"
        if empty:
            names = ", ".join(map(self._name, empty[:_SHOWN])) + (" and more" if len(empty) > _SHOWN else "")
            return (
                f"{len(empty):,} of {len(self.names):,} classes have no training row ({names}), and the model's head "
                "has an output for each; number labels from 0 on without a gap, or give them names"
            )
        return None

    def check(self, where: str) -> None:
        """Refuse labels that cannot be classes, of which most would stand in a single row.

        Args:
            where: what the message calls the rows.

        Raises:
            FedsecError: they are too many for so few rows, with what to do.
        """
        if len(self.names) > MANY and sum(self.train) < FEWEST * len(self.names):
            raise FedsecError(f"{where}: {self._few()}; scores, years and identifiers are no classes: {_REMEDY}")

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        rows = zip(self.names, self.train, self.test, strict=True)
        return {"classes": [{"name": name, "train": train, "test": test} for name, train, test in rows]}

    def _few(self) -> str:
        rows, filled = sum(self.train), sum(count > 0 for count in self.train)
        used = "" if filled == len(self.names) else f", of which {filled:,} have any,"
        return f"{len(self.names):,} classes{used} share {rows:,} training rows, {rows / len(self.names):.1f} for each"

    def _name(self, place: int) -> str:
        name = self.names[place]
        return repr(name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…")


_REMEDY = (
    "say with data.columns.label which column holds the classes, put scores into a few named groups, or take "
    "model.task: causal-lm, which needs no labels"
)


def classes_of(corpus: Corpus) -> Classes | None:
    """The rows of each class of a corpus; None without labels."""
    if not corpus.labels:
        return None
    counted = [Counter(row.label for row in rows) for rows in (corpus.train, corpus.test)]
    train, test = (tuple(one[place] for place in range(len(corpus.labels))) for one in counted)
    return Classes(corpus.labels, train, test)
