"""Membership: how well scores tell members from others."""

from dataclasses import replace
from typing import Any

import numpy as np

from fedsec.api import BetterFor, MetricValue
from fedsec.metrics.blind import SPREAD
from fedsec.metrics.pairs import Pairs, auc, auc_interval
from fedsec.metrics.roc import roc
from fedsec.metrics.stats.intervals import clopper_pearson

__all__ = ["RATES", "auc", "auc_interval", "curves", "membership", "of_updates"]

RATES = (0.01, 0.05)
"""False positive rates at which the true positive rate is told."""


def membership(
    scores: np.ndarray, blind: np.ndarray, members: np.ndarray, counted: np.ndarray | None = None
) -> dict[str, MetricValue]:
    """The AUC, and the true positive rate at low false positive rates, with the blind attack's beside each.

    Args:
        scores: of each candidate fp64 [candidates], higher for a member; or about each client [candidates, clients].
        blind: of an attack that saw the candidates' words alone, by `blind_scores` [candidates]; the same object as
            `scores` where there is nothing better.
        members: the truth, bool, of the scores' shape.
        counted: which scores count, bool, of the same shape; all if absent.

    Source: Carlini et al., "Membership Inference Attacks From First Principles", S&P 2022, section III: the rate at a
    low false positive rate says more than the AUC. Deviations: none.
    """
    pairs, guess = _beside(scores, blind, members, counted)
    known = auc(guess.scores, guess.members) if pairs.both else None
    area = _area(pairs, known, SPREAD if scores is blind else 1.0)
    found = {"membership/auc": area, "membership/blind-auc": _area(guess, None, SPREAD)}
    for rate in RATES:
        found[f"membership/tpr@fpr={rate:g}"] = _true_positives(pairs, guess, rate)
    return found


def curves(
    scores: np.ndarray, blind: np.ndarray, members: np.ndarray, counted: np.ndarray | None = None
) -> dict[str, Any]:
    """The ROC curves of the scores and of the blind attack's as a cell's notes hold them, in counts of scores.

    Args:
        scores: of each candidate fp64 [candidates], higher for a member; or about each client [candidates, clients].
        blind: of an attack that saw the candidates' words alone [candidates].
        members: the truth, bool, of the scores' shape.
        counted: which scores count, bool, of the same shape; all if absent.

    Returns:
        `members` and `others` count the scores; `points` and `blind` are curves (see `roc`); `marks` hold for each
        false positive rate that is told: that rate, and the false and the true positives at its threshold.
    """
    own, guess = _beside(scores, blind, members, counted)
    scores, members = own.scores, own.members
    cuts = {rate: _cut(scores, members, rate) for rate in RATES}
    return {
        "members": int(members.sum()),
        "others": int((~members).sum()),
        "points": roc(scores, members),
        "blind": roc(guess.scores, members),
        "marks": [[rate, false, hits] for rate, (_, hits, false) in cuts.items()],
    }


def of_updates(
    scores: np.ndarray, blind: np.ndarray, drawn: np.ndarray, held: np.ndarray, withheld: np.ndarray
) -> dict[str, MetricValue]:
    """The same for scores about clients: of what was drawn in the rounds seen, and beside it of all that they hold.

    Args:
        scores: fp64 [candidates, clients].
        blind: of an attack that saw the candidates' words alone [candidates].
        drawn: whether the client trained on the candidate in a round that was seen, bool [candidates, clients].
        held: whether it holds the candidate, bool [candidates, clients].
        withheld: whether nobody holds it, bool [candidates].

    Source: as `membership`. Deviations: a record that is held and was not drawn is left out of the first.
    """
    others = np.broadcast_to(withheld[:, None], scores.shape)
    metrics = membership(scores, blind, drawn, drawn | others)
    whole = membership(scores, blind, held, held | others)
    for name in ("auc", "tpr@fpr=0.01"):
        metrics[f"membership/holdings-{name}"] = replace(whole[f"membership/{name}"], chance=None, best=None)
    return metrics


def _beside(
    scores: np.ndarray, blind: np.ndarray, members: np.ndarray, counted: np.ndarray | None
) -> tuple[Pairs, Pairs]:
    """The scores that count, and the blind attack's, which are about every client the same."""
    alike = blind.reshape(len(blind), *[1] * (scores.ndim - 1))
    return Pairs.of(scores, members, counted), Pairs.of(np.broadcast_to(alike, scores.shape), members, counted)


def _area(pairs: Pairs, blind: float | None, spread: float) -> MetricValue:
    if not pairs.both:
        return _nothing()
    if pairs.clients < 2:
        interval = auc_interval(pairs.scores, pairs.members, spread=spread)
    else:
        interval = pairs.auc_interval(spread)
    scale: dict[str, Any] = {} if blind is None else {"baseline": blind, "chance": max(0.5, blind), "best": 1.0}
    return MetricValue(
        value=auc(pairs.scores, pairs.members),
        unit="fraction",
        better_for=BetterFor.ATTACKER,
        n=pairs.candidates,
        ci_low=interval.low,
        ci_high=interval.high,
        method=interval.method,
        detail=pairs.counts if pairs.clients else None,
        **scale,
    )


def _nothing() -> MetricValue:
    return MetricValue(value=None, unit="fraction", better_for=BetterFor.ATTACKER, n=0)


def _true_positives(pairs: Pairs, blind: Pairs, rate: float) -> MetricValue:
    """The true positive rate at the lowest threshold whose false positive rate is at most `rate`."""
    if not pairs.both:
        return _nothing()
    members = pairs.members
    positives, negatives = int(members.sum()), int((~members).sum())
    threshold, hits, false = _cut(pairs.scores, members, rate)
    effective = pairs.effective((pairs.scores >= threshold).astype(float))
    interval = clopper_pearson(hits / positives * effective, effective)
    return MetricValue(
        value=hits / positives,
        unit="fraction",
        better_for=BetterFor.ATTACKER,
        n=positives,
        ci_low=interval.low,
        ci_high=interval.high,
        method=interval.method,
        baseline=_cut(blind.scores, members, rate)[1] / positives,
        detail={
            "realised-fpr": false / negatives,
            "threshold": threshold,
            "true-positives": float(hits),
            "false-positives": float(false),
            **pairs.counts,
        },
    )


def _cut(scores: np.ndarray, members: np.ndarray, rate: float) -> tuple[float, int, int]:
    """The threshold, and the true and the false positives at or above it."""
    others = np.sort(scores[~members])[::-1]
    allowed = int(rate * len(others) + 1e-9)
    # The highest score of the others that may not be passed: members above it are told apart.
    bound = others[allowed] if allowed < len(others) else -np.inf
    above = scores > bound
    threshold = float(scores[above].min()) if above.any() else float(np.nextafter(bound, np.inf))
    return threshold, int((above & members).sum()), int((above & ~members).sum())
