"""Leakage: how much of the clients' texts a reconstruction contains. The only reader of the ground truth.

Predictions are matched to a client's texts one to one so that the summed token F1 is largest; texts without a
prediction score 0. Special tokens and padding never count, but in the metrics that end in `-lamp`. Texts without a
known token are left out of every metric: there is nothing in them to read.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from fedsec.api import BetterFor, MetricValue, Reconstruction
from fedsec.federation.transcript import Secret
from fedsec.metrics.stats.intervals import of_mean
from fedsec.metrics.words import WordTokenizer, pieces_of, words_of

Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """A text and the reconstruction that was matched to it."""

    client: int
    truth: Tokens
    planted: tuple[str, ...]
    guess: Reconstruction | None
    original: Tokens
    """The text that the client holds; `truth` is what it trained on."""


class Compared(NamedTuple):
    """Texts and reconstructions that may be matched to each other: a client's, or all clients' together."""

    owners: tuple[int, ...]
    """Client of each text."""
    truths: tuple[Tokens, ...]
    guesses: tuple[Tokens, ...]
    """The surest, at most as many as there are texts."""


class Scored(NamedTuple):
    """All pairs and every claim."""

    pairs: tuple[Pair, ...]
    claims: tuple[tuple[int, bool], ...]
    """(client, exact) of each reconstruction that its attack calls verified, matched or not, known client or not."""
    compared: tuple[Compared, ...] = ()
    """What was matched within."""
    claimed: tuple[Tokens, ...] = ()
    """What each claim says."""


class Column(NamedTuple):
    """What a metric averages over."""

    values: list[tuple[int, float]]
    """(client, value) of each sample."""
    left_out: int = 0
    """Samples that could not count."""


def match(secrets: Mapping[int, Secret], guesses: Sequence[Reconstruction]) -> Scored:
    """Pair every client's texts with its reconstructions.

    Args:
        secrets: the truth by client.
        guesses: what the attack claims, in any order. Of more than a client has texts only the surest are matched:
            the truth must not pick among them. The others still count as claims. Claims for clients without a secret
            are false ones. If a claim names no client, all claims stand for the clients together.
    """
    if any(guess.client is None for guess in guesses):
        return _match_together(secrets, guesses)
    pairs: list[Pair] = []
    claims: list[tuple[int, bool, Tokens]] = []
    compared: list[Compared] = []
    for client, secret in secrets.items():
        own = sorted((guess for guess in guesses if guess.client == client), key=_surest_first)
        left = Counter(secret.tokens)
        for guess in own:
            if guess.verified:
                claims.append((client, left[guess.tokens] > 0, guess.tokens))
                left[guess.tokens] -= 1
        surest = own[: len(secret.tokens)]
        compared.append(
            Compared((client,) * len(secret.tokens), secret.tokens, tuple(guess.tokens for guess in surest))
        )
        partner = _assign(secret.tokens, surest)
        originals = secret.originals or secret.tokens
        for index, (tokens, planted, held) in enumerate(zip(secret.tokens, secret.planted, originals, strict=True)):
            pairs.append(Pair(client, tokens, planted, partner.get(index), held))
    strangers = [guess for guess in guesses if guess.verified and guess.client not in secrets]
    claims += sorted((guess.client, False, guess.tokens) for guess in strangers if guess.client is not None)
    found = tuple((client, exact) for client, exact, _ in claims)
    return Scored(tuple(pairs), found, tuple(compared), tuple(tokens for *_, tokens in claims))


def _match_together(secrets: Mapping[int, Secret], guesses: Sequence[Reconstruction]) -> Scored:
    """As `match`, of an attack that saw a sum of clients' updates and cannot tell whose text is whose."""
    owners = [client for client, secret in secrets.items() for _ in secret.tokens]
    scored = match({0: _joined(list(secrets.values()))}, [replace(guess, client=0) for guess in guesses])
    pairs = [replace(pair, client=owner) for pair, owner in zip(scored.pairs, owners, strict=True)]
    compared = tuple(one._replace(owners=tuple(owners)) for one in scored.compared)
    return scored._replace(pairs=tuple(pairs), compared=compared)


def _joined(secrets: Sequence[Secret]) -> Secret:
    return Secret(
        tokens=tuple(one for secret in secrets for one in secret.tokens),
        lengths=tuple(one for secret in secrets for one in secret.lengths),
        labels=tuple(one for secret in secrets for one in secret.labels),
        planted=tuple(one for secret in secrets for one in secret.planted),
        originals=tuple(one for secret in secrets for one in (secret.originals or secret.tokens)),
    )


def renumbered(scored: Scored, by: int) -> Scored:
    """The same with every client's number raised, so that batches of several rounds stay apart."""
    return Scored(
        tuple(replace(pair, client=pair.client + by) for pair in scored.pairs),
        tuple((client + by, exact) for client, exact in scored.claims),
        tuple(one._replace(owners=tuple(owner + by for owner in one.owners)) for one in scored.compared),
        scored.claimed,
    )


