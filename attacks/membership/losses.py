"""The loss of candidates under a model that answers queries, and scores made of losses."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch.nn import functional

from fedsec.api import Candidate, Evidence, Tokens

MOST_QUERIES = 64
"""Number of queries at a time."""
MOST_LOGITS = 1 << 25
"""Logits in one question to a causal model: 128 MB in fp32. Long texts and large vocabularies mean fewer texts at a
time."""
_HUGE = torch.finfo(torch.float32).max

_UNKNOWN = torch.tensor(math.nan, dtype=torch.float64)

Measure = Callable[[Candidate, torch.Tensor], torch.Tensor]
Ask = Callable[[tuple[Tokens, ...]], Sequence[torch.Tensor | None]]
"""From queries to logits [classes] or [tokens, vocabulary] each; None where a defense refuses to answer."""


def released_losses(candidates: Sequence[Candidate], evidence: Evidence) -> torch.Tensor:
    """Return each candidate's loss under the released model, behind its defenses, fp64 [candidates]; NaN if unknown.

    Args:
        candidates: at least one.
        evidence: of a position that gets the released model.
    """
    return released_measures(candidates, evidence, _loss)


def released_measures(candidates: Sequence[Candidate], evidence: Evidence, measure: Measure) -> torch.Tensor:
    """Return what the released model's answers measure, behind its defenses, fp64 [candidates, *]; NaN if unknown.

    Args:
        candidates: at least one.
        evidence: of a position that gets the released model.
        measure: see `measured`.
    """
    if evidence.released is None:
        raise ValueError("it needs the released model, which its position does not get")
    return measured(candidates, evidence.released().answer, evidence, measure)


def losses_under(vector: torch.Tensor, candidates: Sequence[Candidate], evidence: Evidence) -> torch.Tensor:
    """Return each candidate's loss under other parameters, without defenses, fp64 [candidates]; NaN if unknown.

    Args:
        vector: the trainables [parameters], fp32.
        candidates: at least one.
        evidence: of a position that sees a model.
    """
    return measures_under(vector, candidates, evidence, _loss)


def measures_under(
    vector: torch.Tensor, candidates: Sequence[Candidate], evidence: Evidence, measure: Measure
) -> torch.Tensor:
    """Return what a model's answers with other parameters measure, fp64 [candidates, *]; NaN if unknown.

    Args:
        vector: the trainables [parameters], fp32.
        candidates: at least one.
        evidence: of a position that sees a model.
        measure: see `measured`.
    """
    if evidence.ask is None:
        raise ValueError("it needs a model to ask, and its position sees none")
    return measured(candidates, partial(evidence.ask, vector), evidence, measure)


def filled(scores: torch.Tensor) -> torch.Tensor:
    """Return the scores with the mean of the known ones in place of NaN, or 0 if none is known, fp64 [candidates].

    A refusal says nothing of the candidate: in its place stands a score that ranks it in the middle.
    """
    known = ~scores.isnan()  # [candidates]
    middle = scores[known].mean() if known.any() else scores.new_zeros(())
    return torch.where(known, scores, middle)


def measured(candidates: Sequence[Candidate], ask: Ask, evidence: Evidence, measure: Measure) -> torch.Tensor:
    """What each candidate's answer measures, fp64 [candidates, *]; NaN where it is unknown or no time was left for it.

    Those of like length are asked about together: little padding.

    Args:
        candidates: at least one.
        ask: answers.
        evidence: says how much time is left, and how large answers are.
        measure: gives fp64 of one shape for a candidate and its logits; it is not called without an answer.
    """
    order = sorted(range(len(candidates)), key=lambda place: len(candidates[place].tokens))
    size = _at_a_time(candidates, evidence)
    found: list[torch.Tensor | None] = [None] * len(candidates)
    for start in range(0, len(order), size):
        if evidence.seconds_left() <= 0.0:
            break
        places = order[start : start + size]
        answers = ask(tuple(candidates[place].tokens for place in places))
        for place, logits in zip(places, answers, strict=True):
            found[place] = None if logits is None else measure(candidates[place], logits)
    unknown = torch.full_like(next((one for one in found if one is not None), _UNKNOWN), math.nan)
    return torch.stack([unknown if one is None else one for one in found])


def learned(candidate: Candidate, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
    """What is learned of a candidate: logits fp64 [tokens, vocabulary] and the tokens [tokens]; None if it is unknown.

    Of a classifier it is one token, the label. Infinite logits become the largest finite ones.
    """
    if candidate.learned_from is None:
        logits, targets = logits[None], torch.tensor([candidate.label])  # [1, classes], [1]
    else:
        if len(logits) != len(candidate.tokens):  # a defense took tokens out: nobody knows which
            return None
        first = max(1, candidate.learned_from)  # nothing predicts a text's first token
        targets = torch.tensor(candidate.tokens[first:], dtype=torch.long)  # [learned]
        logits = logits[first - 1 : -1]  # [learned, vocabulary]
    # Infinite logits become the largest finite ones: all the probability there is, or none of it.
    return logits.double().nan_to_num(nan=math.nan, posinf=_HUGE, neginf=-_HUGE), targets


def _at_a_time(candidates: Sequence[Candidate], evidence: Evidence) -> int:
    if all(one.learned_from is None for one in candidates):
        return MOST_QUERIES
    longest = max(len(one.tokens) for one in candidates)
    return max(1, min(MOST_QUERIES, MOST_LOGITS // (longest * len(evidence.tokenizer))))


def _loss(candidate: Candidate, logits: torch.Tensor) -> torch.Tensor:
    """Return the loss of the candidate's label, or its mean over the learned tokens, fp64 []; NaN if there is none."""
    known = learned(candidate, logits)
    return _UNKNOWN if known is None else functional.cross_entropy(*known)
