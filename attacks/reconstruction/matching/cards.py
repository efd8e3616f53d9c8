"""Cards of the attacks that match gradients by optimisation."""

from fedsec.api import Asset, AttackCard, Behaviour, Knowledge, Parameter, Position, Provenance, ThreatModel

_HARNESS = "as in LAMP's harness (Balunovic et al., NeurIPS 2022)"
_LABELS = "labels not granted are read off the head's bias: exact for one text, a guess of the counts for more"
_ADAPTS = ("gaussian-noise", "gradient-pruning", "quantization")
_SHARED = (
    "Classifiers only. Word and position embeddings' gradients are not matched, as in LAMP.",
    "Lengths not granted are those of the gradients' rank, shared out evenly: exact for one text without noise only.",
    "A difference of several steps, or AdamW's, is matched as if it were one gradient at the broadcast model.",
    "Verified means that the tokens' gradient is the update but for 3e-6 of its norm: never under noise, dropout, "
    "pruning or quantisation, and not on differences whose rounding exceeds that.",
)


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
        ),
        paper="Zhu et al., Deep Leakage from Gradients, NeurIPS 2019, algorithm 1.",
        deviations=f"Adam {_HARNESS}; padding is masked; key biases are not matched; {_LABELS}",
        limits=("Finds some words and no order; from batches of 4 on, little.", *_SHARED),
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
        ),
        paper="Deng et al., TAG, Findings of EMNLP 2021, equation 4.",
        deviations=(
            f"one share for all layers and Adam {_HARNESS}; padding is masked; key biases are not matched; {_LABELS}"
        ),
        limits=("Finds some words and no order; from batches of 4 on, little.", *_SHARED),
        cost="MiniLM on one core: 0.2 s per step for a text of 12 tokens; the absolute distance forms every gradient",
        adaptive_to=_ADAPTS,
        tasks=("sequence-classification",),
        threat=_threat("one round's updates and the broadcast model; minutes per text"),
    ),
    AttackCard(
        name="lamp",
        summary="Matches gradients over embeddings, orders tokens with a language model, and ends among tokens.",
        target="fedsec.attacks.reconstruction.matching.lamp:Lamp",
        parameters=(
            _steps(500, "steps of the descent at most; the paper's 2000 take four times as long", Provenance.GUESS),
            Parameter(
                name="loss",
                default="cosine",
                summary="what is matched",
                choices=("cosine", "l1+l2"),
            ),
            _optimizer("lbfgs", "of the descent; the paper has Adam", Provenance.MEASURED),
            _rate(0.01, Provenance.PAPER),
            Parameter(
                name="decay",
                default=0.89,
                summary="factor on the learning rate every 50 steps",
                minimum=0.0,
                maximum=1.0,
            ),
            Parameter(
                name="starts",
                default=32,
                summary="gaussian starts of which the best is taken; the paper has 500",
                provenance=Provenance.GUESS,
                minimum=1,
                maximum=100_000,
            ),
            Parameter(
                name="candidates",
                default=200,
                summary="orders per text in a discrete step",
                minimum=1,
                maximum=100_000,
            ),
            Parameter(
                name="search",
                default=300,
                summary="candidates per text that each search among tokens scores; 0: the paper's reading",
                provenance=Provenance.MEASURED,
                minimum=0,
                maximum=1_000_000,
            ),
            Parameter(
                name="pause",
                default=120,
                summary="steps between searches among tokens",
                provenance=Provenance.MEASURED,
                minimum=1,
            ),
        ),
        paper="Balunovic et al., LAMP, NeurIPS 2022, algorithms 1 and 2.",
        deviations=(
            "L-BFGS (optimizer=adam: the paper's); words are read by what enters the first layer, slots assigned to "
            "positions, and bettered among tokens, where only the truth matches to the last digits, the prior counting "
            "in proportion to the distance (search=0: the paper's reading and discrete steps); Adam's moments move "
            f"with the embeddings; key biases are not matched; padding is masked; starts are not permuted; {_LABELS}"
        ),
        limits=(
            "The paper reads little of batches of 4 and more; larger batches than 1 were not measured here.",
            "Where positions are not added to embeddings, reading by assignment cannot tell the order.",
            "The prior is as good as the auxiliary text is like the clients'.",
            *_SHARED,
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
