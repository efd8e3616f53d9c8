"""The result of a federation."""

from dataclasses import dataclass
from typing import Any

import torch

from fedsec.api import Knowledge
from fedsec.federation.releases import Released, Releases
from fedsec.federation.rounds import RoundStore
from fedsec.federation.transcript import RoundSummary, Vault
from fedsec.privacy.guarantee import Guarantee


@dataclass(slots=True, kw_only=True)
class Outcome(Released):
    """The result of a federation, released under the stack that it was trained with."""

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
    predictions: list[tuple[int, tuple[int, ...]]]
    """(round, predicted class of each test row) of the global model; only where a goal watches texts."""
    server: dict[str, Any]
    """State of a malicious server after the last round; empty without one."""
    guarantee: Guarantee | None
    """The privacy guarantee of the clients' mechanisms, or why there is none; None without a mechanism."""
    hostile: dict[str, Any]
    """State of the first malicious client's attack; empty without one."""
    releases: Releases
    """Releases the trained model under other stacks."""
