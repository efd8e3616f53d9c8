"""What a federation produced."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from fedsec.api import Knowledge, Watched
from fedsec.federation.evaluation import Evaluation
from fedsec.federation.rounds import RoundStore
from fedsec.federation.transcript import RoundSummary, Vault
from fedsec.privacy.guarantee import Guarantee


@dataclass(slots=True)
class Outcome:
    """What a federation produced."""

    final: Evaluation
    """Of the released model, inference-time defenses included."""
    curve: list[tuple[int, float | None, float]]
    """(round, accuracy, loss on the test set) of the global model; round 0 is the untrained one."""
    rounds: list[RoundSummary]
    observed: RoundStore
    """The rounds that attacks look at; `clear` deletes them."""
    vault: Vault
    knowledge_used: frozenset[Knowledge]
    """What malicious clients, or a malicious server, looked up of what they were granted."""
    start: torch.Tensor
    """The global trainables before training [parameters]."""
    end: torch.Tensor
    """The released trainables [parameters]."""
    watched: Mapping[str, Watched]
    """What the model made of a goal's texts."""
    predictions: list[tuple[int, tuple[int, ...]]]
    """(round, predicted class of each test row) of the global model; only where a goal watches texts."""
    stack: dict[str, Any]
    """What the defenses' server side remembers after the last round."""
    server: dict[str, Any]
    """What a malicious server remembers after the last round; empty without one."""
    guarantee: Guarantee | None
    """What the clients' mechanisms promise of privacy, or why they promise nothing; None where nobody ran one."""
    hostile: dict[str, Any]
    """What the first malicious client's attack remembers; empty without one."""
