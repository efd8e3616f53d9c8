"""Cards of the attacks on membership that train shadows of the released model."""

from fedsec.api import Asset, AttackCard, Behaviour, Knowledge, Parameter, Position, Provenance, ThreatModel


def _threat(*knowledge: Knowledge) -> ThreatModel:
    return ThreatModel(
        position=Position.RELEASED_MODEL,
        behaviour=Behaviour.CURIOUS,
        goal="membership",
        needs=frozenset({Asset.RELEASED_MODEL}),
        knowledge=frozenset({Knowledge.BASE_MODEL, *knowledge}),
        budget="training of its shadows, and a query of the released model for each candidate",
    )


_SHADOWS = Parameter(
    name="shadows",
    default=8,
    summary="models that it trains, each on half of the candidates",
    provenance=Provenance.MEASURED,
    minimum=2,
    maximum=1024,
)
_MODE = Parameter(
    name="mode",
    default="offline",
    summary="whether shadows without the record count alone, or those with it as well",
    provenance=Provenance.MEASURED,
    choices=("offline", "online"),
)
_STAGE = "Shadows are trained in one place until they know candidates as well as the victim; a victim that noise keeps "
_STAGE += "from learning leaves them nothing to tell."
_COST = "training of the shadows, all in one pass, and a forward pass of each candidate for each"

CARDS = (
    AttackCard(
        name="calibrated-loss",
        summary="Takes a record for a member the more, the better the model knows it than models trained without it.",
        target="fedsec.attacks.membership.calibrated_loss:CalibratedLoss",
        parameters=(_SHADOWS,),
        paper="Watson et al., ICLR 2022, section 3, equation 2.",
        deviations="shadows on random halves of the candidates, of which those count that left the record out",
        limits=(_STAGE,),
        cost=_COST,
        threat=_threat(),
    ),
    AttackCard(
        name="lira",
        summary="Compares the model's confidence in a record with that of models trained with and without the record.",
        target="fedsec.attacks.membership.lira:Lira",
        parameters=(
            _SHADOWS,
            _MODE,
            Parameter(
                name="variance",
                default="pooled",
                summary="one variance for all records, or one for each from its own shadows",
                choices=("pooled", "own"),
            ),
        ),
        paper="Carlini et al., S&P 2022, algorithm 1 and section IV-E.",
        deviations="offline, the distance in standard deviations in place of the normal distribution's value at it",
        limits=(_STAGE, "It was made for hundreds of shadows; with a few, a difference of mean losses tells as much."),
        cost=_COST,
        threat=_threat(),
    ),
    AttackCard(
        name="rmia",
        summary="Counts the records of the population whose likelihood ratio a record's own beats.",
        target="fedsec.attacks.membership.rmia:Rmia",
        parameters=(
            _SHADOWS,
            _MODE,
            Parameter(
                name="a",
                default=0.3,
                summary="offline, how far the mean probability is moved towards 1 for shadows with the record",
                minimum=0.0,
                maximum=1.0,
            ),
            Parameter(
                name="gamma",
                default=1.0,
                summary="the factor by which a ratio has to be beaten",
                provenance=Provenance.CODE,
                minimum=1e-6,
            ),
        ),
        paper="Zarifzadeh et al., ICML 2024, algorithm 1 and appendix B.2.",
        deviations="a causal model's probability is that of a learned token, in the geometric mean",
        limits=(_STAGE, "Scores are shares of the population: at low false positive rates many are 1 alike."),
        cost=f"{_COST} and of each record of the population",
        threat=_threat(Knowledge.CLIENT_TEXTS_DISTRIBUTION),
    ),
    AttackCard(
        name="shadow-classifier",
        summary="Learns from the answers of models of its own what a model answers about records it was trained on.",
        target="fedsec.attacks.membership.shadow_classifier:ShadowClassifier",
        parameters=(
            _SHADOWS,
            Parameter(
                name="hidden",
                default=64,
                summary="units of the network's hidden layer",
                minimum=1,
                maximum=4096,
            ),
        ),
        paper="Shokri et al., S&P 2017, section V.",
        deviations="shadows on halves of the candidates, and logarithms of probabilities as inputs",
        limits=(_STAGE, "It judges every record of a class alike, so that hard ones mislead it."),
        cost=f"{_COST}, and a small network for each class",
        threat=_threat(),
        tasks=("sequence-classification",),
    ),
)
