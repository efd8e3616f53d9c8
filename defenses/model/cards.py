"""Cards of the defenses that act on the model."""

from collections.abc import Mapping

from fedsec.api import Asset, DefenseCard, Population


def _frozen_anyhow(population: Population, _: Mapping[str, bool | int | float | str]) -> str | None:
    return None if population.trains_embeddings else f"under model.tuning {population.tuning} embeddings are frozen"


def _on_already(population: Population, _: Mapping[str, bool | int | float | str]) -> str | None:
    return "model.dropout is on already" if population.dropout else None


CARDS = (
    DefenseCard(
        name="frozen-embeddings",
        summary="The embedding block is not trained, so its gradient never leaves a client.",
        target="fedsec.defenses.model.frozen_embeddings:FrozenEmbeddings",
        protects="privacy",
        guarantee=None,
        removes=frozenset({Asset.WORD_EMBEDDINGS, Asset.POSITION_EMBEDDINGS}),
        changes_nothing=_frozen_anyhow,
        paper="Gupta et al., FILM, NeurIPS 2022, section 6 (freezing the embedding layer).",
        deviations="the whole embedding block is frozen: words, positions, token types and their normalisation",
        limits=(
            "It stops attacks that read embedding gradients; attention gradients still span the inputs (DAGER).",
            "The first layer's inputs stay constant over local steps, which helps attacks on spans.",
        ),
        cost="none; a smaller update, and often a little accuracy",
    ),
    DefenseCard(
        name="dropout",
        summary="Clients train with the model's own dropout, whose masks the server does not know.",
        target="fedsec.defenses.model.dropout:Dropout",
        protects="privacy",
        guarantee=None,
        changes_nothing=_on_already,
        paper="Scheliga et al., Dropout is NOT All You Need to Prevent Gradient Leakage, AAAI 2023.",
        limits=(
            "It does nothing where model.dropout is on already, or where the model has none (tiny-llama).",
            "Embedding gradients still add up word by word, so embedding-algebra reads single texts.",
            "Attackers who optimise the masks with the text undo part of it (Scheliga et al.; GRAB, CCS 2024).",
        ),
        cost="none to speak of; training is slower to converge, and often generalises better",
    ),
)
