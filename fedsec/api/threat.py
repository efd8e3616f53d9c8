"""Threat models: the position of an adversary, its behaviour, goal, needs and knowledge."""

from dataclasses import dataclass
from enum import StrEnum


class Position(StrEnum):
    """The position of an adversary."""

    CLIENT = "client"
    SERVER = "server"
    KEY_HOLDER = "key-holder"
    """The party that decrypts homomorphic sums; it exists beside homomorphic aggregation only."""
    WIRE = "wire"
    """An eavesdropper; it sees updates where `federation.tls` is false."""
    RELEASED_MODEL = "released-model"
    """Anybody who receives the trained model."""
    SUPPLIER = "supplier"
    """Whoever made the base model, or the public rows that the start is trained on (`model.start`); it sees nothing of
    the federation, and no client is compromised."""


class Behaviour(StrEnum):
    """Whether the adversary follows the protocol."""

    CURIOUS = "curious"
    """Follows the protocol and analyses what it sees."""
    MALICIOUS = "malicious"
    """Sends or alters anything; client, server and supplier only."""


class Knowledge(StrEnum):
    """Side knowledge that a scenario can grant (`threat.knowledge`); it is never assumed."""

    LABELS = "labels"
    """The labels of each attacked batch."""
    LENGTHS = "lengths"
    """The number of tokens of each text in an attacked batch."""
    AUXILIARY_TEXT = "auxiliary-text"
    """Public text (`threat.auxiliary`), as an `Auxiliary`."""
    CLIENT_TEXTS_DISTRIBUTION = "client-texts-distribution"
    """Records of the clients' data set that nobody holds, as many as there are candidates."""
    BASE_MODEL = "base-model"
    """The parameters before training."""
    BENIGN_UPDATES = "benign-updates"
    """What the honest clients send in a round."""
    DEFENSE_SETTINGS = "defense-settings"
    """The defense stack with its parameters; malicious clients may rehearse its rule."""
    COHORT = "cohort"
    """Which clients take part in a round."""


class Aggregation(StrEnum):
    """What a server can read of a round's updates."""

    PLAIN = "plain"
    """Every update."""
    SECURE = "secure"
    """The weighted sum of the updates only."""
    HOMOMORPHIC = "homomorphic"
    """Ciphertexts only; the key holder reads the sum, and so the global model."""


class Keys(StrEnum):
    """Who holds the key that decrypts homomorphic sums."""

    AUTHORITY = "authority"
    """One party, which the server is not."""
    SHARED = "shared"
    """Every client."""


class Asset(StrEnum):
    """Something that an attack has to see to run; a defense that removes it blocks the attack."""

    ROWS = "single clients' updates"
    AGGREGATE = "the sum of the clients' updates"
    WORD_EMBEDDINGS = "the word embeddings' part of an update"
    POSITION_EMBEDDINGS = "the position embeddings' part of an update"
    ATTENTION_INPUTS = "the update of the query, key and value matrices, or of LoRA factors on them, in the first layer"
    QUERY_UPDATES = "the update of a query matrix, or of a LoRA factor on one, in some layer"
    ADAPTERS = "pairs of LoRA factors, both of them trained"
    GLOBAL_MODEL = "the global model"
    RELEASED_MODEL = "the released model"


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreatModel:
    """An adversary, as a card states it and a report prints it."""

    position: Position
    behaviour: Behaviour
    goal: str
    """Name of a registered goal (`fedsec list goals`)."""
    needs: frozenset[Asset] = frozenset()
    """What the adversary has to see to run at all."""
    knowledge: frozenset[Knowledge] = frozenset()
    """Side knowledge that the adversary cannot do without."""
    budget: str = "none beyond its position"
    """What the adversary spends, in words."""
