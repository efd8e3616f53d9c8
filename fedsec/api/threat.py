"""Threat models: where an adversary stands, how it behaves, what it wants, needs and knows."""

from dataclasses import dataclass
from enum import StrEnum


class Position(StrEnum):
    """Where the adversary stands."""

    CLIENT = "client"
    SERVER = "server"
    KEY_HOLDER = "key-holder"
    WIRE = "wire"
    RELEASED_MODEL = "released-model"


class Behaviour(StrEnum):
    """Whether the adversary follows the protocol."""

    CURIOUS = "curious"
    """Follows the protocol and studies what it sees."""
    MALICIOUS = "malicious"
    """Sends or alters what it likes."""


class Knowledge(StrEnum):
    """Side knowledge that a scenario can grant; never assumed."""

    LABELS = "labels"
    LENGTHS = "lengths"
    AUXILIARY_TEXT = "auxiliary-text"
    CLIENT_TEXTS_DISTRIBUTION = "client-texts-distribution"
    BASE_MODEL = "base-model"
    BENIGN_UPDATES = "benign-updates"
    DEFENSE_SETTINGS = "defense-settings"
    COHORT = "cohort"


class Aggregation(StrEnum):
    """What a server can read of a round's updates; the columns of DESIGN section 4's table."""

    PLAIN = "plain"
    """Every row."""
    SECURE = "secure"
    """The rows' weighted sum and nothing else."""
    HOMOMORPHIC = "homomorphic"
    """Ciphertexts: the sum, and so the global model, are the key holder's."""


class Asset(StrEnum):
    """A thing that an attack has to see to run; a defense that removes it blocks the attack."""

    ROWS = "single clients' updates"
    AGGREGATE = "the sum of the clients' updates"
    WORD_EMBEDDINGS = "the word embeddings' part of an update"
    POSITION_EMBEDDINGS = "the position embeddings' part of an update"
    ATTENTION_INPUTS = "the update of the query, key and value matrices, or of LoRA factors on them, in two layers"
    ADAPTERS = "pairs of LoRA factors, both of them trained"
    GLOBAL_MODEL = "the global model"
    RELEASED_MODEL = "the released model"


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreatModel:
    """An adversary, as a card states it and a report prints it."""

    position: Position
    behaviour: Behaviour
    goal: str
    """Name of a registered goal: what the adversary wants, and how that is scored."""
    needs: frozenset[Asset] = frozenset()
    """What it must see to run at all."""
    knowledge: frozenset[Knowledge] = frozenset()
    """Side knowledge that it cannot do without."""
    budget: str = "none beyond its position"
    """What it spends, in words."""
