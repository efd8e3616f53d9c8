"""The goal `reconstruction`: read clients' texts out of what they send."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fedsec.api import Evidence, Knowledge, MetricValue, Reconstruction, Scored, Stage, Staged, Truth
from fedsec.errors import WrongAnswerError
from fedsec.metrics import leakage
from fedsec.metrics.prior import guess, sampled

HEADLINE = ("leakage/exact-match", "leakage/rouge-l")
ByRound = Mapping[int, Sequence[Reconstruction]]


@dataclass(frozen=True, slots=True)
class Guesses:
    """What is guessed without a look at an update: from word frequencies, and from a language model if one is granted.

    The last is what an attack with the same knowledge is held against.
    """

    answers: tuple[ByRound, ...]


class ReadTexts:
    """Asks for the texts of every attacked round, and scores them together.

    Source: DESIGN section 4. Deviations: none.
    """

    def stage(self, stage: Stage) -> Staged:
        """Stage nothing: the clients' own texts are asked about."""
        return Staged()

    def ask(self, attack: Any, evidence: Evidence) -> ByRound:
        """The claims of each round that there is time for."""
        found = {}
        for number in evidence.rounds:
            if evidence.seconds_left() <= 0.0:
                break
            found[number] = _checked(attack.reconstruct(evidence.at(number)))
        return found

    def prior(self, evidence: Evidence, truth: Truth, generator: Callable[[str], Any]) -> Guesses:
        """Return as many texts as there are, drawn from a language prior alone."""
        answers: list[dict[int, Sequence[Reconstruction]]] = [{}, {}]
        for number, secrets in truth.secrets.items():
            counts = {client: len(secret.tokens) for client, secret in secrets.items()}
            view = evidence.at(number) if number in evidence.rounds else None
            granted: Mapping[Knowledge, Any] = {} if view is None else view.granted
            lengths = None
            if Knowledge.LENGTHS in granted:
                lengths = {client: secret.lengths for client, secret in secrets.items()}
            name = "prior" if len(truth.secrets) == 1 else f"prior {number}"
            found = [guess(counts, lengths, truth.tokenizer, generator(name))]
            if Knowledge.AUXILIARY_TEXT in granted:
                public = dict(granted.items())[Knowledge.AUXILIARY_TEXT]
                found.append(sampled(counts, lengths, truth.tokenizer, public, generator(f"torch:{name}")))
            if view is not None and view.rows is None:  # nobody can tell whose text it is, the guesser neither
                found = [[replace(one, client=None) for one in texts] for texts in found]
            for answer, texts in zip(answers, found, strict=False):
                answer[number] = texts
        return Guesses(tuple(answer for answer in answers if answer))

    def score(self, truth: Truth, answer: Any, prior: Any, generator: Callable[[str], Any]) -> Scored:
        """Return all leakage metrics, each with the prior's value as baseline."""
        guessed = [_matched(truth, one) for one in prior.answers]
        floors = [leakage.leakage(one, truth.tokenizer, generator("intervals")) for one in guessed]
        if isinstance(answer, Guesses):
            scored, values = guessed[-1], floors[-1]
        else:
            scored = _matched(truth, answer)
            values = leakage.leakage(scored, truth.tokenizer, generator("intervals"))
        return Scored(metrics=_beside(values, floors), texts=_texts(scored, truth))


def _checked(claims: Any) -> list[Reconstruction]:
    if not isinstance(claims, list) or not all(isinstance(one, Reconstruction) for one in claims):
        raise WrongAnswerError("must return a list of Reconstruction")
    return claims


def _stride(truth: Truth) -> int:
    """Return the offset of clients' numbers from one round to the next, so that each batch has its own."""
    return 1 + max((client for secrets in truth.secrets.values() for client in secrets), default=0)


def _matched(truth: Truth, answer: ByRound) -> leakage.Scored:
    """Return the claims of each round matched to its texts, all rounds together."""
    stride, parts = _stride(truth), []
    for place, (number, secrets) in enumerate(truth.secrets.items()):
        found = leakage.match(secrets, answer.get(number, ()))
        parts.append(found if not place else leakage.renumbered(found, place * stride))
    return leakage.Scored(
        tuple(pair for part in parts for pair in part.pairs),
        tuple(claim for part in parts for claim in part.claims),
        tuple(one for part in parts for one in part.compared),
        tuple(one for part in parts for one in part.claimed),
    )


def _beside(values: Mapping[str, MetricValue], floors: Sequence[Mapping[str, MetricValue]]) -> dict[str, MetricValue]:
    """Return each metric with the prior's value and, where that differs, that of a random guess."""
    placed = dict(values)
    for name, value in values.items():
        if name not in floors[-1]:
            continue
        random = floors[0][name].value if len(floors) > 1 and name in floors[0] else None
        floor = floors[-1][name].value
        scale: dict[str, Any] = {"chance": floor, "best": 1.0} if name in HEADLINE and value.value is not None else {}
        placed[name] = replace(value, baseline=floor, random_guess=random, **scale)
    return placed


def _texts(scored: leakage.Scored, truth: Truth) -> list[dict[str, Any]]:
    def words(tokens: tuple[int, ...]) -> str:
        return str(truth.tokenizer.decode(list(tokens)))

    stride = _stride(truth)
    return [
        {
            "client": pair.client % stride,
            "original": words(pair.truth),
            "recovered": words(pair.guess.tokens) if pair.guess else None,
            "exact": pair.guess is not None and pair.guess.tokens == pair.truth,
            "verified": pair.guess is not None and pair.guess.verified,
        }
        for pair in scored.pairs
    ]
