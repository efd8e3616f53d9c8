"""What a goal stages before training, and how an attack is asked before it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fedsec import registry
from fedsec.api import Asks, Candidate, Goal, Granted, Sample, Stage, Staged, TriggerView
from fedsec.cell.canaries import canaries_of
from fedsec.cell.hostile import settings_known
from fedsec.cell.pool import Pool
from fedsec.cell.resources import attack_plugin
from fedsec.data.corpus import Corpus, Example
from fedsec.data.tokens import Tokenised, chosen
from fedsec.federation.plugins import checked
from fedsec.plan.cells import Cell
from fedsec.seeds import SeedTree


@dataclass(frozen=True, slots=True, kw_only=True)
class Materials:
    """The texts of a cell, and which client holds which."""

    part: Corpus
    """The cell's part of the corpus, before anything is planted."""
    train: Tokenised
    """Its training rows."""
    rows: Sequence[np.ndarray]
    """Row numbers that each client holds."""
    pool: Pool | None
    tokenizer: Any
    tokenise: Callable[[Sequence[Example]], Tokenised]
    """Tokenises texts as the model gets them, truncated to `data.max_tokens`."""
    whole: Callable[[Sequence[Example]], Tokenised]
    """Tokenises texts without truncation."""
    seen: Callable[[Sequence[Sample]], tuple[Sample, ...]]
    """Gives samples as the model sees them: what truncation leaves of their prompts and texts."""

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The candidates, in their order."""
        if self.pool is None:
            return ()
        rows = self.pool.rows.tolist()
        return as_candidates([self.part.train[row] for row in rows], chosen(self.train, self.pool.rows))


def as_candidates(rows: Sequence[Example], tokens: Tokenised) -> tuple[Candidate, ...]:
    """Rows as an attack is shown them.

    Args:
        rows: of a corpus.
        tokens: the same rows as the model gets them.
    """
    firsts = tokens.learned_from
    return tuple(
        Candidate(
            text=row.text,
            label=row.label,
            prompt=row.prompt,
            tokens=tuple(tokens.ids[place]),
            learned_from=None if firsts is None else int(firsts[place]),
        )
        for place, row in enumerate(rows)
    )


def goal_of(cell: Cell) -> Goal | None:
    """Return a fresh instance of the attack of the cell; None in the control."""
    if cell.goal is None:
        return None
    made: Goal = registry.load_target(cell.goal)(**cell.goal.resolve({}))
    return made


def staged(cell: Cell, materials: Materials, parameters: int) -> Staged:
    """Return what the cell's goal plants, watches and asks about; nothing in the control.

    Args:
        cell: the cell.
        materials: its texts.
        parameters: how many are trained.

    Raises:
        FedsecError: the attack's answer before training is not what it was asked for, or canaries find no place.
    """
    goal, card = goal_of(cell), cell.goal
    if goal is None or card is None:
        return Staged()
    seeds, plugin = SeedTree(cell.seed), attack_plugin(cell.attack)
    before = card.asks == Asks.BEFORE
    view = TriggerView(
        classes=materials.part.labels,
        tokenizer=materials.tokenizer,
        generator=seeds.torch(f"{card.method} {plugin.label}"),
        task=cell.task,
        granted=Granted(settings_known(cell)),
        seen=materials.seen,
    )
    return goal.stage(
        Stage(
            train=_samples(materials.part.train),
            rows=materials.rows,
            test=_samples(materials.part.test),
            classes=materials.part.labels,
            candidates=materials.candidates,
            canaries=canaries_of(cell.scenario, parameters, seeds),
            attack=checked(plugin) if before else None,
            view=view if before else None,
            tokenise=partial(_ids, materials.tokenise),
            whole=partial(_ids, materials.whole),
            label=plugin.label,
            generator=seeds.numpy(f"goal {card.name}"),
            task=cell.task,
        )
    )


def examples_of(samples: Sequence[Sample]) -> tuple[Example, ...]:
    """Samples as rows of a corpus."""
    return tuple(Example(one.text, one.label, prompt=one.prompt) for one in samples)


def _samples(rows: Sequence[Example]) -> tuple[Sample, ...]:
    return tuple(Sample(row.text, row.label, row.prompt) for row in rows)


def _ids(tokenise: Callable[[Sequence[Example]], Tokenised], samples: Sequence[Sample]) -> list[list[int]]:
    return tokenise(examples_of(samples)).ids
