"""DLG: gradient matching by squared distance, on embeddings."""

from dataclasses import dataclass

from fedsec.api import Reconstruction, RoundView

from .descent import Schedule
from .known import Matching
from .objective import Objective
from .plain import matched


@dataclass(frozen=True, slots=True, kw_only=True)
class Dlg(Matching):
    """Descends on embeddings towards those whose gradient is the observed one; each is read as its nearest word.

    Args:
        steps: of the descent.
        optimizer: `adam` or `lbfgs`; the paper's code has the latter, the harness the former.
        rate: Adam's learning rate.

    Source: Zhu et al., "Deep Leakage from Gradients", NeurIPS 2019, algorithm 1; for text and with Adam as in the
        harness of LAMP (Balunovic et al., NeurIPS 2022).
    Deviations: labels are granted or read off the head's bias, and not optimised.
    """

    steps: int = 2500
    optimizer: str = "adam"
    rate: float = 0.1

    def reconstruct(self, view: RoundView) -> list[Reconstruction]:
        """Claims for every client, or for the sum; ValueError if the view shows no update."""
        return matched(view, self, Objective("l2"), Schedule(self.optimizer, self.rate), self.steps)
