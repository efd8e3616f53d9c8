"""Scores of candidates, about nobody in particular or about each client, and the intervals of what is made of them."""

from dataclasses import dataclass

import numpy as np

from fedsec.metrics.stats.intervals import Z95, Interval


def auc(scores: np.ndarray, members: np.ndarray) -> float:
    """The share of (member, other) pairs in which the member scores higher; ties count half.

    Source: Mann and Whitney, 1947, as ranks. Deviations: none.
    """
    from scipy.stats import rankdata

    positives = int(members.sum())
    pairs = positives * (len(members) - positives)
    return float((rankdata(scores)[members].sum() - positives * (positives + 1) / 2) / pairs)


def auc_interval(scores: np.ndarray, members: np.ndarray, z: float = Z95, spread: float = 1.0) -> Interval:
    """Interval of the AUC, over candidates.

    Args:
        scores: of each candidate [candidates].
        members: the truth, bool [candidates].
        z: of the normal distribution; 1.96 gives 95 %, 3.29 gives 99.9 %.
        spread: factor of the standard error, for scores that depend on each other.

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
    variance = sum(float(one.var(ddof=1)) / len(one) for one in (placed, among) if len(one) > 1)
    least, middle = 1.5 * z / Z95 / min(len(own), len(other)), float(placed.mean())
    low, high = middle - least, middle + least
    if 0.0 < middle < 1.0:
        logit, step = np.log(middle / (1 - middle)), z * spread * float(np.sqrt(variance)) / (middle * (1 - middle))
        low, high = min(low, _expit(logit - step)), max(high, _expit(logit + step))
    return Interval(max(0.0, low), min(1.0, high), "delong-logit")


def _expit(value: float) -> float:
    return float(1.0 / (1.0 + np.exp(-value)))


@dataclass(frozen=True, slots=True)
class Pairs:
    """Scores that count, each of a candidate and, where single updates are seen, about a client."""

    scores: np.ndarray
    """fp64 [pairs]"""
    members: np.ndarray
    """bool [pairs]"""
    rows: np.ndarray
    """The candidate of each pair, from 0 [pairs]."""
    columns: np.ndarray
    """The client of each pair, from 0 [pairs]."""
    clients: int
    """0 where scores are about no client in particular."""

    @classmethod
    def of(cls, scores: np.ndarray, members: np.ndarray, counted: np.ndarray | None) -> "Pairs":
        """The pairs of an answer.

        Args:
            scores: [candidates] or [candidates, clients].
            members: bool, of that shape.
            counted: bool, of that shape; None counts all.
        """
        kept = np.ones(scores.shape, dtype=bool) if counted is None else counted
        places = np.nonzero(kept)
        columns = places[1] if scores.ndim == 2 else np.zeros(len(places[0]), dtype=np.int64)
        return cls(scores[kept], members[kept], places[0], columns, scores.shape[1] if scores.ndim == 2 else 0)

    @property
    def both(self) -> bool:
        """Whether there are members and others."""
        return bool(self.members.any() and not self.members.all())

    @property
    def candidates(self) -> int:
        """Candidates that any score counts of."""
        return len(np.unique(self.rows))

    @property
    def counts(self) -> dict[str, float]:
        """How many scores of members and of others there are, and clients if they are about any."""
        found = {"members": float(self.members.sum()), "others": float((~self.members).sum())}
        return {**found, "clients": float(self.clients)} if self.clients else found

    def auc_interval(self, spread: float = 1.0) -> Interval:
        """Interval of the AUC over clients and candidates, whose scores belong together.

        Args:
            spread: factor of the standard error, for scores that depend on each other.

        Source: Obuchowski, "Nonparametric Analysis of Clustered ROC Curve Data", Biometrics 1997 (placements summed by
            cluster); Cameron, Gelbach and Miller, "Robust Inference With Multiway Clustering", JBES 2011, for clusters
            of two kinds.
        Deviations: Student's t with one degree of freedom less than there are clients, on the logit scale; at least as
            wide as that of one kind of cluster, and as `auc_interval` is at its least.
        """
        from scipy.stats import rankdata, t

        own, other = self.scores[self.members], self.scores[~self.members]
        both = rankdata(np.concatenate([own, other]))
        placed = (both[: len(own)] - rankdata(own)) / len(other)  # [members]
        among = 1.0 - (both[len(own) :] - rankdata(other)) / len(own)  # [others]
        middle = float(placed.mean())
        moves = np.zeros(len(self.scores))  # what each pair moves the AUC by [pairs]
        moves[self.members] = (placed - middle) / len(own)
        moves[~self.members] = (among - middle) / len(other)
        fewest = min(len(np.unique(self.rows[self.members])), len(np.unique(self.rows[~self.members])))
        least, quantile = 1.5 / fewest, float(t.ppf(0.975, self.clients - 1))
        low, high = middle - least, middle + least
        if 0.0 < middle < 1.0:
            logit = np.log(middle / (1 - middle))
            step = quantile * spread * float(np.sqrt(self._variance(moves))) / (middle * (1 - middle))
            low, high = min(low, _expit(logit - step)), max(high, _expit(logit + step))
        return Interval(max(0.0, low), min(1.0, high), "clustered-delong-logit")

    def effective(self, hit: np.ndarray) -> float:
        """How many independent members tell as much of a rate as these do, of which clients hold several each.

        Args:
            hit: 1 for a pair that is found, 0 for another [pairs].

        Source: Korn and Graubard, "Confidence Intervals for Proportions With Small Expected Number of Positive Counts
            Estimated From Survey Data", Survey Methodology 1998 (the number over the design's effect). Deviations:
            without their correction by degrees of freedom, and never more members than there are.
        """
        count, rate = int(self.members.sum()), float(hit[self.members].mean())
        if self.clients < 2 or not 0.0 < rate < 1.0:
            return float(count)
        moves = np.where(self.members, (hit - rate) / count, 0.0)
        return min(float(count), rate * (1 - rate) / max(self._variance(moves), 1e-12))

    def _variance(self, moves: np.ndarray) -> float:
        """The variance of a sum of moves [pairs], of which those of one client or one candidate belong together."""
        clients = float((np.bincount(self.columns, moves) ** 2).sum()) * self.clients / (self.clients - 1)
        candidates, alone = float((np.bincount(self.rows, moves) ** 2).sum()), float((moves**2).sum())
        return max(clients + candidates - alone, clients, candidates)
