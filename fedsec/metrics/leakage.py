"""Leakage: how much of the clients' texts a reconstruction holds. The only reader of the vault.

Predictions are matched to a client's texts one to one so that the summed token F1 is largest; texts without a
prediction score 0. Special tokens and padding never count.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from fedsec.api import BetterFor, MetricValue, Reconstruction
from fedsec.federation.transcript import Secret
from fedsec.metrics.stats.intervals import of_mean

Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """A text and the reconstruction that was matched to it."""

    client: int
    truth: Tokens
    planted: tuple[str, ...]
    guess: Reconstruction | None


class Scored(NamedTuple):
    """All pairs and every claim."""

    pairs: tuple[Pair, ...]
    claims: tuple[tuple[int, bool], ...]
    """(client, exact) of each reconstruction that its attack calls verified, matched or not."""


def match(secrets: Mapping[int, Secret], guesses: Sequence[Reconstruction]) -> Scored:
    """Pair every client's texts with its reconstructions.

    Args:
        secrets: the truth by client.
        guesses: what the attack claims, in any order. Of more than a client has texts only the surest are matched:
            the truth must not pick among them. The others still count as claims.
    """
    pairs: list[Pair] = []
    claims: list[tuple[int, bool]] = []
    for client, secret in secrets.items():
        own = sorted((guess for guess in guesses if guess.client == client), key=_surest_first)
        left = Counter(secret.tokens)
        for guess in own:
            if guess.verified:
                claims.append((client, left[guess.tokens] > 0))
                left[guess.tokens] -= 1
        partner = _assign(secret.tokens, own[: len(secret.tokens)])
        for index, (tokens, planted) in enumerate(zip(secret.tokens, secret.planted, strict=True)):
            pairs.append(Pair(client, tokens, planted, partner.get(index)))
    return Scored(tuple(pairs), tuple(claims))


def leakage(scored: Scored, tokenizer: Any, generator: np.random.Generator) -> dict[str, MetricValue]:
    """Every leakage metric with its interval over the clients' batches.

    Args:
        scored: pairs and claims.
        tokenizer: turns ids into words for ROUGE and for planted data.
        generator: resamples for the intervals.
    """
    words = [(_words(p.truth, tokenizer), _words(p.guess.tokens if p.guess else (), tokenizer)) for p in scored.pairs]
    columns: dict[str, list[tuple[int, float]]] = {
        "exact-match": _column(scored, lambda p, _: float(_exact(p))),
        "verified-exact": _column(scored, lambda p, _: float(_exact(p) and p.guess is not None and p.guess.verified)),
        "token-f1": _column(scored, lambda p, _: _overlap(p)[0]),
        "token-recall": _column(scored, lambda p, _: _overlap(p)[1]),
        "false-claim": [(client, float(not exact)) for client, exact in scored.claims],
        "pii-recall": _planted_found(scored, tokenizer),
        **_rouge(scored, words),
    }
    return {
        f"leakage/{name}": _value(name, column, generator)
        for name, column in columns.items()
        if column or name not in ("pii-recall", "false-claim", "rouge-2")
    }


def _surest_first(guess: Reconstruction) -> tuple[bool, float, bool, Tokens]:
    unsure = guess.score != guess.score  # NaN: no measure of doubt at all
    return unsure, 0.0 if unsure else guess.score, not guess.verified, guess.tokens


def _assign(truths: Sequence[Tokens], guesses: Sequence[Reconstruction]) -> dict[int, Reconstruction]:
    if not guesses:
        return {}
    # Exactness decides between guesses with the same tokens in another order.
    gain = np.array([[_f1(t, g.tokens)[0] + 1e-9 * (t == g.tokens) for g in guesses] for t in truths])
    rows, columns = linear_sum_assignment(gain, maximize=True)
    return {int(r): guesses[int(c)] for r, c in zip(rows, columns, strict=True)}


def _f1(truth: Tokens, guess: Tokens) -> tuple[float, float]:
    """F1 and recall of the token multisets."""
    common = sum((Counter(truth) & Counter(guess)).values())
    if common == 0:
        return 0.0, 0.0
    precision, recall = common / len(guess), common / len(truth)
    return 2 * precision * recall / (precision + recall), recall


def _overlap(pair: Pair) -> tuple[float, float]:
    return _f1(pair.truth, pair.guess.tokens if pair.guess else ())


def _exact(pair: Pair) -> bool:
    return pair.guess is not None and pair.guess.tokens == pair.truth


def _column(scored: Scored, score: Any) -> list[tuple[int, float]]:
    return [(pair.client, score(pair, index)) for index, pair in enumerate(scored.pairs)]


def _words(tokens: Tokens, tokenizer: Any) -> str:
    return str(tokenizer.decode(list(tokens), skip_special_tokens=True)) if tokens else ""


def _rouge(scored: Scored, words: Sequence[tuple[str, str]]) -> dict[str, list[tuple[int, float]]]:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    columns: dict[str, list[tuple[int, float]]] = {"rouge-1": [], "rouge-2": [], "rouge-l": []}
    for pair, (truth, guess) in zip(scored.pairs, words, strict=True):
        found = scorer.score(truth, guess)
        length = len(scorer._tokenizer.tokenize(truth))
        for name, key, least in (
            ("rouge-1", "rouge1", 1),
            ("rouge-2", "rouge2", 2),
            ("rouge-l", "rougeL", 1),
        ):
            if length >= least:
                columns[name].append((pair.client, float(found[key].fmeasure)))
    return columns


def _planted_found(scored: Scored, tokenizer: Any) -> list[tuple[int, float]]:
    found = []
    for pair in scored.pairs:
        guess = pair.guess.tokens if pair.guess else ()
        for value in pair.planted:
            ids = tuple(tokenizer(value, add_special_tokens=False)["input_ids"])
            if _contains(pair.truth, ids):  # what truncation took away never reached the update
                found.append((pair.client, float(_contains(guess, ids))))
    return found


def _contains(tokens: Tokens, part: Tokens) -> bool:
    return any(tokens[i : i + len(part)] == part for i in range(len(tokens) - len(part) + 1))


def _value(name: str, column: Sequence[tuple[int, float]], generator: np.random.Generator) -> MetricValue:
    batches: dict[int, list[float]] = {}
    for client, value in column:
        batches.setdefault(client, []).append(value)
    interval = of_mean(list(batches.values()), generator)
    return MetricValue(
        value=sum(value for _, value in column) / len(column) if column else 0.0,
        unit="fraction",
        better_for=BetterFor.DEFENDER if name == "false-claim" else BetterFor.ATTACKER,
        n=len(column),
        ci_low=interval.low,
        ci_high=interval.high,
        method=interval.method,
    )
