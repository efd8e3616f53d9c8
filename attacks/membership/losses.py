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

Ask = Callable[[tuple[Tokens, ...]], Sequence[torch.Tensor | None]]
"""From queries to logits [classes] or [tokens, vocabulary] each; None where a defense refuses to answer."""


def released_losses(candidates: Sequence[Candidate], evidence: Evidence) -> torch.Tensor:
    """Return each candidate's loss under the released model, behind its defenses, fp64 [candidates]; NaN if unknown.

    Args:
        candidates: at least one.
        evidence: of a position that gets the released model.
    """
    if evidence.released is None:
        raise ValueError("it needs the released model, which its position does not get")
    return _losses(candidates, evidence.released().answer, evidence)


def losses_under(vector: torch.Tensor, candidates: Sequence[Candidate], evidence: Evidence) -> torch.Tensor:
    """Return each candidate's loss under other parameters, without defenses, fp64 [candidates]; NaN if unknown.

    Args:
        vector: the trainables [parameters], fp32.
        candidates: at least one.
        evidence: of a position that sees a model.
    """
    if evidence.ask is None:
        raise ValueError("it needs a model to ask, and its position sees none")
    return _losses(candidates, partial(evidence.ask, vector), evidence)


def filled(scores: torch.Tensor) -> torch.Tensor:
    """Return the scores with the mean of the known ones in place of NaN, or 0 if none is known, fp64 [candidates].

    A refusal says nothing of the candidate: in its place stands a score that ranks it in the middle.
    """
    known = ~scores.isnan()  # [candidates]
    middle = scores[known].mean() if known.any() else scores.new_zeros(())
    return torch.where(known, scores, middle)


def _losses(candidates: Sequence[Candidate], ask: Ask, evidence: Evidence) -> torch.Tensor:
    """Each candidate's loss fp64 [candidates], NaN for those that no time was left for.

    Those of like length are asked about together: little padding.
    """
    order = sorted(range(len(candidates)), key=lambda place: len(candidates[place].tokens))
    size = _at_a_time(candidates, evidence)
    found = torch.full((len(candidates),), math.nan, dtype=torch.float64)
    for start in range(0, len(order), size):
        if evidence.seconds_left() <= 0.0:
            break
        places = order[start : start + size]
        chosen = [candidates[place] for place in places]
        answers = ask(tuple(one.tokens for one in chosen))
        found[places] = torch.stack([_loss(*pair) for pair in zip(chosen, answers, strict=True)])
    return found


def _at_a_time(candidates: Sequence[Candidate], evidence: Evidence) -> int:
    if all(one.learned_from is None for one in candidates):
        return MOST_QUERIES
    longest = max(len(one.tokens) for one in candidates)
    return max(1, min(MOST_QUERIES, MOST_LOGITS // (longest * len(evidence.tokenizer))))


def _loss(candidate: Candidate, logits: torch.Tensor | None) -> torch.Tensor:
    """Return the loss of the candidate's label, or its mean over the learned tokens, fp64 []; NaN if there is none."""
    unknown = torch.tensor(math.nan, dtype=torch.float64)
    if logits is None:
        return unknown
    if candidate.learned_from is None:
        logits, targets = logits[None], torch.tensor([candidate.label])  # [1, classes], [1]
    else:
        if len(logits) != len(candidate.tokens):  # a defense took tokens out: nobody knows which
            return unknown
        first = max(1, candidate.learned_from)  # nothing predicts a text's first token
        targets = torch.tensor(candidate.tokens[first:], dtype=torch.long)  # [learned]
        logits = logits[first - 1 : -1]  # [learned, vocabulary]
    # Infinite logits become the largest finite ones: all the probability there is, or none of it.
    finite = logits.double().nan_to_num(nan=math.nan, posinf=_HUGE, neginf=-_HUGE)
    return functional.cross_entropy(finite, targets)