def leakage(scored: Scored, tokenizer: Any, generator: np.random.Generator) -> dict[str, MetricValue]:
    """Every leakage metric with its interval over the clients' batches.

    Args:
        scored: pairs and claims.
        tokenizer: turns ids into words for ROUGE and for planted data, and says which id stands for anything unknown.
        generator: resamples for the intervals.
    """
    unknown = getattr(tokenizer, "unk_token_id", None)
    words = [(_words(p.truth, tokenizer), _words(p.guess.tokens if p.guess else (), tokenizer)) for p in scored.pairs]
    counted = [(p, said) for p, said in zip(scored.pairs, words, strict=True) if _says_something(p.truth, unknown)]
    pairs, lacking = [pair for pair, _ in counted], len(scored.pairs) - len(counted)
    columns: dict[str, Column] = {
        "exact-match": _column(pairs, lacking, lambda p: float(_exact(p))),
        "verified-exact": _column(
            pairs, lacking, lambda p: float(_exact(p) and p.guess is not None and p.guess.verified)
        ),
        "token-f1": _column(pairs, lacking, lambda p: _overlap(p)[0]),
        "token-recall": _column(pairs, lacking, lambda p: _overlap(p)[1]),
        "false-claim": _claims(scored, unknown),
        "pii-recall": _planted_found(scored, words, tokenizer),
        **_rouge([pair.client for pair in pairs], [said for _, said in counted], lacking),
        **_as_in_lamp(scored, tokenizer, unknown),
    }
    columns["best-rouge-l"] = _best(columns["rouge-l"], {pair.client for pair in scored.pairs})
    return {
        f"leakage/{name}": _value(name, column, generator)
        for name, column in columns.items()
        if column.values or name not in ("pii-recall", "false-claim", "rouge-2", "rouge-2-lamp")
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


def _f1(truth: Sequence[Any], guess: Sequence[Any]) -> tuple[float, float]:
    """F1 and recall of the multisets of tokens or words."""
    common = sum((Counter(truth) & Counter(guess)).values())
    if common == 0:
        return 0.0, 0.0
    precision, recall = common / len(guess), common / len(truth)
    return 2 * precision * recall / (precision + recall), recall


def _overlap(pair: Pair) -> tuple[float, float]:
    return _f1(pair.truth, pair.guess.tokens if pair.guess else ())


def _exact(pair: Pair) -> bool:
    return pair.guess is not None and pair.guess.tokens == pair.truth


def _says_something(tokens: Tokens, unknown: int | None) -> bool:
    """Whether there is any token but the unknown one, which stands for every text that the vocabulary lacks."""
    return any(token != unknown for token in tokens)


def _column(pairs: Sequence[Pair], left_out: int, score: Callable[[Pair], float]) -> Column:
    return Column([(pair.client, score(pair)) for pair in pairs], left_out)


def _claims(scored: Scored, unknown: int | None) -> Column:
    """Which claims are false; to be right about a text without a known token is no merit, and is left out."""
    values = [
        (client, float(not exact))
        for (client, exact), tokens in zip(scored.claims, scored.claimed, strict=True)
        if not exact or _says_something(tokens, unknown)
    ]
    return Column(values, len(scored.claims) - len(values))


def _words(tokens: Tokens, tokenizer: Any) -> str:
    """The text of these tokens; an unknown one stays a word, as it is a token in every other metric."""
    unknown = getattr(tokenizer, "unk_token_id", None)
    parts = [list(part) for _, part in groupby(tokens, lambda token: token == unknown)]
    texts = [tokenizer.decode(part, skip_special_tokens=part[0] != unknown) for part in parts]
    return " ".join(map(str, texts))


def _best(texts: Column, clients: Collection[int]) -> Column:
    """Of each client the text that was recovered best; a client none of whose texts counts is left out.

    Source: Gupta et al., FILM, NeurIPS 2022: the best sentence of a batch, as its code evaluates. Deviations: over the
    texts' one-to-one partners, where that code takes any sentence of any beam.
    """
    best: dict[int, float] = {}
    for client, value in texts.values:
        best[client] = max(value, best.get(client, 0.0))
    return Column(list(best.items()), len(clients) - len(best))


def _as_in_lamp(scored: Scored, tokenizer: Any, unknown: int | None) -> dict[str, Column]:
    """ROUGE F in the convention of LAMP's and DAGER's tables.

    Texts and reconstructions are decoded with the special tokens that the tokenizer puts around them, which count as
    words, and are matched one to one so that the summed ROUGE-1 is largest.

    Source: Balunovic et al., LAMP, NeurIPS 2022, as its code evaluates. Deviations: a text without a partner counts 0.
    """
    before, after = _frame(tokenizer)
    clients: list[int] = []
    words: list[tuple[str, str]] = []
    lacking = 0
    for own in scored.compared:
        truths, guesses = (
            [str(tokenizer.decode([*before, *ids, *after])) for ids in part] for part in (own.truths, own.guesses)
        )
        partner = _assign_by_words(truths, guesses)
        for i, (owner, ids, truth) in enumerate(zip(own.owners, own.truths, truths, strict=True)):
            if _says_something(ids, unknown):
                clients.append(owner)
                words.append((truth, guesses[partner[i]] if i in partner else ""))
            else:
                lacking += 1
    return {f"{name}-lamp": column for name, column in _rouge(clients, words, lacking).items()}


def _frame(tokenizer: Any) -> tuple[Tokens, Tokens]:
    """The special tokens that a tokenizer puts before and after a text."""
    ids = tuple(tokenizer("a")["input_ids"])
    special = set(tokenizer.all_special_ids) - {getattr(tokenizer, "unk_token_id", None)}
    content = [place for place, token in enumerate(ids) if token not in special]
    return (ids[: content[0]], ids[content[-1] + 1 :]) if content else ((), ())


def _assign_by_words(truths: Sequence[str], guesses: Sequence[str]) -> dict[int, int]:
    """The guess of each text, so that the summed ROUGE-1 F is largest."""
    if not guesses:
        return {}
    own, other = ([words_of(text) for text in part] for part in (truths, guesses))
    gain = np.array([[_f1(truth, guess)[0] for guess in other] for truth in own])
    rows, columns = linear_sum_assignment(gain, maximize=True)
    return {int(row): int(column) for row, column in zip(rows, columns, strict=True)}


def _rouge(clients: Sequence[int], words: Sequence[tuple[str, str]], lacking: int) -> dict[str, Column]:
    """ROUGE F of each text that has enough words for it.

    Args:
        clients: of each text.
        words: each text and its reconstruction.
        lacking: texts that were left out before.

    Source: Lin, ACL workshop 2004, as rouge-score computes it. Deviations: words of every script count, where its own
    tokenizer drops all but a to z and digits; in ASCII texts they are the same.
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], tokenizer=WordTokenizer())
    found = [scorer.score(truth, guess) for truth, guess in words]
    lengths = [len(words_of(truth)) for truth, _ in words]
    columns = {}
    for name, key, least in (("rouge-1", "rouge1", 1), ("rouge-2", "rouge2", 2), ("rouge-l", "rougeL", 1)):
        values = [
            (client, float(scores[key].fmeasure))
            for client, scores, length in zip(clients, found, lengths, strict=True)
            if length >= least
        ]
        columns[name] = Column(values, lacking + len(words) - len(values))
    return columns


def _planted_found(scored: Scored, words: Sequence[tuple[str, str]], tokenizer: Any) -> Column:
    """Which planted values the matched reconstruction spells out, case and spaces aside.

    Text is compared, not tokens: BPE splits a value otherwise within a text than alone. Its words and signs are:
    WordPiece sets signs apart by spaces, and `ann a` must not become `anna` when they go. What no update could hold is
    left out: values that truncation took away, and those that the vocabulary cannot spell.
    """
    values: list[tuple[int, float]] = []
    left_out = 0
    for pair, (trained_on, guess) in zip(scored.pairs, words, strict=True):
        # A defense that took a value out of the text protects it: what the client holds is what counts.
        truth = trained_on if pair.original == pair.truth else _words(pair.original, tokenizer)
        for planted in pair.planted:
            pieces = _spelled(planted, tokenizer)
            if pieces and _contains(pieces_of(truth), pieces):
                values.append((pair.client, float(_contains(pieces_of(guess), pieces))))
            else:
                left_out += 1
    return Column(values, left_out)


def _spelled(value: str, tokenizer: Any) -> list[str]:
    """The value's pieces as a model's text shows them (without accents, for one); none if it has unknown tokens."""
    ids = list(tokenizer(value, add_special_tokens=False)["input_ids"])
    unknown = getattr(tokenizer, "unk_token_id", None)
    return [] if unknown in ids else pieces_of(_words(tuple(ids), tokenizer))


def _contains(pieces: Sequence[str], part: Sequence[str]) -> bool:
    return any(pieces[i : i + len(part)] == part for i in range(len(pieces) - len(part) + 1))


def _value(name: str, column: Column, generator: np.random.Generator) -> MetricValue:
    batches: dict[int, list[float]] = {}
    for client, value in column.values:
        batches.setdefault(client, []).append(value)
    interval = of_mean(list(batches.values()), generator) if batches else None
    return MetricValue(
        value=sum(value for _, value in column.values) / len(column.values) if column.values else None,
        unit="fraction",
        better_for=BetterFor.DEFENDER if name == "false-claim" else BetterFor.ATTACKER,
        n=len(column.values),
        ci_low=interval.low if interval else None,
        ci_high=interval.high if interval else None,
        method=interval.method if interval else "none",
        left_out=column.left_out,
    )
