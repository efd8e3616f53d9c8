"""Cards of the attacks that are computed from other clients' updates."""

from fedsec.api import AttackCard, Behaviour, Knowledge, Parameter, Position, Provenance, ThreatModel

_COLLUDERS = "threat.malicious clients, every round that they are sampled in, all of them sending one vector"
_OWN = "Without benign-updates it uses the colluders' own honest updates; with a single one "
_RULES = (
    "krum", "multi-krum", "bulyan", "bulyan-one-pass", "median", "trimmed-mean", "geometric-median", "meamed", "mda",
    "centered-clipping", "nnm", "bucketing", "clipping", "arc", "fltrust", "foolsgold", "norm-bound", "dnc", "flame",
    "sign-majority", "weak-dp",
)  # fmt: skip


def _threat(*knowledge: Knowledge) -> ThreatModel:
    return ThreatModel(
        position=Position.CLIENT,
        behaviour=Behaviour.MALICIOUS,
        goal="untargeted",
        knowledge=frozenset(knowledge),
        budget=_COLLUDERS,
    )


_DIRECTION = Parameter(
    name="direction",
    default="unit-vec",
    choices=("unit-vec", "std", "sign"),
    summary="push along minus the mean, minus every coordinate's standard deviation, or minus the mean's sign",
    provenance=Provenance.CODE,
)

CARDS = (
    AttackCard(
        name="ipm",
        summary="Colluders send the negated honest mean, scaled.",
        target="fedsec.attacks.byzantine.ipm:InnerProductManipulation",
        parameters=(
            Parameter(name="epsilon", default=0.1, summary="factor of the negated mean", minimum=0.0, maximum=1e6),
        ),
        paper="Xie, Koyejo and Gupta, Fall of Empires, UAI 2019, section 3.",
        limits=(
            "At the default, distance rules select it, while the plain mean is only shortened; it reverses "
            "from epsilon = (n - f) / f on.",
            "A check of norms detects a large epsilon.",
            _OWN + "the mean is that update.",
        ),
        cost="one mean of the known updates",
        threat=_threat(),
    ),
    AttackCard(
        name="alie",
        summary="Colluders send the honest mean less z standard deviations in every coordinate.",
        target="fedsec.attacks.byzantine.alie:ALittleIsEnough",
        parameters=(
            Parameter(
                name="z",
                default=0.0,
                summary="distance from the mean; 0 takes the paper's formula for the round's clients and colluders",
                unit="standard deviations",
                minimum=0.0,
                maximum=1e6,
            ),
        ),
        paper="Baruch, Baruch and Goldberg, A Little Is Enough, NeurIPS 2019, preventing convergence.",
        deviations="a z below 0 is 0; with a majority of colluders, where it is infinite, that of one supporter needed",
        limits=(
            "With few colluders the formula gives z = 0, and the update is the honest mean; set z then "
            "(ByzFL uses 1.5).",
            "It does harm over many rounds only, and has no room where honest updates differ little.",
            _OWN + "the deviation is 0, and the update stays honest.",
        ),
        cost="mean and standard deviation of the known updates",
        threat=_threat(),
    ),
    AttackCard(
        name="min-max",
        summary="Colluders send the mean pushed as far that no honest update is farther off than another honest one.",
        target="fedsec.attacks.byzantine.min_max:MinMax",
        parameters=(_DIRECTION,),
        paper="Shejwalkar and Houmansadr, Manipulating the Byzantine, NDSS 2021, AGR-agnostic Min-Max.",
        deviations="the exact factor instead of a search; the direction has length 1, which the factor makes up for",
        limits=(
            "It is bounded by the spread of the honest updates, so it does little to a mean of similar updates.",
            _OWN + "there is no spread, and the update stays honest.",
        ),
        cost="products of the known updates with each other",
        threat=_threat(),
    ),
    AttackCard(
        name="min-sum",
        summary="Colluders send the mean pushed until it is as far from all honest updates together as one of them.",
        target="fedsec.attacks.byzantine.min_sum:MinSum",
        parameters=(_DIRECTION,),
        paper="Shejwalkar and Houmansadr, Manipulating the Byzantine, NDSS 2021, AGR-agnostic Min-Sum.",
        deviations="the exact factor instead of a search; the direction has length 1, which the factor makes up for",
        limits=(
            "It is bounded by the spread of the honest updates, so it does little to a mean of similar updates.",
            _OWN + "there is no spread, and the update stays honest.",
        ),
        cost="products of the known updates with each other",
        threat=_threat(),
    ),
    AttackCard(
        name="mimic",
        summary="Colluders copy the one honest client that is farthest out where clients differ most.",
        target="fedsec.attacks.byzantine.mimic:Mimic",
        parameters=(
            Parameter(
                name="warmup",
                default=3,
                summary="rounds in which the direction is estimated; the client stays the same after that",
                unit="rounds",
                provenance=Provenance.GUESS,
                minimum=1,
                maximum=1_000_000,
            ),
        ),
        paper="Karimireddy, He and Jaggi, Bucketing, ICLR 2022, mimic attack with warm-up (appendix); official code.",
        deviations="the first direction is the exact principal one, with a fixed sign, not a step from a random start",
        limits=(
            "Where clients' data are alike, a copy of one of them does no harm.",
            "Under partial participation the copied client may change, since honest updates come in the "
            "cohort's order, without names.",
        ),
        cost="products of the honest updates with each other in the first round, with one vector after it",
        threat=_threat(Knowledge.BENIGN_UPDATES),
    ),
    AttackCard(
        name="adaptive",
        summary="Colluders try IPM and ALIE on the server's own defense and send what moves the result farthest.",
        target="fedsec.attacks.byzantine.adaptive:Adaptive",
        parameters=(
            Parameter(
                name="evaluations",
                default=24,
                summary="trials per direction and round",
                provenance=Provenance.GUESS,
                minimum=4,
                maximum=10_000,
            ),
            Parameter(
                name="objective",
                default="against",
                choices=("distance", "against"),
                summary="the aggregate's distance from the honest mean, or how far it is moved back against that mean",
                provenance=Provenance.MEASURED,
            ),
        ),
        paper="ByzFL, Optimal_InnerProductManipulation and Optimal_ALittleIsEnough; Allouah et al., AISTATS 2023.",
        deviations="the worst of three directions, mu - z sign(mu) sigma being ours; a part of mu as well as its "
        "opposite; the objective `against`; a grid and halved gaps as line search; vectors of at most 100 median norms",
        limits=(
            "It looks one round ahead, in three directions; a defense that stops these may be open in a fourth.",
            "The rehearsal leaves out weights by examples, late updates, the server's random draws and, "
            "unless all clients take part, their histories.",
            "Without benign-updates it uses the colluders' own honest updates; with a single one ALIE has no room.",
        ),
        cost="three times `evaluations` runs of the rule: of inner products alone where it returns weights, of all "
        "parameters where it is coordinate-wise",
        threat=_threat(Knowledge.DEFENSE_SETTINGS),
        adaptive_to=_RULES,
    ),
)
