"""Cards of the defenses that look for malicious updates, or for malicious parts of them."""

from fedsec.api import DefenseCard, Parameter, Provenance

from .conditions import (
    agreement_possible,
    fewer_dropped_than_sent,
    server_holds_rows,
    three_rows,
    window_over,
)


def _real(
    name: str, default: float, summary: str, unit: str, most: float = 1e6, provenance: Provenance = Provenance.PAPER
) -> Parameter:
    return Parameter(
        name=name, default=default, summary=summary, unit=unit, provenance=provenance, minimum=0.0, maximum=most
    )


def _count(name: str, default: int, summary: str, unit: str, least: int = 1) -> Parameter:
    return Parameter(name=name, default=default, summary=summary, unit=unit, minimum=least, maximum=1_000_000_000)


FILTERS = (
    DefenseCard(
        name="flame",
        summary="Keeps the majority's cluster of local models, clips their updates to the median norm, and adds noise.",
        target="fedsec.defenses.detection.flame:Flame",
        parameters=(_real("noise", 0.001, "standard deviation of the noise on the aggregate", "median norms"),),
        protects="robustness",
        precondition=three_rows,
        needs_rows=True,
        paper="Nguyen et al., FLAME, USENIX Security 2022, algorithm 1; lambda = 0.001.",
        deviations="angles between local models are computed in fp64 from inner products",
        limits=(
            "Where clients' data differ, honest updates are outliers too: it keeps little more than half of the rows.",
            "A malicious update among the honest ones in angle and norm is kept, and the noise is all that is left.",
            "The noise grows with the number of parameters, of which it hits every one alike.",
        ),
        cost="one Gram product, HDBSCAN over n points, one random vector",
    ),
    DefenseCard(
        name="dnc",
        summary="Leaves out the rows that reach farthest along the rows' main direction.",
        target="fedsec.defenses.detection.dnc:DivideAndConquer",
        parameters=(
            _count("iterations", 1, "draws of coordinates", "draws"),
            _count("coordinates", 10_000, "coordinates in a draw", "coordinates"),
            _real("filtered", 1.0, "rows left out in a draw, as a multiple of f", "f", 100.0),
        ),
        protects="robustness",
        precondition=fewer_dropped_than_sent,
        needs_rows=True,
        paper="Shejwalkar and Houmansadr, Manipulating the Byzantine, NDSS 2021, algorithm 2; official code.",
        deviations="where no row is good in all draws, those that are good in most of them stay",
        limits=(
            "It drops c f rows in every round, whoever sent them.",
            "Malicious rows that are few and lie apart from each other need not make the main direction.",
        ),
        cost="products of n rows of the drawn coordinates with each other",
    ),
    DefenseCard(
        name="fldetector",
        summary="Leaves out clients whose updates are not what their earlier ones and the model's way let expect.",
        target="fedsec.defenses.detection.fldetector:FlDetector",
        parameters=(_count("window", 10, "rounds that scores and L-BFGS look back", "rounds"),),
        protects="robustness",
        precondition=window_over,
        needs_rows=True,
        paper="Zhang et al., FLDetector, KDD 2022, algorithms 1 to 3; N = 10.",
        deviations="training goes on without the clients that were found, where the paper starts it again",
        limits=(
            "Nobody is dropped before round window + 2 (if sampled, later): an attack of few rounds is done by then.",
            "A malicious client that sends nearly the same in every round is the most consistent of all.",
            "It keeps the last update of every client, and two windows of models.",
        ),
        cost="an update for each client and 2 windows of models in memory; L-BFGS and 2-means in a round",
    ),
    DefenseCard(
        name="zeno",
        summary="Leaves out the f rows that lower the loss on the server's own samples least.",
        target="fedsec.defenses.detection.zeno:Zeno",
        parameters=(_real("rho", 0.0005, "weight of a row's squared norm", "loss per squared norm"),),
        protects="robustness",
        precondition=server_holds_rows,
        needs_rows=True,
        paper="Xie, Koyejo and Gupta, Zeno, ICML 2019, definition 2, algorithm 2; rho = 0.0005.",
        deviations="under `update: delta` a row is the step of the weights itself",
        limits=(
            "A backdoor costs no loss on samples without its trigger, so its row scores as an honest one does.",
            "It needs samples at the server (data.trusted) that are like the clients'.",
            "It drops f rows in every round, whoever sent them.",
        ),
        cost="n + 1 evaluations of as many of the server's samples as a client trains on in a round",
    ),
    DefenseCard(
        name="weak-dp",
        summary="Scales long rows down to a bound, and adds noise to the aggregate.",
        target="fedsec.defenses.detection.weak_dp:WeakDp",
        parameters=(
            Parameter(
                name="bound",
                default=3.0,
                summary="largest norm of a row; what is large depends on model, learning rate and steps",
                unit="the update's own",
                minimum=1e-12,
                maximum=1e30,
            ),
            _real("sigma", 0.025, "standard deviation of the noise on the aggregate", "the update's own"),
        ),
        protects="robustness",
        needs_rows=True,
        paper="Sun et al., Can You Really Backdoor Federated Learning?, arXiv 1911.07963 (2019), section 4.",
        deviations="rows above 100 times the median norm are scaled down to that if the bound is higher; no epsilon is "
        "stated, since so little noise gives none worth the name",
        limits=(
            "Its noise has a norm of 0.025 times the root of the number of parameters: compare it with updates.",
            "A bound above the honest norms leaves room to malicious updates; one below them slows training down.",
        ),
        cost="one Gram product, of which the diagonal is used, and one random vector",
    ),
)

