"""Cards of the attacks that need no knowledge of other clients."""

from fedsec.api import Asset, AttackCard, Behaviour, Parameter, Position, Provenance, ThreatModel

_BUDGET = "threat.malicious clients, every round that they are sampled in"


def _threat(*needs: Asset, goal: str = "untargeted") -> ThreatModel:
    return ThreatModel(
        position=Position.CLIENT,
        behaviour=Behaviour.MALICIOUS,
        goal=goal,
        needs=frozenset(needs),
        budget=_BUDGET,
    )


def _scale(summary: str, default: float = 1.0) -> Parameter:
    return Parameter(name="scale", default=default, summary=summary, minimum=0.0, maximum=1e6)


CARDS = (
    AttackCard(
        name="sign-flip",
        summary="A malicious client sends its own honest update, negated and scaled.",
        target="fedsec.attacks.byzantine.sign_flip:SignFlip",
        parameters=(_scale("factor of the negated update"),),
        paper="Li et al., RSA, AAAI 2019 (sign-flipping attack); Karimireddy et al., ICML 2021, section 6.",
        deviations="negates the client's own update (as in ICML 2021), not the honest mean: that variant is ipm",
        limits=(
            "At scale 1 a small minority only slows the mean down.",
            "A check of norms detects large scales.",
            "It flips the steps of both LoRA factors, which does not flip the step of their product.",
        ),
        cost="one multiplication of the update",
        threat=_threat(),
    ),
    AttackCard(
        name="gaussian",
        summary="A malicious client sends Gaussian noise, or adds it to its update.",
        target="fedsec.attacks.byzantine.gaussian:Gaussian",
        parameters=(
            Parameter(
                name="sigma",
                default=200.0,
                summary="standard deviation of every coordinate",
                unit="see unit",
                provenance=Provenance.PAPER,
                minimum=0.0,
                maximum=1e6,
            ),
            Parameter(
                name="variant",
                default="replace",
                choices=("replace", "add"),
                summary="noise instead of the honest update, or on top of it",
                provenance=Provenance.PAPER,
            ),
            Parameter(
                name="unit",
                default="absolute",
                choices=("absolute", "honest"),
                summary="of sigma: plain, or the root mean square of the honest update's coordinates",
                provenance=Provenance.PAPER,
            ),
        ),
        paper="Blanchard et al., NeurIPS 2017, section 5 (sigma = 200).",
        limits=(
            "At the paper's sigma a check of norms detects it: honest weights move by about 1e-3 in a round.",
            "In honest units at sigma 1 it passes checks of norms and hardly moves a mean of many updates.",
            "Above a sigma of about 2e5 values exceed 1e6, and the server refuses the update.",
        ),
        cost="one random vector per update",
        threat=_threat(),
    ),
    AttackCard(
        name="zero",
        summary="A malicious client sends zeros.",
        target="fedsec.attacks.byzantine.zero:Zero",
        paper="none: the usual crash-type attack of benchmarks",
        limits=("f of n clients shorten the plain mean by f/n and do no more; an adaptive optimizer undoes that.",),
        cost="none",
        threat=_threat(),
    ),
    AttackCard(
        name="non-finite",
        summary="A malicious client sends NaN, infinity or 1e30, which no unchecked sum survives.",
        target="fedsec.attacks.byzantine.non_finite:NonFinite",
        parameters=(
            Parameter(
                name="kind",
                default="nan",
                choices=("nan", "inf", "huge"),
                summary="NaN, infinity of random signs, or 1e30 of random signs",
                provenance=Provenance.GUESS,
            ),
        ),
        paper="none: the usual crash-type attack of benchmarks",
        limits=(
            "The server refuses every such update under every defense, so only the clients' work is "
            "missing; the attack tests that check.",
        ),
        cost="one random vector per update",
        threat=_threat(),
    ),
    AttackCard(
        name="free-rider",
        summary="A malicious client gets the model without training: it sends what it was sent before, zeros or noise.",
        target="fedsec.attacks.byzantine.free_rider:FreeRider",
        parameters=(
            Parameter(
                name="variant",
                default="stale",
                choices=("stale", "noised", "zero", "replayed"),
                summary="the last two global models' difference, that with noise, zeros, or its first update again",
                provenance=Provenance.PAPER,
            ),
            Parameter(
                name="noise",
                default=1.0,
                summary="of noised: standard deviation",
                unit="root mean squares of the difference",
                provenance=Provenance.GUESS,
                minimum=0.0,
                maximum=1e6,
            ),
        ),
        paper="Lin et al., arXiv 1911.12560, 2019, section 3; Fraboni et al., AISTATS 2021, section 3.",
        deviations="noise is relative; a difference over several rounds is divided by their number; no decaying noise",
        limits=(
            "It does no harm on purpose: accuracy suffers by the missing work, and stale steps act like momentum.",
            "The first update of stale and noised is zero, since two models have to be seen first.",
        ),
        cost="two copies of the model per free rider",
        threat=_threat(goal="free-ride"),
    ),
    AttackCard(
        name="count-inflation",
        summary="A malicious client negates its update and claims many times the examples that it has.",
        target="fedsec.attacks.byzantine.count_inflation:CountInflation",
        parameters=(
            Parameter(
                name="factor",
                default=100,
                summary="of the claimed number of examples",
                provenance=Provenance.GUESS,
                minimum=1,
                maximum=1_000_000_000,
            ),
            _scale("factor of the negated update"),
        ),
        paper="none: the lack of a check is a known defect of weighting by claimed counts",
        limits=(
            "The server clamps each claim to the enrolled number of examples and logs it; what remains is sign-flip.",
            "Clients enrol with their true number of examples; a false enrolment is not modelled.",
            "Claims count under federation.weighting: examples only.",
        ),
        cost="one multiplication of the update",
        threat=_threat(),
    ),
    AttackCard(
        name="lora-gauge",
        summary="Colluders send LoRA factors that look honest and whose product B A is not, or the reverse.",
        target="fedsec.attacks.byzantine.lora_gauge:LoraGauge",
        parameters=(
            Parameter(
                name="aim",
                default="hide",
                choices=("hide", "rescale"),
                summary="factors near the honest ones with an opposed product, or (factor B, A / factor)",
                provenance=Provenance.MEASURED,
            ),
            Parameter(
                name="scale",
                default=1.0,
                summary="of hide: expected distance of its factors to an honest row's",
                unit="distances between two honest rows",
                provenance=Provenance.MEASURED,
                minimum=0.0,
                maximum=1e3,
            ),
            Parameter(
                name="factor",
                default=10.0,
                summary="of rescale: what B is multiplied by and A divided by",
                provenance=Provenance.GUESS,
                minimum=1e-3,
                maximum=1e3,
            ),
        ),
        paper="none: own; bounded by honest distances like Min-Sum (Shejwalkar and Houmansadr, NDSS 2021)",
        limits=(
            "hide: rules with geometry: product detect it, except in the first rounds, since B begins at 0.",
            "hide: without benign-updates it uses the colluders' updates; one colluder has to guess their spread.",
            "rescale: rules that average factors suffer, rules that select one update do not, and it may "
            "help in early rounds.",
        ),
        cost="30 products of each pair of factors, once per round",
        threat=_threat(Asset.ADAPTERS),
    ),
)
