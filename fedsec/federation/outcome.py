"""The result of a federation."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from fedsec.api import Knowledge, Watched
from fedsec.federation.evaluation import Evaluation
from fedsec.federation.rounds import RoundStore
from fedsec.federation.transcript import RoundSummary, Vault
from fedsec.federation.writing import Written
from fedsec.privacy.guarantee import Guarantee


@dataclass(slots=True)
class Outcome:
    """The result of a federation."""

    final: Evaluation
    """Evaluation of the released model, behind its inference-time defenses."""
    curve: list[tuple[int, float | None, float]]
    """(round, accuracy, loss on the test set) of the global model; round 0 is the untrained one."""
    rounds: list[RoundSummary]
    observed: RoundStore
    """The rounds that attacks look at; `clear` deletes them."""
    vault: Vault
    knowledge_used: frozenset[Knowledge]
    """Side knowledge that malicious clients, or a malicious server, looked up."""
    start: torch.Tensor
    """The global parameters before training [parameters]."""
    end: torch.Tensor
    """The released parameters [parameters]."""
    watched: Mapping[str, Watched]
    """The model's answers on a goal's texts."""
    predictions: list[tuple[int, tuple[int, ...]]]
    """(round, predicted class of each test row) of the global model; only where a goal watches texts."""
    stack: dict[str, Any]
    """State of the server-side defenses after the last round."""
    server: dict[str, Any]
    """State of a malicious server after the last round; empty without one."""
    guarantee: Guarantee | None
    """The privacy guarantee of the clients' mechanisms, or why there is none; None without a mechanism."""
    hostile: dict[str, Any]
    """State of the first malicious client's attack; empty without one."""
    before: Evaluation | None = None
    """Evaluation of the model before training; only where it is asked to write."""
    written: Written | None = None
    """What it wrote; only where it is asked to."""
