"""Card of the attack that reads a text off the embeddings' gradients."""

from fedsec.api import Asset, AttackCard, Behaviour, Parameter, Position, Provenance, ThreatModel

_SERVER = "one round's updates and the broadcast model; about a second of one core per text"

CARDS = (
    AttackCard(
        name="embedding-algebra",
        summary="Reads a text, in order, off the word and position embeddings' gradients by least squares.",
        target="fedsec.attacks.reconstruction.embedding_algebra.attack:EmbeddingAlgebra",
        parameters=(
            Parameter(
                name="zero_norm",
                default=1e-7,
                summary="embedding rows below this times the largest row count as not touched",
                unit="fraction of the largest norm",
                provenance=Provenance.GUESS,
                minimum=0.0,
                maximum=1.0,
            ),
            Parameter(
                name="tolerance",
                default=1e-5,
                summary="relative fp32 error of a gradient's entries that a verified text may show",
                provenance=Provenance.MEASURED,
                minimum=1e-8,
                maximum=1e-2,
            ),
            Parameter(
                name="significance",
                default=30.0,
                summary="how much worse every other placement has to fit before a text is verified",
                unit="chi-square",
                provenance=Provenance.GUESS,
                minimum=0.0,
            ),
            Parameter(
                name="noise_factor",
                default=1.5,
                summary="where several texts leave most rows non-zero, those below this times the median are noise",
                unit="median norms",
                provenance=Provenance.GUESS,
                minimum=1.0,
            ),
        ),
        paper="None: derived and verified by this project; nearest is FET, COLING 2025, which searches.",
        limits=(
            "Orders one text per update; of a larger batch it ranks tokens by position, unverified (use dager there).",
            "Blind where embeddings are frozen, positions are not absolute, or a tied head adds its own gradient.",
            "Unverified under noise, masks, few levels, signs, and for repeated tokens under AdamW.",
        ),
        cost="0.03 s per text on one core, 2 s where no row is left at 0",
        threat=ThreatModel(
            position=Position.SERVER,
            behaviour=Behaviour.CURIOUS,
            goal="reconstruction",
            needs=frozenset({Asset.ROWS, Asset.WORD_EMBEDDINGS, Asset.POSITION_EMBEDDINGS}),
            budget=_SERVER,
        ),
    ),
)
