"""Server fine-tuning: before the release, the server trains the model on samples of its own."""

from dataclasses import dataclass

import torch

from fedsec.api import ReleaseView


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFinetune:
    """Trains the model on the server's samples (`data.trusted`), by the clients' protocol, before it is released.

    Args:
        steps: training steps.
        learning_rate: of these steps; 0: the protocol's.
        batch_size: of these steps; 0: the protocol's.

    Source: Ye et al., "Emerging Safety Attack and Defense in Federated Instruction Tuning", arXiv 2406.10630 (2024),
        section 4 (post-hoc tuning by the server); Liu, Dolan-Gavitt and Garg, "Fine-Pruning", RAID 2018, section 3.2
        (fine-tuning alone).
    Deviations: samples are rows of the clients' kind that the server was given, where Ye et al. have them written.
    """

    steps: int = 50
    learning_rate: float = 0.0
    batch_size: int = 0

    def on_release(self, parameters: torch.Tensor, view: ReleaseView) -> torch.Tensor:
        """Return the parameters after these steps [parameters]."""
        return view.train(
            view.trusted,
            parameters,
            steps=self.steps,
            learning_rate=self.learning_rate or None,
            batch_size=self.batch_size or None,
            generator=view.generator,
        )
