"""Card of FILM."""

from fedsec.api import Asset, AttackCard, Behaviour, Parameter, Position, Provenance, ThreatModel

_BAG = (
    Parameter(
        name="zero_norm",
        default=1e-7,
        summary="untied output layer: embedding rows below this times the largest row count as not touched",
        unit="fraction of the largest norm",
        provenance=Provenance.GUESS,
        minimum=0.0,
        maximum=1.0,
    ),
    Parameter(
        name="noise_factor",
        default=1.5,
        summary="untied output layer with noise on every row: rows below this times the median norm are noise",
        unit="median norms",
        provenance=Provenance.GUESS,
        minimum=1.0,
    ),
    Parameter(
        name="share",
        default=0.75,
        summary="tied output layer: dimensions of the space of untouched rows, where they fill the hidden size",
        unit="fraction of the hidden size",
        provenance=Provenance.MEASURED,
        minimum=0.01,
        maximum=0.99,
    ),
    Parameter(
        name="gap",
        default=4.0,
        summary="tied output layer: ratio that parts the batch's rows from all others (measured: 8 to 2,000)",
        provenance=Provenance.MEASURED,
        minimum=1.0,
    ),
    Parameter(
        name="outlier",
        default=12.0,
        summary="without such a gap, how far a row stands out, in units of what 99 % of unexpected tokens' rows do",
        provenance=Provenance.MEASURED,
        minimum=1.0,
    ),
    Parameter(
        name="opposed",
        default=0.15,
        summary="without such a gap, least negative cosine of a target's row to the untouched rows' direction",
        provenance=Provenance.MEASURED,
        minimum=0.0,
        maximum=1.0,
    ),
)
_BEAM = (
    Parameter(name="beams", default=32, summary="beams", provenance=Provenance.CODE, minimum=1, maximum=4096),
    Parameter(name="groups", default=8, summary="groups of beams", provenance=Provenance.CODE, minimum=1, maximum=4096),
    Parameter(
        name="diversity",
        default=0.1,
        summary="penalty for a token that an earlier group chose at the same place",
        unit="nats",
        provenance=Provenance.CODE,
        minimum=0.0,
    ),
    Parameter(
        name="found_penalty",
        default=2.0,
        summary="penalty for a pair of tokens, or a beginning, of a text that was found before",
        unit="nats",
        provenance=Provenance.GUESS,
        minimum=0.0,
    ),
    Parameter(
        name="unused_bonus",
        default=1.0,
        summary="bonus for a token that no text found before holds: each stands in some text",
        unit="nats",
        provenance=Provenance.GUESS,
        minimum=0.0,
    ),
    Parameter(
        name="longest",
        default=40,
        summary="longest text",
        unit="tokens",
        provenance=Provenance.CODE,
        minimum=1,
        maximum=8192,
    ),
)
_ORDER = (
    Parameter(
        name="alpha",
        default=1.0,
        summary="weight of the perplexity beside the gradient's norm (the code's script has 10)",
        provenance=Provenance.CODE,
        minimum=0.0,
    ),
    Parameter(
        name="proposals",
        default=32,
        summary="reordered candidates per round (the code: 64 phrase-wise, 50 token-wise)",
        provenance=Provenance.GUESS,
        minimum=1,
        maximum=4096,
    ),
    Parameter(
        name="rounds",
        default=4,
        summary="rounds of each kind of move; the first without gain ends it (the code: 100)",
        provenance=Provenance.GUESS,
        minimum=0,
        maximum=10_000,
    ),
    Parameter(
        name="order",
        default="model",
        summary="who orders the tokens: the victim's model, or chance, for comparison",
        provenance=Provenance.GUESS,
        choices=("model", "random"),
    ),
)

CARDS = (
    AttackCard(
        name="film",
        summary="Has the victim's language model write texts with the tokens that the word embeddings' gradient shows.",
        target="fedsec.attacks.reconstruction.film.attack:Film",
        parameters=(*_BAG, *_BEAM, *_ORDER),
        paper="Gupta et al., Recovering Private Text in Federated Learning of Language Models, NeurIPS 2022, sections "
        "4.1-4.3.",
        deviations=(
            "the tokens are read from the gradient, tied output layers included, where the released code takes them "
            "from the truth; texts end with the end token and are ranked by mean log probability; the order is scored "
            "among the batch's tokens alone, with fewer candidates; a token's count is not bounded"
        ),
        limits=(
            "Causal language models only.",
            "Good single sentences, the better the more the model has learnt them; never the whole batch for certain.",
            "Under a tied output layer the tokens are exact while the batch has fewer of them than the hidden size, "
            "all but the last one of a text that is cut; beyond that, under noise, and under AdamW differences "
            "some are missed and some invented.",
            "Not told how often a token occurs. Nothing it claims is verified.",
        ),
        cost="GPT-2's vocabulary, 4 layers of 256: about 1.5 s for the tokens and 1 s per text on one core",
        threat=ThreatModel(
            position=Position.SERVER,
            behaviour=Behaviour.CURIOUS,
            goal="reconstruction",
            needs=frozenset({Asset.AGGREGATE, Asset.WORD_EMBEDDINGS}),
            budget="one round's updates and the broadcast model; seconds to minutes of one core per client",
        ),
        tasks=("causal-lm",),
    ),
)
