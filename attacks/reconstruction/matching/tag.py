"""TAG: gradient matching by squared and absolute distance, on embeddings."""

from dataclasses import dataclass

from fedsec.api import Reconstruction, RoundView

from .descent import Schedule
from .known import Matching
from .objective import Objective
from .plain import matched


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag(Matching):
    """As DLG, with a share of the sum of absolute differences in the distance.

    Args:
        steps: of the descent.
        optimizer: `adam` or `lbfgs`.
        rate: Adam's learning rate.
        tag_factor: that share.

    Source: Deng et al., "TAG: Gradient Attack on Transformer-based Language Models", Findings of EMNLP 2021, equation
        4; with Adam as in the harness of LAMP (Balunovic et al., NeurIPS 2022).
    Deviations: one share for all layers, as in that harness, where the paper's falls with depth; labels are granted
        or read off the head's bias.
    """

    steps: int = 2500
    optimizer: str = "adam"
    rate: float = 0.1
    tag_factor: float = 0.01

    def reconstruct(self, view: RoundView) -> list[Reconstruction]:
        """Claims for every client, or for the sum; ValueError if the view shows no update."""
        return matched(view, self, Objective("l1+l2", self.tag_factor), Schedule(self.optimizer, self.rate), self.steps)
