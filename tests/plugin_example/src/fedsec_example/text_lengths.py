"""A goal of one's own: how long are the texts that clients train on?"""

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

import numpy as np

from fedsec.api import BetterFor, Evidence, MetricValue, Scored, Stage, Staged, Truth
from fedsec.metrics.stats.intervals import of_mean

MATCH = "example/length-match"
USUAL = 8.0
"""Tokens of a text, as somebody guesses who sees nothing."""


class TellLengths:
    """Asks for the mean length of each client's texts in the attacked rounds, in tokens.

    Source: none, an example. Deviations: none.
    """

    def stage(self, stage: Stage) -> Staged:
        """Nothing."""
        return Staged()

    def ask(self, attack: Any, evidence: Evidence) -> Mapping[int, float]:
        """The lengths by client; ValueError if they are anything else."""
        found = attack.estimate(evidence)
        fits = isinstance(found, dict) and all(isinstance(one, float) and isfinite(one) for one in found.values())
        if not fits:
            raise ValueError("must return a finite number for each client, in a dict")
        return found

    def prior(self, evidence: Evidence, truth: Truth, generator: Callable[[str], Any]) -> Mapping[int, float]:
        """The usual length for everybody."""
        return dict.fromkeys(_lengths(truth), USUAL)

    def score(self, truth: Truth, answer: Any, prior: Any, generator: Callable[[str], Any]) -> Scored:
        """How near the answers are: 1 less the relative error, 0 for one that is off by more than the length."""
        near, chance = _near(_lengths(truth), answer), float(np.mean(_near(_lengths(truth), prior)))
        interval = of_mean([[one] for one in near], generator("length intervals"))
        value = MetricValue(
            value=float(np.mean(near)),
            unit="fraction",
            better_for=BetterFor.ATTACKER,
            n=len(near),
            ci_low=interval.low,
            ci_high=interval.high,
            method=interval.method,
            baseline=chance,
            chance=chance,
            best=1.0,
        )
        return Scored(metrics={MATCH: value})


def _lengths(truth: Truth) -> dict[int, float]:
    """Mean tokens of each client's texts, special ones included."""
    each: dict[int, list[int]] = {}
    for secrets in truth.secrets.values():
        for client, secret in secrets.items():
            each.setdefault(client, []).extend(secret.lengths)
    return {client: float(np.mean(lengths)) for client, lengths in each.items()}


def _near(lengths: Mapping[int, float], answer: Mapping[int, float]) -> list[float]:
    return [max(0.0, 1.0 - abs(answer.get(client, 0.0) - length) / length) for client, length in lengths.items()]
