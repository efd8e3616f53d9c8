"""Frozen embeddings: the embedding block is neither trained nor sent."""

from dataclasses import dataclass, replace

from fedsec.api import ModelSetup, Role

EMBEDDING_ROLES = frozenset({Role.WORD_EMBEDDING, Role.POSITION_EMBEDDING, Role.EMBEDDING})


@dataclass(frozen=True, slots=True, kw_only=True)
class FrozenEmbeddings:
    """Takes the embedding block out of what is trained.

    Source: Gupta et al., "Recovering Private Text in Federated Learning of Language Models", NeurIPS 2022, section 6.
    Deviations: positions, token types and the block's normalisation are frozen with the word embeddings.
    """

    def setup_model(self, setup: ModelSetup) -> ModelSetup:
        """Return the setup without the embedding block among the trainable tensors."""
        frozen = {p.name for p in setup.parameters if p.role in EMBEDDING_ROLES}
        return replace(setup, trainable=setup.trainable - frozen)
