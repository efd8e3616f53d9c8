"""Words touched: where embeddings are trained, an update changes those of the batch's words and no others."""

from dataclasses import dataclass

import torch

from fedsec.api import Candidate, Evidence, Role, RoundView

from .updates import Updates, over_rounds


@dataclass(frozen=True, slots=True)
class WordsTouched:
    """Scores a record by the share of its different words whose embeddings a client's update changes.

    It is what every other attack on updates that hold word embeddings has to beat.

    Source: Melis et al., "Exploiting Unintended Feature Leakage in Collaborative Learning", IEEE S&P 2019, section 4.1
        (the words of a batch are read off its embedding gradient).
    Deviations: a share of words is the score; the largest of several rounds counts; where only the sum of updates is
        seen, it stands in their place.
    """

    def score(self, candidates: tuple[Candidate, ...], evidence: Evidence) -> torch.Tensor:
        """Return the shares [candidates, clients], fp64, in 0..1; one column where sums are seen."""

        def read(view: RoundView, seen: Updates) -> torch.Tensor:
            return touched(view, seen, candidates)

        return over_rounds(evidence, read, "max", len(candidates))


def touched(view: RoundView, seen: Updates, candidates: tuple[Candidate, ...]) -> torch.Tensor:
    """Share of each candidate's words that each update of a round changes, fp64 [candidates, updates]."""
    (info,) = view.model.layout.find(Role.WORD_EMBEDDING)
    special = set(view.model.tokenizer.all_special_ids)
    words = [sorted(set(one.tokens) - special) for one in candidates]
    found = torch.zeros(len(candidates), len(seen.clients), dtype=torch.float64)
    for column, row in enumerate(seen.rows):
        changed = view.model.layout.tensor(row, info.name).abs().amax(dim=1) > 0  # [vocabulary]
        for place, own in enumerate(words):
            found[place, column] = changed[own].double().mean() if own else 0.0
    return found
