"""The goal `extraction`: read training texts out of the released model."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from fedsec.api import Evidence, Reconstruction, Scored, Stage, Staged, Truth
from fedsec.errors import WrongAnswerError
from fedsec.metrics.extraction import extraction_recall


class Extract:
    """Asks for training texts, and compares them with texts that no client trained on.

    Source: DESIGN section 4. Deviations: every training text counts, and no canaries are planted.
    """

    def stage(self, stage: Stage) -> Staged:
        """Nothing."""
        return Staged()

    def ask(self, attack: Any, evidence: Evidence) -> list[Reconstruction]:
        """The claims."""
        if evidence.released is None:
            raise WrongAnswerError("its position does not get the released model")
        claims = attack.extract(evidence.released())
        if not isinstance(claims, list) or not all(isinstance(one, Reconstruction) for one in claims):
            raise WrongAnswerError("must return a list of Reconstruction")
        return claims

    def prior(self, evidence: Evidence, truth: Truth, generator: Callable[[str], Any]) -> list[Reconstruction]:
        """No text: the language alone spells out none exactly."""
        return []

    def score(self, truth: Truth, answer: Any, prior: Any, generator: Callable[[str], Any]) -> Scored:
        """The share of the training texts that are among the claims, and of the others as what chance is."""
        value = extraction_recall(truth.held, answer)
        strange = extraction_recall(tuple(set(truth.unheld) - set(truth.held)), answer).value
        if value.value is not None:
            value = replace(value, baseline=strange, chance=strange or 0.0, best=1.0)
        return Scored(metrics={"extraction/recall": value})
