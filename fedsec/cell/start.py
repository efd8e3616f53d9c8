"""A start from public rows: training in one place before the first round, once for all cells that share it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from fedsec.config.schema import Scenario
from fedsec.data.corpus import Corpus, Example
from fedsec.data.overlap import Resemblance
from fedsec.errors import FedsecError
from fedsec.seeds import SeedTree


@dataclass(frozen=True, slots=True)
class PublicStart:
    """The parameters that the federation starts from in place of the base model's."""

    vector: torch.Tensor
    """The parameters [parameters]."""
    rows: int
    steps: int


def public_rows(
    scenario: Scenario, corpus: Corpus, part: Corpus, candidates: Sequence[Example], seeds: SeedTree
) -> tuple[Example, ...]:
    """Return training rows that neither clients nor the server hold, and that resemble no candidate.

    Args:
        scenario: whose `model.start` says how many.
        corpus: all rows.
        part: the cell's.
        candidates: the pool's rows.
        seeds: the cell's.

    Raises:
        FedsecError: there are too few of them.
    """
    wanted = scenario.model.start
    assert wanted is not None  # noqa: S101 - the caller looked
    used, known = {id(row) for row in part.train}, Resemblance()
    for row in candidates:
        known.add(row.whole)
    free = [row for row in corpus.train if id(row) not in used and not (candidates and row.whole in known)]
    if len(free) < wanted.rows:
        raise FedsecError(
            f"model.start.rows {wanted.rows:,} is more than the {len(free):,} training rows that nobody else uses; "
            "lower it, or lower data.train"
        )
    chosen = seeds.numpy("public rows").choice(len(free), size=wanted.rows, replace=False)
    return tuple(free[i] for i in chosen)


def started(
    scenario: Scenario, rows: Sequence[Example], train: Callable[..., torch.Tensor], seeds: SeedTree
) -> PublicStart:
    """Return the parameters after `model.start.steps` on these rows.

    Args:
        scenario: whose `model.start` says how.
        rows: public rows.
        train: trains from the base model: number of steps, batch size, learning rate (None: the federation's) and
            generator in, trainables out.
        seeds: the cell's.
    """
    wanted = scenario.model.start
    assert wanted is not None  # noqa: S101 - the caller looked
    vector = train(wanted.steps, wanted.batch_size, wanted.learning_rate, seeds.torch("public start"))
    return PublicStart(vector, len(rows), wanted.steps)
