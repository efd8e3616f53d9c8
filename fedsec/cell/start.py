"""A start from public rows: training in one place before the first round, once for all cells that share it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from fedsec.api import Sample
from fedsec.cell.resources import Resources, training_settings
from fedsec.cell.staging import Materials
from fedsec.config.schema import Scenario
from fedsec.data.corpus import Corpus, Example
from fedsec.data.overlap import Resemblance
from fedsec.errors import FedsecError
from fedsec.federation.own_training import OwnTraining
from fedsec.federation.prefix import Prefix
from fedsec.models.flat import FlatModel
from fedsec.plan.cells import Cell
from fedsec.plan.keys import start_key
from fedsec.seeds import SeedTree


@dataclass(frozen=True, slots=True)
class PublicStart:
    """The parameters that the federation starts from in place of the base model's."""

    vector: torch.Tensor
    """The parameters [parameters]."""
    rows: int
    steps: int


@dataclass(frozen=True, slots=True)
class Shelf:
    """What is trained before a federation, kept for the cells that share it.

    Args:
        resources: keep a few in memory.
        folder: where other processes find them; None keeps none there.
    """

    resources: Resources
    folder: Path | None

    def take(self, key: str, size: int, make: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Return the parameters of that key [parameters], made once.

        Args:
            key: of everything that they depend on.
            size: how many they are; others that lie under the key are not taken.
            make: makes them.
        """
        found = self.resources.starts.get(key)
        if found is None and self.folder is not None:
            shared = Prefix(self.folder / f"start-{key}.safetensors", key, 1)
            with shared.alone():
                kept = shared.load()
                vector = None if kept is None else kept["vector"]
                found = vector if isinstance(vector, torch.Tensor) and vector.shape == (size,) else None
                if found is None:
                    found = make()
                    shared.save({"vector": found})
        found = make() if found is None else found
        self.resources.keep_start(key, found)
        return found


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


def public_samples(cell: Cell, corpus: Corpus, materials: Materials) -> tuple[Sample, ...]:
    """Return the public rows of a cell's start as they are published; none without a start."""
    if cell.scenario.model.start is None:
        return ()
    pool = materials.pool
    candidates = [] if pool is None else [materials.part.train[row] for row in pool.rows]
    rows = public_rows(cell.scenario, corpus, materials.part, candidates, SeedTree(cell.seed))
    return tuple(Sample(row.text, row.label, row.prompt, origin) for origin, row in enumerate(rows))


def public_start(
    cell: Cell, samples: Sequence[Sample], materials: Materials, model: FlatModel, shelf: Shelf
) -> PublicStart | None:
    """Train the start on public rows and load it, or take it from where it was trained before; None without one.

    Args:
        cell: says how.
        samples: the public rows, as their supplier gave them.
        materials: turn texts into what the model learns.
        model: the resident model, which holds the base model's parameters.
        shelf: has the start if another cell trained it.
    """
    wanted, training = cell.scenario.model.start, training_settings(cell.scenario)
    if wanted is None:
        return None
    classes, dropout = materials.part.labels, model.setup.dropout
    own = OwnTraining(model, training, materials.tokenise, materials.tokenizer, classes, dropout=dropout)

    def make() -> torch.Tensor:
        return own.train(
            samples,
            model.snapshot(),
            steps=wanted.steps,
            batch_size=wanted.batch_size,
            learning_rate=wanted.learning_rate,
            generator=SeedTree(cell.seed).torch("public start"),
        )

    names = [info.name for info in model.layout.parameters]
    key = start_key(cell, [*names, f"dropout {model.setup.dropout}"])
    vector = shelf.take(key, model.layout.size, make)
    model.load(vector)
    return PublicStart(vector, wanted.rows, wanted.steps)
