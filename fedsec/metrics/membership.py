"""Membership: how well scores tell members from others."""

from typing import Any

import numpy as np

from fedsec.api import BetterFor, MetricValue
from fedsec.metrics.roc import roc
from fedsec.metrics.stats.intervals import Z95, Interval, clopper_pearson

RATES = (0.01, 0.05)
"""False positive rates at which the true positive rate is told."""


def membership(scores: np.ndarray, blind: np.ndarray, members: np.ndarray) -> dict[str, MetricValue]:
    """The AUC, and the true positive rate at low false positive rates, with the blind attack's beside each.

    Args:
        scores: of each candidate fp64 [candidates], higher for a member.
        blind: the same of an attack that saw the candidates' words alone.
        members: the truth, bool [candidates].

    Source: Carlini et al., "Membership Inference Attacks From First Principles", S&P 2022, section III: the rate at a
    low false positive rate says more than the AUC. Deviations: none.
    """
    positives, negatives = int(members.sum()), int((~members).sum())
    known = auc(blind, members) if positives and negatives else None
    found = {
        "membership/auc": _area(scores, members, known),
        "membership/blind-auc": _area(blind, members, None),
    }
    for rate in RATES:
        found[f"membership/tpr@fpr={rate:g}"] = _true_positives(scores, blind, members, rate)
    return found


def curves(scores: np.ndarray, blind: np.ndarray, members: np.ndarray) -> dict[str, Any]:
    """The ROC curves of the scores and of the blind attack's as a cell's notes hold them, in counts of candidates.

    Args:
        scores: of each candidate fp64 [candidates], higher for a member.
        blind: the same of an attack that saw the candidates' words alone.
        members: the truth, bool [candidates].

    Returns:
        `members` and `others` count the candidates; `points` and `blind` are curves (see `roc`); `marks` hold for each
        false positive rate that is told: that rate, and the false and the true positives at its threshold.
    """
    cuts = {rate: _cut(scores, members, rate) for rate in RATES}
    return {
        "members": int(members.sum()),
        "others": int((~members).sum()),
        "points": roc(scores, members),
        "blind": roc(blind, members),
        "marks": [[rate, false, hits] for rate, (_, hits, false) in cuts.items()],
    }


def auc(scores: np.ndarray, members: np.ndarray) -> float:
    """The share of (member, other) pairs in which the member scores higher; ties count half.

    Source: Mann and Whitney, 1947, as ranks. Deviations: none.
    """
    from scipy.stats import rankdata

    positives = int(members.sum())
    pairs = positives * (len(members) - positives)
    return float((rankdata(scores)[members].sum() - positives * (positives + 1) / 2) / pairs)


def auc_interval(scores: np.ndarray, members: np.ndarray, z: float = Z95) -> Interval:
    """Interval of the AUC, over candidates.

    Args:
        scores: of each candidate [candidates].
        members: the truth, bool [candidates].
        z: of the normal distribution; 1.96 gives 95 %, 3.29 gives 99.9 %.

    Source: DeLong, DeLong and Clarke-Pearson, Biometrics 1988, as placements among the other kind, on the logit scale
        (Pepe, "The Statistical Evaluation of Medical Tests", 2003, section 5.2), where the normal approximation holds
        for fewer candidates.
    Deviations: at least 1.5 over the number of the rarer kind to either side, so that a perfect separation still leaves
        room for a candidate that was not drawn.
    """
    from scipy.stats import rankdata

    own, other = scores[members], scores[~members]
    both = rankdata(np.concatenate([own, other]))
    placed = (both[: len(own)] - rankdata(own)) / len(other)  # [members]
    among = 1.0 - (both[len(own) :] - rankdata(other)) / len(own)  # [others]
    spread = sum(float(one.var(ddof=1)) / len(one) for one in (placed, among) if len(one) > 1)
    least, middle = 1.5 * z / Z95 / min(len(own), len(other)), float(placed.mean())
    low, high = middle - least, middle + least
    if 0.0 < middle < 1.0:
        logit, step = np.log(middle / (1 - middle)), z * float(np.sqrt(spread)) / (middle * (1 - middle))
        low, high = min(low, _expit(logit - step)), max(high, _expit(logit + step))
    return Interval(max(0.0, low), min(1.0, high), "delong-logit")


def _expit(value: float) -> float:
    return float(1.0 / (1.0 + np.exp(-value)))


def _area(scores: np.ndarray, members: np.ndarray, blind: float | None) -> MetricValue:
    positives = int(members.sum())
    if not positives or positives == len(members):
        return MetricValue(value=None, unit="fraction", better_for=BetterFor.ATTACKER, n=0)
    interval = auc_interval(scores, members)
    scale: dict[str, Any] = {} if blind is None else {"baseline": blind, "chance": max(0.5, blind), "best": 1.0}
    return MetricValue(
        value=auc(scores, members),
        unit="fraction",
        better_for=BetterFor.ATTACKER,
        n=len(members),
        ci_low=interval.low,
        ci_high=interval.high,
        method=interval.method,
        **scale,
    )


def _true_positives(scores: np.ndarray, blind: np.ndarray, members: np.ndarray, rate: float) -> MetricValue:
    """The true positive rate at the lowest threshold whose false positive rate is at most `rate`."""
    positives, negatives = int(members.sum()), int((~members).sum())
    if not positives or not negatives:
        return MetricValue(value=None, unit="fraction", better_for=BetterFor.ATTACKER, n=0)
    threshold, hits, false = _cut(scores, members, rate)
    interval = clopper_pearson(hits, positives)
    return MetricValue(
        value=hits / positives,
        unit="fraction",
        better_for=BetterFor.ATTACKER,
        n=positives,
        ci_low=interval.low,
        ci_high=interval.high,
        method=interval.method,
        baseline=_cut(blind, members, rate)[1] / positives,
        detail={
            "realised-fpr": false / negatives,
            "threshold": threshold,
            "true-positives": float(hits),
            "false-positives": float(false),
            "members": float(positives),
            "others": float(negatives),
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
