"""The goal `membership`: tell records that a client holds from records of the same kind that nobody holds."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedsec.api import Evidence, Scored, Stage, Staged, Truth
from fedsec.errors import WrongAnswerError
from fedsec.metrics.blind import blind_scores
from fedsec.metrics.membership import curves, membership


class TellMembers:
    """Asks for a score of every candidate of the pool, and holds it against an attack that never saw a model.

    Source: DESIGN section 4. Deviations: none.
    """

    def stage(self, stage: Stage) -> Staged:
        """Ask about the candidates, in an order that is independent of membership."""
        return Staged(question=stage.candidates)

    def ask(self, attack: Any, evidence: Evidence) -> np.ndarray:
        """Return a score of each candidate, fp64 [candidates]; WrongAnswerError for any other answer."""
        found, count = attack.score(evidence.question, evidence), len(evidence.question)
        kind, shape = getattr(found, "dtype", type(found).__name__), tuple(getattr(found, "shape", ()))
        if not str(kind).endswith("float64") or shape != (count,):
            raise WrongAnswerError(
                f"must return fp64 [{count}], one score for each candidate; it returned {kind} {shape}"
            )
        scores = np.asarray(found)
        if not np.isfinite(scores).all():
            raise WrongAnswerError(f"{int((~np.isfinite(scores)).sum())} of {count} scores are NaN or infinite")
        return scores

    def prior(self, evidence: Evidence, truth: Truth, generator: Callable[[str], Any]) -> np.ndarray:
        """Return a score from the words of a candidate alone, learnt on other candidates, fp64 [candidates]."""
        texts = [f"{one.prompt} {one.text}".strip() for one in truth.candidates]
        return blind_scores(texts, np.array(truth.members), generator("blind folds"))

    def score(self, truth: Truth, answer: Any, prior: Any, generator: Callable[[str], Any]) -> Scored:
        """Return AUC and true positive rates at low false positive rates, beside those of the blind attack."""
        members = np.array(truth.members)
        curve = {"roc": curves(answer, prior, members)} if members.any() and not members.all() else {}
        return Scored(metrics=membership(answer, prior, members), notes=curve)
