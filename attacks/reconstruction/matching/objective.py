"""Gradient matching: what is matched, over which tokens, and how candidates are scored."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from fedsec.maths.factored_gradients import Candidates, FactoredGradients, Gradient, Observed

if TYPE_CHECKING:
    from torch import Tensor

_TOKENS = 1536
"""Tokens per pass when candidates are scored: their activations stay below half a gigabyte on MiniLM."""

_FORMED = 4
"""Candidates per pass where gradients are formed."""

_TOLD = 10.0
"""A text is told apart where every change of a word, or swap of two neighbours, is an order of magnitude off."""


@dataclass(frozen=True, slots=True)
class Objective:
    """How far a gradient is from the observed one.

    Args:
        loss: `cosine` (mean over parameters of 1 - cos), `l2` (sum of squares), or `l1+l2` (that and a share of the sum
            of absolute values).
        tag_factor: that share.
    """

    loss: str
    tag_factor: float = 0.0

    @property
    def forms(self) -> bool:
        """Whether it needs the gradients themselves and not only their factors."""
        return self.loss == "l1+l2"

    def of(self, observed: Observed, gradients: dict[str, Gradient]) -> "Tensor":
        """The distance of each candidate [candidates]."""
        if self.loss == "cosine":
            return observed.cosine(gradients)
        distance = observed.squared(gradients)
        return distance + self.tag_factor * observed.absolute(gradients) if self.forms else distance


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The model's word embeddings and which of them a text may hold.

    Args:
        table: [words, width].
        allowed: no special and no unused token [words].
    """

    table: "Tensor"
    allowed: "Tensor"

    @property
    def mean_norm(self) -> float:
        """Mean norm of the allowed words' embeddings: 1.4 in BERT, 1.1 in MiniLM."""
        return float(self.table[self.allowed].norm(dim=1).mean())

    def nearest(self, embeddings: "Tensor") -> "Tensor":
        """The allowed token of the largest cosine [..] for each embedding [.., width]."""
        unit = self.table / self.table.norm(dim=1, keepdim=True).clamp_min(1e-12)
        similar = embeddings @ unit.T  # [.., words]; a positive factor per row changes no order
        found: Tensor = similar.masked_fill(~self.allowed, -torch.inf).argmax(dim=-1)
        return found


@dataclass(frozen=True, slots=True)
class Problem:
    """One gradient, and what is known of the batch that it was made from.

    Args:
        client: whose it is; None for a sum.
        module: the broadcast model.
        gradients: of the parameters that are matched.
        observed: the gradient.
        vocabulary: the words.
        frame: ids of the tokens that are known, special ones and padding, -1 elsewhere [texts, tokens].
        mask: 1 for tokens, 0 for padding [texts, tokens].
        labels: [texts].
        exact: |g - G| / |G| below which nothing but rounding is left.
        generator: the attack's own.
        seconds_left: that the attack may still take.
    """

    client: int | None
    module: Any
    gradients: FactoredGradients
    observed: Observed
    vocabulary: Vocabulary
    frame: "Tensor"
    mask: "Tensor"
    labels: "Tensor"
    exact: float
    generator: torch.Generator
    seconds_left: Callable[[], float]

    @property
    def free(self) -> "Tensor":
        """Where tokens are searched [texts, tokens]."""
        return self.frame < 0

    def embed(self, ids: "Tensor") -> "Tensor":
        """Word embeddings [.., width] of ids [..]."""
        return self.vocabulary.table[ids]

    def framed(self, embeddings: "Tensor") -> "Tensor":
        """The same [.., texts, tokens, width] with the known tokens' embeddings in their places."""
        return torch.where(self.free[..., None], embeddings, self.embed(self.frame.clamp_min(0)))

    def read(self, embeddings: "Tensor") -> "Tensor":
        """Tokens [.., texts, tokens] by largest cosine, known ones in their places."""
        return torch.where(self.free, self.vocabulary.nearest(embeddings), self.frame)

    def distance(self, objective: Objective, embeddings: "Tensor") -> "Tensor":
        """Of each candidate [candidates], differentiable by its embeddings [candidates, texts, tokens, width]."""
        found = self.gradients.of(Candidates(embeddings, self.mask, self.labels), differentiable=True)
        return objective.of(self.observed, found)

    def scores(self, objective: Objective, embeddings: "Tensor") -> "Tensor":
        """The distance of many candidates [candidates], in passes as large as memory allows."""
        size = _FORMED if objective.forms else max(1, _TOKENS // self.mask.numel())
        return torch.cat([self._scored(objective, part) for part in embeddings.split(size)])

    def _scored(self, objective: Objective, embeddings: "Tensor") -> "Tensor":
        found = self.gradients.of(Candidates(embeddings, self.mask, self.labels))
        with torch.no_grad():
            return objective.of(self.observed, found)

    def residual(self, ids: "Tensor") -> float:
        """|g - G| / |G| of tokens [texts, tokens]."""
        return float(self._residuals(ids[None])[0])

    def told_apart(self, ids: "Tensor", text: int, residual: float) -> bool:
        """Whether no small change of a text fits nearly as well: one that is learnt already leaves hardly a gradient.

        Args:
            ids: [texts, tokens].
            text: which of them.
            residual: of `ids`.
        """
        free = self.free[text].nonzero()[:, 0]
        allowed = self.vocabulary.allowed.nonzero()[:, 0]
        changed = ids.repeat(2 * len(free), 1, 1)  # [changes, texts, tokens]
        for row, place in enumerate(free.tolist()):
            drawn = allowed[torch.randint(len(allowed), (2,), generator=self.generator)]
            changed[row, text, place] = drawn[0] if drawn[0] != ids[text, place] else drawn[1]
        for row, (one, other) in enumerate(zip(free[:-1].tolist(), free[1:].tolist(), strict=True), len(free)):
            changed[row, text, one], changed[row, text, other] = ids[text, other], ids[text, one]
        changed = changed[(changed != ids).flatten(1).any(dim=1)]
        if len(changed) == 0:  # nothing of it was searched for
            return False
        floor = _TOLD * max(residual, self.exact / _TOLD)
        return all(bool((self._residuals(part) > floor).all()) for part in changed.split(_FORMED))

    def _residuals(self, ids: "Tensor") -> "Tensor":
        """|g - G| / |G| [candidates] of tokens [candidates, texts, tokens]."""
        found = self.gradients.of(Candidates(self.embed(ids), self.mask, self.labels))
        with torch.no_grad():
            return self.observed.residual(found)
