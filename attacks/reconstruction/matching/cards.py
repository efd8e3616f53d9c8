"""Cards of the attacks that match gradients by optimisation."""

from fedsec.api import Asset, AttackCard, Behaviour, Knowledge, Parameter, Position, Provenance, ThreatModel

_HARNESS = "as in LAMP's harness (Balunovic et al., NeurIPS 2022)"
_LABELS = "labels not granted are read off the head's bias: exact for one text, a guess of the counts for more"
_ADAPTS = ("gaussian-noise", "gradient-pruning", "quantization")
_MATCHING = (
    Parameter(
        name="usual_length",
        default=20,
        summary="tokens of a text where neither its length is granted nor the gradient's rank tells it",
        unit="tokens",
        provenance=Provenance.GUESS,
        minimum=3,
        maximum=8192,
    ),
    Parameter(
        name="longest",
        default=64,
        summary="tokens of a text at most, where its length is not granted",
        unit="tokens",
        provenance=Provenance.GUESS,
        minimum=3,
        maximum=8192,
    ),
    Parameter(
        name="exact",
        default=3e-6,
        summary="|g - G| / |G| below which a claim may count as verified (at the truth in fp32: 6e-7)",
        unit="fraction of the update's norm",
        provenance=Provenance.MEASURED,
        minimum=0.0,
        maximum=1e-3,
    ),
)
_CLASSIFIERS = "Classifiers only; a difference of several steps, or AdamW's, is matched as if it were one gradient."
_BLURRED = "Lengths not granted are a guess but for single texts; nothing is verified under noise, dropout or rounding."
_NO_ORDER = "Finds some words and no order; from batches of 4 on, little."


def _threat(budget: str, knowledge: frozenset[Knowledge] = frozenset()) -> ThreatModel:
    return ThreatModel(
        position=Position.SERVER,
        behaviour=Behaviour.CURIOUS,
        goal="reconstruction",
        needs=frozenset({Asset.AGGREGATE, Asset.GLOBAL_MODEL}),
        knowledge=knowledge,
        budget=budget,
    )


def _steps(default: int, summary: str, provenance: Provenance) -> Parameter:
    return Parameter(name="steps", default=default, summary=summary, provenance=provenance, minimum=1)


def _optimizer(default: str, summary: str, provenance: Provenance) -> Parameter:
    return Parameter(
        name="optimizer", default=default, summary=summary, provenance=provenance, choices=("adam", "lbfgs")
    )


def _rate(default: float, provenance: Provenance) -> Parameter:
    return Parameter(
        name="rate",
        default=default,
        summary="Adam's learning rate at the start",
        provenance=provenance,
        minimum=1e-6,
        maximum=10.0,
    )


