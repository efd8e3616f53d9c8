"""The goal `audit`: refute what a ledger promises, by canaries that clients trained on or did not."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fedsec.api import Compared, Evidence, MetricValue, Scored, Stage, Staged, Truth, Unit
from fedsec.errors import WrongAnswerError
from fedsec.metrics.audit import Counted, Promise, audited, pooled, verdict
from fedsec.metrics.stats.audits import Counts

NOTES = "audit"


class Audit:
    """Plants canaries by independent coins, asks for a score of each, and holds what they show against the ledger.

    Source: Steinke, Nasr and Jagielski, "Privacy Auditing with One (1) Training Run", NeurIPS 2023, algorithm 1.
    Deviations: canaries are gradients that the auditor chose, not texts.
    """

    def stage(self, stage: Stage) -> Staged:
        """Plant each canary by a coin, and ask about all of them."""
        included = stage.generator.random(len(stage.canaries)) < 0.5
        pairs = list(zip(stage.canaries, included, strict=True))
        planted, withheld = (tuple(one for one, taken in pairs if taken == kind) for kind in (True, False))
        return Staged(canaries=planted, withheld=withheld, question=stage.canaries, kept=included)

    def ask(self, attack: Any, evidence: Evidence) -> np.ndarray:
        """Return a score of each canary, fp64 [canaries]; WrongAnswerError otherwise."""
        found, count = attack.score(evidence.question, evidence), len(evidence.question)
        kind, shape = getattr(found, "dtype", type(found).__name__), tuple(getattr(found, "shape", ()))
        if not str(kind).endswith("float64") or shape != (count,):
            raise WrongAnswerError(f"must return fp64 [{count}], one score for each canary; it returned {kind} {shape}")
        scores = np.asarray(found)
        if not np.isfinite(scores).all():
            raise WrongAnswerError(f"{int((~np.isfinite(scores)).sum())} of {scores.size} scores are NaN or infinite")
        return scores

    def prior(self, evidence: Evidence, truth: Truth, generator: Callable[[str], Any]) -> np.ndarray:
        """Return scores drawn at random, fp64 [canaries]."""
        scores: np.ndarray = generator("audit prior").random(len(truth.kept))
        return scores

    def score(self, truth: Truth, answer: Any, prior: Any, generator: Callable[[str], Any]) -> Scored:
        """Return bounds on epsilon with their ceilings, and whether the ledger's promise is refuted."""
        promise = _promise(truth.promised, truth.question[0].unit)
        metrics, found = audited(answer, truth.kept, promise, generator("audit halves"))
        return Scored(metrics=metrics, notes={NOTES: {"counted": found, "promise": promise}})


def compare(seeds: Sequence[Compared]) -> dict[str, MetricValue]:
    """Return the bound of all seeds' canaries together and the verdict on them, as far as they counted.

    Cells that are blocked do not count: what they show is not the attack's.

    Args:
        seeds: the cells of an attack, a defense and settings.
    """
    noted = [one.cell for one in seeds if "counted" in (one.cell.get("notes") or {}).get(NOTES, {})]
    answered = [cell["notes"][NOTES] for cell in noted if cell["cell"]["status"] != "blocked"]
    if not answered:
        return {"audit/refuted": verdict([], [])} if noted else {}
    found = [_counted(one["counted"]) for one in answered]
    promises = [None if one["promise"] is None else Promise(*one["promise"]) for one in answered]
    return {**pooled(found, promises), "audit/refuted": verdict(found, promises)}


def _counted(noted: Sequence[Any]) -> Counted:
    """What a cell's notes hold of what was counted."""
    canaries, guesses, right, at_epsilon, at_mu, delta = noted
    return Counted(canaries, guesses, right, Counts(*at_epsilon), Counts(*at_mu), delta)


def _promise(given: Mapping[str, Any] | None, unit: Unit) -> Promise | None:
    """What is promised of what a canary is; None where that is another unit's, or the ledger has no epsilon."""
    if given is None or given["epsilon"] is None or given["unit"] != unit.value:
        return None
    return Promise(float(given["epsilon"]), float(given["delta"]))
