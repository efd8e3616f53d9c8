"""Utility: how good the model still is."""

from dataclasses import replace
from math import exp

import numpy as np

from fedsec.api import BetterFor, MetricValue
from fedsec.data.tokens import Tokenised
from fedsec.federation.evaluation import Evaluation, TokenCounts
from fedsec.metrics.rates import rate
from fedsec.metrics.stats.intervals import FEW, RESAMPLES, Interval, wilson

LARGEST_LOSS = 100.0
"""Nats per token beyond which a perplexity is not told apart: exp(100) is 2.7e43. Guessing among all words of a large
vocabulary costs 12; only a model that was driven to ruin is above, and infinity cannot be written."""


def utility(evaluation: Evaluation, test: Tokenised, generator: np.random.Generator) -> dict[str, MetricValue]:
    """The metrics of the model after the last round, by name, for either task; beside what a constant answer gets.

    Args:
        evaluation: on the test set.
        test: the test set.
        generator: resamples texts.
    """
    constant = constant_answer(test)
    if evaluation.texts is None:
        right = rate(int(evaluation.correct.sum()), len(evaluation.correct), BetterFor.DEFENDER, baseline=constant)
        return {"utility/accuracy": right}
    return {
        "utility/perplexity": perplexity(evaluation.texts, generator),
        "utility/next-token-accuracy": replace(next_token_accuracy(evaluation.texts, generator), baseline=constant),
    }


def constant_answer(test: Tokenised) -> float | None:
    """The share that always the same answer gets right: of rows the largest class, of learned tokens the commonest.

    None of an empty test set.
    """
    if test.learned_from is None:
        answers = test.labels
    else:
        parts = (ids[first:] for ids, first in zip(test.ids, test.learned_from, strict=True))
        answers = np.array([token for part in parts for token in part], dtype=np.int64)
    return float(np.unique(answers, return_counts=True)[1].max() / len(answers)) if len(answers) else None


def perplexity(texts: TokenCounts, generator: np.random.Generator) -> MetricValue:
    """Exponential of the mean negative log likelihood per learned token, with an interval over texts.

    The interval is that of the mean, exponentiated; texts are what is independent, tokens within one are not. A text
    whose mean is above `LARGEST_LOSS` counts with that.

    Args:
        texts: likelihoods and token counts of each text.
        generator: resamples texts.

    Source: Jelinek et al., "Perplexity - a measure of the difficulty of speech recognition tasks", JASA 1977.
    Deviations: per token of the model's own tokenizer, so that models of different tokenizers do not compare.
    """
    if not texts.learned.sum():
        return MetricValue(value=None, unit="perplexity", better_for=BetterFor.ATTACKER, n=0)
    nll = np.minimum(texts.nll, LARGEST_LOSS * texts.learned)
    interval = _of_ratio(nll, texts.learned, generator)
    return MetricValue(
        value=exp(nll.sum() / texts.learned.sum()),
        unit="perplexity",
        better_for=BetterFor.ATTACKER,  # who gains when it grows
        n=len(nll),
        ci_low=exp(max(0.0, interval.low)),
        ci_high=exp(min(LARGEST_LOSS, interval.high)),
        method=interval.method,
    )


def next_token_accuracy(texts: TokenCounts, generator: np.random.Generator) -> MetricValue:
    """Learned tokens that the model gives the highest probability, with an interval over texts."""
    if not texts.learned.sum():
        return MetricValue(value=None, unit="fraction", better_for=BetterFor.DEFENDER, n=0)
    share = float(texts.right.sum() / texts.learned.sum())
    interval = _of_ratio(texts.right.astype(float), texts.learned, generator)
    if share in (0.0, 1.0):  # texts that all agree still leave room for one that was not drawn
        interval = wilson(share * len(texts.right), len(texts.right))._replace(method="wilson-texts")
    return MetricValue(
        value=share,
        unit="fraction",
        better_for=BetterFor.DEFENDER,
        n=len(texts.right),
        ci_low=max(0.0, interval.low),
        ci_high=min(1.0, interval.high),
        method=interval.method,
    )


def _of_ratio(sums: np.ndarray, sizes: np.ndarray, generator: np.random.Generator) -> Interval:
    """Interval of a ratio of sums over texts: by resampling texts, or by Student's t where they are few.

    A single text says nothing of how texts differ: the interval is everything.

    Args:
        sums: of each text.
        sizes: tokens of each text.
        generator: resamples.
    """
    count = len(sums)
    if count == 1:
        return Interval(-np.inf, np.inf, "one-text")
    if count < FEW:
        from scipy.stats import t

        mean = sums.sum() / sizes.sum()
        spread = np.sqrt(count / (count - 1) * ((sums - mean * sizes) ** 2).sum()) / sizes.sum()
        half = float(t.ppf(0.975, count - 1) * spread)
        return Interval(float(mean) - half, float(mean) + half, "t-texts")
    picks = generator.integers(count, size=(RESAMPLES, count))
    low, high = np.quantile(sums[picks].sum(axis=1) / sizes[picks].sum(axis=1), [0.025, 0.975])
    return Interval(float(low), float(high), "bootstrap-texts")
