"""Cards of FILM and its variant."""

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
    Parameter(
        name="rounding",
        default=3e-7,
        summary="error of a row in fp32 at most; on average a third of it",
        unit="fraction of the row's norm",
        provenance=Provenance.MEASURED,
        minimum=6e-8,
        maximum=1e-3,
    ),
    Parameter(
        name="full",
        default=0.98,
        summary="tied output layer: above this, the untouched rows' space leaves no room and `share` holds",
        unit="fraction of the hidden size",
        provenance=Provenance.GUESS,
        minimum=0.5,
        maximum=1.0,
    ),
)


def _count(name: str, default: int, summary: str, provenance: Provenance, minimum: int = 1) -> Parameter:
    return Parameter(
        name=name, default=default, summary=summary, provenance=provenance, minimum=minimum, maximum=10_000
    )


_LONGEST = Parameter(
    name="longest",
    default=40,
    summary="longest text",
    unit="tokens",
    provenance=Provenance.CODE,
    minimum=1,
    maximum=8192,
)
_ALPHA = Parameter(
    name="alpha",
    default=1.0,
    summary="weight of the perplexity beside the gradient's norm (the code's README; its script has 10)",
    provenance=Provenance.CODE,
    minimum=0.0,
)
_COVERING = (
    _count("beams", 32, "beams of the search, of all groups together", Provenance.GUESS),
    _count("groups", 8, "groups of beams", Provenance.CODE),
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
    _LONGEST,
    _ALPHA,
    _count("proposals", 32, "reordered candidates per round (film: 64 and 50)", Provenance.GUESS),
    _count("rounds", 4, "rounds of each kind of move; the first without gain ends it", Provenance.GUESS, 0),
    Parameter(
        name="order",
        default="model",
        summary="who orders the tokens: the victim's model, or chance, for comparison",
        provenance=Provenance.GUESS,
        choices=("model", "random"),
    ),
)
_DIVERSE = (
    _count("beams", 32, "beams of each group", Provenance.CODE),
    _count("groups", 8, "groups of beams", Provenance.CODE),
    Parameter(
        name="diversity",
        default=0.1,
        summary="penalty for a token, per time that a text of an earlier group holds it",
        unit="nats",
        provenance=Provenance.CODE,
        minimum=0.0,
    ),
    _LONGEST,
    _ALPHA,
    _count("phrase_proposals", 64, "candidates per round of phrase-wise moves", Provenance.CODE),
    _count("token_proposals", 50, "candidates per round of token-wise moves", Provenance.CODE),
    _count("rounds", 100, "rounds of each kind of move at most", Provenance.CODE, 0),
    _count("phrase_patience", 128, "rounds without gain that end phrase-wise moves", Provenance.CODE),
    _count("token_patience", 50, "rounds without gain that end token-wise moves", Provenance.CODE),
)
_THREAT = ThreatModel(
    position=Position.SERVER,
    behaviour=Behaviour.CURIOUS,
    goal="reconstruction",
    needs=frozenset({Asset.AGGREGATE, Asset.WORD_EMBEDDINGS}),
    budget="one round's updates and the broadcast model; seconds to minutes of one core per client",
)
_LIMITS = (
    "Causal language models only; good single sentences the model has learnt, never the whole batch for certain.",
    "Tied output layer: tokens are exact while a batch has fewer than the hidden size; else some are missed, or wrong.",
    "Not told how often a token occurs. Nothing it claims is verified.",
)

CARDS = (
    AttackCard(
        name="film",
        summary="Has the victim's language model write texts with the tokens that the word embeddings' gradient shows.",
        target="fedsec.attacks.reconstruction.film.attack:Film",
        parameters=(*_BAG, *_DIVERSE),
        paper="Gupta et al., Recovering Private Text in Federated Learning of Language Models, NeurIPS 2022, sections "
        "4.1-4.3.",
        deviations=(
            "the tokens are read from the gradient, tied output layers included, where the released code takes them "
            "and their number from the truth; orders are scored among the batch's tokens alone; phrases are cut at "
            "random, not by the model's links; token-wise moves exchange or move a token and insert none"
        ),
        limits=_LIMITS,
        cost="8 times the beams, up to 45 times the orders of film-coverage: by estimate a minute of one core per text",
        threat=_THREAT,
        tasks=("causal-lm",),
    ),
    AttackCard(
        name="film-coverage",
        summary="As film, with texts of any length that together cover the batch's tokens: reads more of a batch.",
        target="fedsec.attacks.reconstruction.film.coverage:FilmCoverage",
        parameters=(*_BAG, *_COVERING),
        paper="this project, after Gupta et al., NeurIPS 2022, and Wu et al., arXiv:1609.08144, section 7.",
        deviations=(
            "from FILM: texts end with the end token, compete by mean log probability, and get a bonus for tokens that "
            "no text before holds; what was found is penalised, not barred; 32 beams in all; fewer reordered candidates"
        ),
        limits=_LIMITS,
        cost="GPT-2's vocabulary, 4 layers of 256: about 1.5 s for the tokens and 1 s per text on one core",
        threat=_THREAT,
        tasks=("causal-lm",),
    ),
)