CARDS = (
    AttackCard(
        name="dlg",
        summary="Optimises embeddings until their gradient is the observed one, by squared distance.",
        target="fedsec.attacks.reconstruction.matching.dlg:Dlg",
        parameters=(
            _steps(2500, f"steps of the descent, {_HARNESS}", Provenance.CODE),
            _optimizer("adam", "of the descent", Provenance.CODE),
            _rate(0.1, Provenance.CODE),
            *_MATCHING,
        ),
        paper="Zhu et al., Deep Leakage from Gradients, NeurIPS 2019, algorithm 1.",
        deviations=f"Adam {_HARNESS}; padding is masked; key biases are not matched; {_LABELS}",
        limits=(_NO_ORDER, _CLASSIFIERS, _BLURRED),
        cost="MiniLM on one core: 0.07 s per step for a text of 12 tokens",
        adaptive_to=_ADAPTS,
        tasks=("sequence-classification",),
        threat=_threat("one round's updates and the broadcast model; minutes per text"),
    ),
    AttackCard(
        name="tag",
        summary="Optimises embeddings until their gradient is the observed one, by squared and absolute distance.",
        target="fedsec.attacks.reconstruction.matching.tag:Tag",
        parameters=(
            _steps(2500, f"steps of the descent, {_HARNESS}", Provenance.CODE),
            _optimizer("adam", "of the descent", Provenance.CODE),
            _rate(0.1, Provenance.CODE),
            Parameter(
                name="tag_factor",
                default=0.01,
                summary="share of the absolute distance",
                provenance=Provenance.CODE,
                minimum=0.0,
            ),
            *_MATCHING,
        ),
        paper="Deng et al., TAG, Findings of EMNLP 2021, equation 4.",
        deviations=(
            f"one share for all layers and Adam {_HARNESS}; padding is masked; key biases are not matched; {_LABELS}"
        ),
        limits=(_NO_ORDER, _CLASSIFIERS, _BLURRED),
        cost="MiniLM on one core: 0.2 s per step for a text of 12 tokens; the absolute distance forms every gradient",
        adaptive_to=_ADAPTS,
        tasks=("sequence-classification",),
        threat=_threat("one round's updates and the broadcast model; minutes per text"),
    ),
    AttackCard(
        name="lamp",
        summary="Matches gradients over embeddings, and orders tokens with a language model on the way.",
        target="fedsec.attacks.reconstruction.matching.lamp:Lamp",
        parameters=(
            _steps(2000, "steps of the descent", Provenance.CODE),
            Parameter(
                name="loss",
                default="cosine",
                summary="what is matched; each has the paper's weights of the prior and of the embeddings' norm",
                choices=("cosine", "l1+l2"),
            ),
            _optimizer("adam", "of the descent", Provenance.PAPER),
            _rate(0.01, Provenance.CODE),
            Parameter(
                name="decay",
                default=0.89,
                summary="factor on the learning rate every 50 steps",
                provenance=Provenance.CODE,
                minimum=0.0,
                maximum=1.0,
            ),
            Parameter(
                name="starts",
                default=500,
                summary="gaussian starts of which the best is taken, and then orders of it",
                provenance=Provenance.CODE,
                minimum=1,
                maximum=100_000,
            ),
            Parameter(
                name="candidates",
                default=200,
                summary="orders per text in a discrete step, every 75 steps after the first tenth",
                provenance=Provenance.CODE,
                minimum=1,
                maximum=100_000,
            ),
            *_MATCHING,
        ),
        paper="Balunovic et al., LAMP, NeurIPS 2022, algorithms 1 and 2.",
        deviations=(
            "Adam's moments move with the embeddings; key biases are not matched; padding is masked; the embeddings' "
            f"mean norm is the vocabulary's (BERT's is the paper's 1.4); {_LABELS}"
        ),
        limits=(
            "Reads little of batches of 4 and more; the prior is as good as the auxiliary text is like the clients'.",
            _CLASSIFIERS,
            _BLURRED,
        ),
        cost="MiniLM on one core: about 6 minutes for a text of 13 tokens; 0.11 s per step, 3 s per discrete step",
        adaptive_to=_ADAPTS,
        tasks=("sequence-classification",),
        threat=_threat(
            "one round's updates and the broadcast model; minutes per text", frozenset({Knowledge.AUXILIARY_TEXT})
        ),
    ),
    AttackCard(
        name="lamp-search",
        summary="Matches gradients over embeddings, and ends with a search among tokens that only the truth passes.",
        target="fedsec.attacks.reconstruction.matching.lamp_search:LampSearch",
        parameters=(
            _steps(500, "steps of the descent at most", Provenance.GUESS),
            Parameter(
                name="starts",
                default=32,
                summary="gaussian starts of which the best is taken",
                provenance=Provenance.GUESS,
                minimum=1,
                maximum=100_000,
            ),
            Parameter(
                name="pause",
                default=120,
                summary="steps between searches among tokens",
                provenance=Provenance.MEASURED,
                minimum=1,
            ),
            Parameter(
                name="search",
                default=300,
                summary="candidates per text that each search among tokens scores",
                provenance=Provenance.MEASURED,
                minimum=1,
                maximum=1_000_000,
            ),
            Parameter(
                name="choices",
                default=8,
                summary="words near the embeddings that a search tries at a place; with a prior, as many likely ones",
                provenance=Provenance.GUESS,
                minimum=1,
                maximum=1000,
            ),
            Parameter(
                name="hopeless",
                default=0.3,
                summary="cosine distance of a reading above which no search among tokens begins",
                provenance=Provenance.MEASURED,
                minimum=0.0,
                maximum=2.0,
            ),
            Parameter(
                name="stalled",
                default=0.9,
                summary="a descent whose distance a pause leaves above this share of what it was starts again",
                provenance=Provenance.MEASURED,
                minimum=0.0,
                maximum=1.0,
            ),
            *_MATCHING,
        ),
        paper="this project, from Balunovic et al., LAMP, NeurIPS 2022.",
        deviations=(
            "from LAMP: L-BFGS; words are read by what enters the first layer, slots assigned to positions; a search "
            "among tokens, the prior counting in proportion to the distance; embedding tables are not matched; key "
            f"biases are not matched; padding is masked; {_LABELS}"
        ),
        limits=(
            "Measured for single texts; without added position vectors the assignment cannot tell the order.",
            _CLASSIFIERS,
            _BLURRED,
        ),
        cost="MiniLM on one core: 10 to 70 s per CoLA sentence, 22 s in the median; 0.07 s per step at 12 tokens",
        adaptive_to=_ADAPTS,
        tasks=("sequence-classification",),
        threat=_threat(
            "one round's updates and the broadcast model; about a minute per text",
            frozenset({Knowledge.AUXILIARY_TEXT}),
        ),
    ),
)
