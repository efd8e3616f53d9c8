"""What mechanisms of differential privacy and the engine's ledger tell each other. Imports no torch."""

from dataclasses import dataclass
from enum import StrEnum


class Unit(StrEnum):
    """Whose presence a guarantee hides."""

    RECORD = "record"
    """One text of one client, added or removed."""
    CLIENT = "client"
    """One client with all its texts, added or removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianMechanism:
    """Gaussian noise on a sum that one record, or one client, changes by a bounded norm at most."""

    noise_multiplier: float
    """The noise's standard deviation over that bound, at least 0."""
    unit: Unit = Unit.RECORD


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyTerms:
    """How often a mechanism runs on how much of a client's data, known before training."""

    sampling_rate: float
    """Probability that a record is in a step's batch, above 0 and at most 1."""
    steps: int
    """Steps that the client takes at most, all rounds together."""
    expected_rows: float
    """Rows of a batch on average."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """What a mechanism settled on before training; from then on every call reports what it spent."""

    mechanism: GaussianMechanism
    """What one step is going to spend."""
    delta: float
    """At which the guarantee's epsilon is stated, above 0 and below 1."""
