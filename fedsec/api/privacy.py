"""Values that mechanisms of differential privacy exchange with the engine's ledger."""

from dataclasses import dataclass
from enum import StrEnum


class Unit(StrEnum):
    """The unit whose presence a guarantee hides."""

    RECORD = "record"
    """One text of one client, added or removed."""
    CLIENT = "client"
    """One client with all its texts, added or removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianMechanism:
    """Gaussian noise on a sum to which one record, or one client, contributes at most a bounded norm."""

    noise_multiplier: float
    """The standard deviation of the noise divided by that bound, at least 0."""
    unit: Unit = Unit.RECORD


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyTerms:
    """How often a mechanism runs and on what share of a client's data, as known before training."""

    sampling_rate: float
    """Probability that a record is in the batch of a step, above 0 and at most 1."""
    steps: int
    """The most steps that the client takes, all rounds together."""
    expected_rows: float
    """Examples of a batch on average."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """What a mechanism chose before training; every later step reports what it spent."""

    mechanism: GaussianMechanism
    """What one step will spend."""
    delta: float
    """The delta of the guarantee, above 0 and below 1."""
