"""Further checks of attacks on membership: their scores come from a model, not from a leak.

Each check raises AssertionError with what went wrong.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from fedsec.cell.pool import Pool, pool_of
from fedsec.cell.training import Trained
from fedsec.metrics.blind import SPREAD, blind_scores
from fedsec.metrics.membership import auc_interval
from fedsec.seeds import SeedTree
from fedsec.testing.conduct import Subject, claims, evidence_with, permuted, require, same, shown
from fedsec.testing.watch import differing, leaves

Z = 3.2905
"""Of a normal distribution's 99.9 % interval: a sound attack fails one time in a thousand, and then always."""
HALF = 0.5


def check_mask(subject: Subject, trained: Trained) -> None:
    """Check that another draw of members over the same candidates, model and rows changes nothing, to the last bit.

    Args:
        subject: a cell with an attack that is asked about candidates.
        trained: its federation.
    """
    own, other = trained.materials, permuted(trained.materials)
    assert own.pool is not None and other.pool is not None  # noqa: S101, PT018 - the goal requires candidates
    require(not np.array_equal(own.pool.members, other.pool.members), f"{subject.name}: too few candidates to permute")
    seen = [leaves(shown(evidence_with(subject, trained, one))) for one in (own, other)]
    changed = differing(*seen)
    require(not changed, f"{subject.name} is shown who is a member: {changed[:1]} differs under another coin")
    said = claims(subject, trained, materials=own), claims(subject, replace(trained, materials=other), materials=other)
    require(same(*said), f"{subject.name} scores otherwise when members are permuted: it sees the truth")


def check_null(subject: Subject) -> None:
    """Check that where all candidates are withheld, would-be members cannot be told from the others.

    A leak of order, of de-duplication or of the split shows here: the coin is the pool's own, thrown and not heeded.

    Args:
        subject: a cell with an attack that is asked about candidates.
    """
    coins: list[np.ndarray] = []

    def withheld(*given: Any) -> Pool | None:
        pool = pool_of(*given)
        assert pool is not None  # noqa: S101 - the goal requires candidates
        coins.append(pool.members)
        return replace(pool, members=np.zeros_like(pool.members))

    trained = subject.train(pools=withheld)
    scores, (members,) = claims(subject, trained), coins
    if not _one_each(scores, members):
        return
    scores = scores if scores.ndim == 1 else scores.mean(axis=1)
    low, high, _ = auc_interval(scores, members, z=Z)
    require(
        low <= HALF <= high,
        f"{subject.name} tells candidates apart that nobody trained on: its AUC has the 99.9 % interval "
        f"{low:.3f} to {high:.3f}",
    )


def check_words(subject: Subject, trained: Trained) -> None:
    """Check that the words of candidates alone do not tell who is a member.

    Args:
        subject: a cell with candidates.
        trained: its federation.
    """
    materials = trained.materials
    assert materials.pool is not None  # noqa: S101 - the goal requires candidates
    texts = [f"{one.prompt} {one.text}".strip() for one in materials.candidates]
    members = materials.pool.members
    blind = blind_scores(texts, members, SeedTree(subject.cell.seed).numpy("blind folds"))
    low, high, _ = auc_interval(blind, members, z=Z, spread=SPREAD)
    require(
        low <= HALF <= high,
        f"{subject.name}: the candidates' words alone tell members apart, with an AUC of {low:.3f} to {high:.3f}; "
        "no figure on these candidates means anything",
    )


def _one_each(scores: Any, members: np.ndarray) -> bool:
    """Whether an answer is a score for each candidate, or for each and each client; goals may ask something else."""
    return isinstance(scores, np.ndarray) and scores.ndim in (1, 2) and scores.shape[:1] == members.shape
