"""The goal `membership`: tell records that a client holds from records of the same kind that nobody holds."""

from collections.abc import Callable
from typing import Any

import numpy as np

from fedsec.api import Evidence, Scored, Stage, Staged, Truth
from fedsec.errors import WrongAnswerError
from fedsec.metrics.audit import one_run
from fedsec.metrics.blind import blind_scores
from fedsec.metrics.membership import curves, membership, of_updates


class TellMembers:
    """Asks for a score of every candidate of the pool, and holds it against an attack that never saw a model.

    Source: DESIGN section 4. Deviations: none.
    """

    def stage(self, stage: Stage) -> Staged:
        """Ask about the candidates, in an order that is independent of membership."""
        return Staged(question=stage.candidates)

    def ask(self, attack: Any, evidence: Evidence) -> np.ndarray:
        """Return a score of each candidate, fp64 [candidates] or [candidates, clients]; WrongAnswerError otherwise."""
        found, count = attack.score(evidence.question, evidence), len(evidence.question)
        kind, shape = getattr(found, "dtype", type(found).__name__), tuple(getattr(found, "shape", ()))
        columns = max(1, len(evidence.clients))
        if not str(kind).endswith("float64") or shape not in ((count,), (count, columns)):
            each = f", or [{count}, {columns}], about each of evidence.clients" if evidence.clients else ""
            raise WrongAnswerError(
                f"must return fp64 [{count}], one score for each candidate{each}; it returned {kind} {shape}"
            )
        scores = np.asarray(found)
        if not np.isfinite(scores).all():
            raise WrongAnswerError(f"{int((~np.isfinite(scores)).sum())} of {scores.size} scores are NaN or infinite")
        return scores

    def prior(self, evidence: Evidence, truth: Truth, generator: Callable[[str], Any]) -> np.ndarray:
        """Return a score from the words of a candidate alone, learnt on other candidates, fp64 [candidates]."""
        texts = [f"{one.prompt} {one.text}".strip() for one in truth.candidates]
        return blind_scores(texts, np.array(truth.members), generator("blind folds"))

    def score(self, truth: Truth, answer: Any, prior: Any, generator: Callable[[str], Any]) -> Scored:
        """Return AUC and true positive rates at low false positive rates, beside those of the blind attack.

        Scores about each client are held against what is behind the updates that were seen: a candidate counts as a
        member if that client trained on it in one of these rounds, and one that is held and was not drawn is left out.
        What they tell of all that the client holds stands beside it.
        """
        members = np.array(truth.members)
        if answer.ndim == 1:
            metrics = membership(answer, prior, members)
            if truth.by_coin and answer is not prior:  # every candidate is a canary, if a weak one
                metrics |= one_run(answer, members, prefix="membership")
            return Scored(metrics=metrics, notes=_notes(answer, prior, members))
        drawn = _drawn(truth)  # bool [candidates, clients]
        held = _held(truth) if truth.clients else members[:, None]
        metrics = of_updates(answer, prior, drawn, held, ~members)
        return Scored(metrics=metrics, notes=_notes(answer, prior, drawn, drawn | ~members[:, None]))


def _notes(
    answer: np.ndarray, prior: np.ndarray, members: np.ndarray, counted: np.ndarray | None = None
) -> dict[str, Any]:
    """The curve of the scores that count; nothing without members and others."""
    kept = members if counted is None else members[counted]
    return {"roc": curves(answer, prior, members, counted)} if kept.any() and not kept.all() else {}


def _drawn(truth: Truth) -> np.ndarray:
    """Whether each client trained on each candidate in a round that was seen, bool [candidates, clients].

    Where no client's updates are seen by themselves, there is one column for all of them together.
    """
    places = {row: place for place, row in enumerate(truth.candidate_rows)}
    columns = {client: column for column, client in enumerate(truth.clients)}
    found = np.zeros((len(places), max(1, len(columns))), dtype=bool)
    for of_round in truth.secrets.values():
        for client, secret in of_round.items():
            if columns and client not in columns:
                continue
            drawn = [places[row] for row in secret.rows if row in places]
            found[drawn, columns.get(client, 0)] = True
    return found


def _held(truth: Truth) -> np.ndarray:
    """Whether each client holds each candidate, bool [candidates, clients]."""
    holders = np.array([-1 if one is None else one for one in truth.holders])
    held: np.ndarray = holders[:, None] == np.array(truth.clients, dtype=np.int64)[None]
    return held
