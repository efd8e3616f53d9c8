"""Doubles that tell members from others, each as simple as it can be: `fedsec.testing.doubles` has their cards."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch.nn import functional

from fedsec.api import Candidate, ColluderView, Evidence, Measured, Role, RoundView, Sample, Update


@dataclass(frozen=True, slots=True)
class LowLoss:
    """Has the released model: takes a record for a member if the model knows its class. Real ones calibrate.

    Source: none; Yeom et al., CSF 2018, section 3. Deviations: where the model refuses, the score is that of a guess.
    """

    def score(self, candidates: tuple[Candidate, ...], evidence: Evidence) -> torch.Tensor:
        """Minus the loss of each candidate [candidates], fp64."""
        return _known(candidates, evidence)


@dataclass(slots=True)
class WatchingServer:
    """A curious server that looks at rounds as they happen: it notes how much each word's embedding was moved.

    Real ones keep what is too large to keep in full: projections, cosines.

    Source: none. Deviations: none.
    """

    _moved: torch.Tensor | None = field(default=None, init=False)
    """fp64 [words]: sum over the rounds of how far each word's embedding went."""
    _rounds: int = field(default=0, init=False)

    def observe(self, view: RoundView) -> None:
        """One round."""
        self._rounds += 1
        words = view.model.layout.find(Role.WORD_EMBEDDING)
        if view.aggregate is not None and words:
            went = view.model.layout.tensor(view.aggregate, words[0].name).double().norm(dim=1)  # [words]
            self._moved = went if self._moved is None else self._moved + went

    def score(self, candidates: tuple[Candidate, ...], evidence: Evidence) -> torch.Tensor:
        """How far the word of each candidate went that went least [candidates], fp64."""
        if self._moved is None:
            return torch.zeros(len(candidates), dtype=torch.float64)
        return torch.stack([self._moved[list(one.tokens[1:-1])].min() for one in candidates])

    def state(self) -> Mapping[str, Any]:
        """What it noted."""
        return {"moved": self._moved, "rounds": self._rounds}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on noting."""
        self._moved, self._rounds = state["moved"], int(state["rounds"])


@dataclass(slots=True)
class AscendingClient:
    """A malicious client that acts and scores: makes the model forget the candidates, which members' clients undo.

    Source: none; Nasr et al., S&P 2019, section III-B. Deviations: it ascends beside its own training.
    """

    rate: float = 0.1
    _sent: int = field(default=0, init=False)

    def on_update(self, update: Update, view: ColluderView) -> Measured:
        """Its own update and a step up the candidates' loss; how long that step is stands beside it."""
        self._sent += 1
        assert view.gradient is not None  # noqa: S101 - a colluder's view
        texts = tuple(Sample(one.text, one.label, one.prompt) for one in view.question)
        step = self.rate * view.gradient(texts, view.global_parameters)
        return Measured(replace(update, vector=update.vector + step), {"ascent": float(step.norm())})

    def score(self, candidates: tuple[Candidate, ...], evidence: Evidence) -> torch.Tensor:
        """Minus the loss of each candidate [candidates], fp64."""
        return _known(candidates, evidence)

    def state(self) -> Mapping[str, Any]:
        """How many updates it has sent."""
        return {"sent": self._sent}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on counting."""
        self._sent = int(state["sent"])


def _known(candidates: tuple[Candidate, ...], evidence: Evidence) -> torch.Tensor:
    """Minus the loss of each candidate under the released model [candidates], fp64."""
    assert evidence.released is not None  # noqa: S101 - the position gets the model
    answers = evidence.released().answer(tuple(one.tokens for one in candidates))
    guess = -torch.tensor(float(max(2, len(evidence.classes)))).log()
    pairs = zip(candidates, answers, strict=True)
    return torch.stack([guess if logits is None else -_loss(one, logits) for one, logits in pairs]).double()


def _loss(one: Candidate, logits: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the record's class or, of a causal language model's [tokens, words], of its next tokens."""
    if logits.dim() == 1:
        return functional.cross_entropy(logits[None], torch.tensor([one.label]))
    first = one.learned_from or 1
    return functional.cross_entropy(logits[first - 1 : -1], torch.tensor(one.tokens[first:]))