RULES = (
    DefenseCard(
        name="sign-majority",
        summary="Turns the mean's sign in every coordinate in which too few updates agree (RLR).",
        target="fedsec.defenses.detection.sign_majority:SignMajority",
        parameters=(
            _count(
                "threshold",
                0,
                "|sum of signs| from which on a sign is kept; 0: f + 1",
                "rows",
                0,
            ),
        ),
        protects="robustness",
        precondition=agreement_possible,
        is_rule=True,
        paper="Ozdayi, Kantarcioglu and Gel, AAAI 2021, section 4 (robust learning rate).",
        limits=(
            "Where clients' data differ, honest updates disagree in many coordinates, where training goes backwards.",
            "It bounds nothing: a long update is averaged in full where signs agree with it; put a bound before it.",
        ),
        cost="one pass over the rows",
    ),
)

MODELS = (
    DefenseCard(
        name="crfl",
        summary="Clips and blurs the global model in every round; noisy copies of the released one vote.",
        target="fedsec.defenses.detection.crfl:Crfl",
        parameters=(
            _real("norm", 2.0, "largest norm of the global model before the first round", "the parameters' own", 1e30),
            _real("growth", 0.025, "by which that bound grows in a round", "the parameters' own"),
            _real("sigma", 0.01, "standard deviation of the noise on every parameter", "the parameters' own"),
            _count("copies", 1000, "noisy copies that vote on a query", "copies"),
        ),
        protects="robustness",
        answers_itself=True,
        guarantee="the answer stays the same under any change of the released parameters below a certified radius "
        "(Cohen et al., ICML 2019), from the votes by certified_radius; nothing is stated about poisoned samples",
        paper="Xie et al., CRFL, ICML 2021, algorithms 1 and 2; Cohen et al., ICML 2019, theorem 1.",
        deviations="the certificate is in parameter space; the paper's bound on how far poison moves it is left out",
        limits=(
            "The bound is on all that is trained: set it by the start's own norm, or it undoes a pretrained start.",
            "A radius of some sigma is far below what a round of training moves, whoever trains.",
            "Its copies answer: in a stack it stands before the other defenses that read queries.",
        ),
        cost="`copies` passes for every query",
    ),
)

CARDS = (*FILTERS, *RULES, *MODELS)
