"""Cards of what mixes or clips rows before a rule."""

from fedsec.api import DefenseCard, Parameter, Provenance

from .conditions import bucketing_precondition, buckets_left, mean_without_malicious, needs_majority
from .shared_parameters import GEOMETRY

_RAW_NORM = "The norm is that of the LoRA factors: a rescaled pair (c B, A / c) has another norm and the same effect."

CARDS = (
    DefenseCard(
        name="nnm",
        summary="Replaces each row by the mean of its n-f nearest rows; for use before a rule.",
        target="fedsec.defenses.aggregation.nnm:NearestNeighbourMixing",
        parameters=(GEOMETRY,),
        protects="robustness",
        precondition=needs_majority("nnm"),
        changes_nothing=mean_without_malicious,
        needs_rows=True,
        paper="Allouah et al., Fixing by Mixing, AISTATS 2023, algorithm 2.",
        limits=(
            "Alone, before the plain mean, it is not robust: the mixture of a malicious update holds 1/(n-f) of it.",
            "Before a rule of coefficient kappa, the bound is 8 f/(n-f) (kappa + 1), and the rule's "
            "precondition stays.",
        ),
        cost="one Gram product and n sorts of n distances; nothing of size n x parameters is written",
    ),
    DefenseCard(
        name="bucketing",
        summary="Averages rows in random buckets of s; for use before a rule.",
        target="fedsec.defenses.aggregation.bucketing:Bucketing",
        parameters=(Parameter(name="s", default=2, summary="rows in a bucket", unit="rows", minimum=1, maximum=1e6),),
        protects="robustness",
        precondition=bucketing_precondition,
        reshapes=buckets_left,
        needs_rows=True,
        paper="Karimireddy et al., ICLR 2022, algorithm 1.",
        limits=(
            "Alone, before the plain mean, it only gives the updates of a smaller last bucket a higher weight.",
            "The rule gets ceil(n/s) rows with as many malicious ones as before, so it bears fewer.",
            "It helps where clients' data differ; buckets are drawn anew in each round.",
        ),
        cost="a permutation",
    ),
    DefenseCard(
        name="clipping",
        summary="Scales rows that are longer than a multiple of the median norm down to that.",
        target="fedsec.defenses.aggregation.clipping:Clipping",
        parameters=(
            Parameter(
                name="factor",
                default=1.0,
                summary="largest norm of a row",
                unit="median norms of the round",
                minimum=1e-6,
                maximum=1e6,
            ),
        ),
        protects="robustness",
        needs_rows=True,
        paper="Nguyen et al., FLAME, USENIX Security 2022: clipping to the median norm.",
        deviations="of FLAME, neither its clustering nor its noise",
        limits=(
            "It bounds the norm of an update, not its direction: f clipped updates still pull the mean.",
            "A majority of updates of norm 0 sets the radius to 0.",
            _RAW_NORM,
        ),
        cost="one Gram product, of which the diagonal is used",
    ),
    DefenseCard(
        name="arc",
        summary="Scales the 2 f/n (n-f) longest rows down to the longest of the others; for use before a rule.",
        target="fedsec.defenses.aggregation.arc:AdaptiveRobustClipping",
        protects="robustness",
        precondition=needs_majority("arc"),
        changes_nothing=mean_without_malicious,
        needs_rows=True,
        paper="Allouah et al., Adaptive Gradient Clipping for Robust Federated Learning, arXiv 2405.14432.",
        limits=(
            "It scales up to k honest updates too, where clients' norms differ.",
            "With f = 0, or where 2 f/n (n-f) is below 1, it does nothing.",
            _RAW_NORM,
        ),
        cost="one Gram product, of which the diagonal is used",
    ),
    DefenseCard(
        name="norm-bound",
        summary="Scales rows that are longer than a fixed norm down to it.",
        target="fedsec.defenses.aggregation.norm_bound:NormBound",
        parameters=(
            Parameter(
                name="bound",
                default=1.0,
                summary="largest norm of a row; what is large depends on model, learning rate and steps",
                unit="the update's own",
                provenance=Provenance.GUESS,
                minimum=1e-12,
                maximum=1e30,
            ),
        ),
        protects="robustness",
        needs_rows=True,
        paper="Sun et al., Can You Really Backdoor Federated Learning?, arXiv 1911.07963 (2019): norm thresholding.",
        deviations="without noise; rows above 100 times the median norm are scaled down to that if the bound is higher",
        limits=(
            "A bound above the honest norms leaves room to malicious updates; one below them slows training down.",
            "It bounds the norm of an update, not its direction.",
            _RAW_NORM,
        ),
        cost="one Gram product, of which the diagonal is used",
    ),
)
