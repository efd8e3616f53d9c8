"""The goal `free-ride`: get the model without having trained for it."""

from collections.abc import Callable
from typing import Any

from fedsec.api import Evidence, Scored, Stage, Staged, Truth
from fedsec.metrics.free_ride import free_ride_weight


class FreeRide:
    """Asks nothing: how much free-riders count shows in the weights that they get.

    Source: none. Deviations: none.
    """

    def stage(self, stage: Stage) -> Staged:
        """Stage nothing."""
        return Staged()

    def ask(self, attack: Any, evidence: Evidence) -> Any:
        """Never called."""
        raise NotImplementedError

    def prior(self, evidence: Evidence, truth: Truth, generator: Callable[[str], Any]) -> Any:
        """Return None: a client that does not take part gets no weight."""
        return None

    def score(self, truth: Truth, answer: Any, prior: Any, generator: Callable[[str], Any]) -> Scored:
        """Return the share of the aggregation's weight that free-riders got."""
        rounds = [one for one in truth.rounds if truth.acted(one.round)]
        weight = free_ride_weight(rounds, truth.malicious, generator("free-ride intervals"))
        return Scored(metrics={"robustness/free-ride-weight": weight})
