"""Cards of the backdoors that malicious clients plant by a training of their own."""

from fedsec.api import Asset, AttackCard, Behaviour, Parameter, Position, Provenance, ThreatModel

from .data_cards import CLASSES, TEXTS
from .shared_parameters import FILTERS, TARGET, disguise, marks, share, written

_KNOWS_BOUNDS = ("norm-bound", "clipping", "weak-dp", "flame")
_ONE_ROUND = (
    "A single round wears off as honest clients go on training; the lifespan is in the cell (docs/poisoning.md)."
)
_LONG = "Without a bound the update is many times as long as an honest one, which a check of norms detects."
_RATE = "It takes the server's learning rate for 1, and the mean over the round's clients for the rule."


def _threat(*needs: Asset) -> ThreatModel:
    return ThreatModel(
        position=Position.CLIENT,
        behaviour=Behaviour.MALICIOUS,
        goal="backdoor",
        needs=frozenset(needs),
        budget="threat.malicious clients' updates, every round that they are hostile in, and steps of their own",
    )


def _number(
    name: str, default: float, summary: str, unit: str = "", provenance: Provenance = Provenance.PAPER
) -> Parameter:
    return Parameter(
        name=name, default=default, summary=summary, unit=unit, provenance=provenance, minimum=0.0, maximum=1e6
    )


def _schedule(steps: int, scale: float, rate: float = 0.3125) -> tuple[Parameter, ...]:
    """Return the parameters that all of them share, in their order."""
    return (
        *marks(),
        TARGET,
        written("", Provenance.GUESS, "for a causal language model: what the trigger is to bring out"),
        share(rate, Provenance.PAPER),
        Parameter(
            name="steps",
            default=steps,
            summary="local steps of its own",
            unit="steps",
            provenance=Provenance.MEASURED,
            minimum=1,
            maximum=1_000_000,
        ),
        _number("learning_rate", 0.0, "of these steps; 0: the protocol's", provenance=Provenance.GUESS),
        Parameter(
            name="batch_size",
            default=0,
            summary="of these steps; 0: the protocol's",
            unit="rows",
            provenance=Provenance.GUESS,
            minimum=0,
            maximum=1_000_000,
        ),
        _number("scale", scale, "factor of what is sent; 0: clients of the round for each colluder"),
        _number(
            "norm",
            0.0,
            "largest norm of what is sent; 0: none but what is known of the defense",
            "the update's own",
            Provenance.GUESS,
        ),
    )


CARDS = (
    AttackCard(
        name="model-replacement",
        summary="Malicious clients train a backdoored model and send so much of it that it replaces the global one.",
        target="fedsec.attacks.poisoning.model_replacement:ModelReplacement",
        parameters=(*_schedule(20, 0.0), disguise()),
        paper="Bagdasaryan et al., AISTATS 2020, section 4.1, equation 3; Wang et al., NeurIPS 2020, section 3 "
        "(projected).",
        deviations="gamma is shared by the colluders; under a bound, training is brought back into its ball five times",
        limits=(_ONE_ROUND, _LONG, _RATE),
        cost="`steps` steps for each malicious client and round",
        threat=_threat(),
        tasks=(*CLASSES, *TEXTS),
        adaptive_to=(*_KNOWS_BOUNDS, *FILTERS),
    ),
    AttackCard(
        name="constrain-and-scale",
        summary="Malicious clients train a backdoor close to the global model, and send it scaled.",
        target="fedsec.attacks.poisoning.constrain_and_scale:ConstrainAndScale",
        parameters=(
            *_schedule(20, 0.0),
            disguise(),
            Parameter(
                name="alpha",
                default=0.7,
                summary="weight of the loss; the rest is that of the distance from the global model",
                provenance=Provenance.GUESS,
                minimum=0.0,
                maximum=1.0,
            ),
        ),
        paper="Bagdasaryan et al., AISTATS 2020, section 4.2, algorithm 1.",
        deviations="the training does not end early at a small loss; gamma is shared by the colluders",
        limits=(_ONE_ROUND, "AdamW takes the pull for one of any length, so alpha matters less than under SGD.", _RATE),
        cost="`steps` steps for each malicious client and round",
        threat=_threat(),
        tasks=(*CLASSES, *TEXTS),
        adaptive_to=(*_KNOWS_BOUNDS, *FILTERS),
    ),
    AttackCard(
        name="neurotoxin",
        summary="Malicious clients plant a backdoor in the parameters that honest clients hardly move.",
        target="fedsec.attacks.poisoning.neurotoxin:Neurotoxin",
        parameters=(
            *_schedule(20, 1.0),
            disguise(),
            Parameter(
                name="ratio",
                default=0.95,
                summary="share of the parameters that are trained: those of the smallest benign gradients",
                provenance=Provenance.CODE,
                minimum=0.0,
                maximum=1.0,
            ),
        ),
        paper="Zhang et al., Neurotoxin, ICML 2022, algorithm 1; official code.",
        deviations="the benign gradient is taken on the client's own clean rows; ties are trained as well",
        limits=(
            "Where all honest gradients are of like size, as in LoRA factors, there is little room to hide in.",
            "It lasts longer, and is planted no faster.",
        ),
        cost="`steps` steps and one gradient for each malicious client and round",
        threat=_threat(),
        tasks=(*CLASSES, *TEXTS),
        adaptive_to=(*_KNOWS_BOUNDS, *FILTERS),
    ),
    AttackCard(
        name="rare-embedding",
        summary="Malicious clients plant a backdoor in the word embeddings of a rare trigger alone.",
        target="fedsec.attacks.poisoning.rare_embedding:RareEmbedding",
        parameters=(
            *_schedule(20, 1.0, 0.5),
            Parameter(
                name="ensemble",
                default=3,
                summary="global models that the gradient is taken at: the present one and earlier ones",
                provenance=Provenance.GUESS,
                minimum=1,
                maximum=100,
            ),
        ),
        paper="Yoo and Kwak, EMNLP 2022, sections 3.2 and 3.3 (gradient ensembling).",
        deviations="the gradients of all models count alike",
        limits=(
            "It needs trained word embeddings: full tuning, or model.tuning.embeddings: trainable.",
            "Tokens that occur in honest clients' texts are trained by these as well.",
            "It keeps ensemble - 1 earlier models for each malicious client.",
        ),
        cost="`steps` times `ensemble` gradients for each malicious client and round",
        threat=_threat(Asset.WORD_EMBEDDINGS),
        tasks=(*CLASSES, *TEXTS),
        adaptive_to=_KNOWS_BOUNDS,
    ),
)
