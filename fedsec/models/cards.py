"""Cards of the named base models; any local path or hub id works as well."""

from fedsec.api import ModelCard, Parameter, Provenance

CARDS = (
    ModelCard(
        name="minilm",
        summary="all-MiniLM-L6-v2, a pretrained 6-layer BERT-architecture encoder with 22.7 M parameters.",
        target="fedsec.models.minilm:load",
        paper="Wang et al., MiniLM, NeurIPS 2020; sentence-transformers/all-MiniLM-L6-v2.",
        limits=("English, lower-cased.", "The classification head starts random."),
        cost="about 90 MB of memory per full update",
    ),
    ModelCard(
        name="tiny-bert",
        summary="A small BERT-architecture encoder with random weights, built on the spot; needs no download.",
        target="fedsec.models.tiny_bert:load",
        parameters=(
            Parameter(
                name="layers",
                default=2,
                summary="transformer layers",
                minimum=1,
                maximum=12,
                provenance=Provenance.GUESS,
            ),
            Parameter(
                name="width",
                default=64,
                summary="hidden size, a multiple of 16",
                minimum=16,
                maximum=1024,
                provenance=Provenance.GUESS,
            ),
        ),
        limits=("Random weights: it learns word-level tasks and little else.",),
        cost="milliseconds per step",
    ),
)
