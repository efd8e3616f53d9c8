"""Cards of the attacks on membership that read updates."""

from fedsec.api import Asset, AttackCard, Behaviour, Parameter, Position, Provenance, ThreatModel


def _threat(*needs: Asset) -> ThreatModel:
    return ThreatModel(
        position=Position.SERVER,
        behaviour=Behaviour.CURIOUS,
        goal="membership",
        needs=frozenset(needs),
        budget="the updates of the rounds that it sees",
    )


_OVER = Parameter(
    name="over",
    default="max",
    summary="how several rounds count: the largest score, or the mean",
    provenance=Provenance.MEASURED,
    choices=("max", "mean"),
)
_BATCH = "It sees what was drawn: a record that a client holds and did not draw looks like any other."

CARDS = (
    AttackCard(
        name="projection-residual",
        summary="Takes a record for a member if its hidden states lie in the row space of the update's query gradient.",
        target="fedsec.attacks.membership.projection_residual:ProjectionResidual",
        parameters=(
            Parameter(
                name="layer",
                default="last",
                summary="the layer whose query matrix is read",
                provenance=Provenance.MEASURED,
                choices=("last", "first"),
            ),
            Parameter(
                name="factor",
                default="A",
                summary="the LoRA factor that is read; the other one where that is not trained",
                provenance=Provenance.MEASURED,
                choices=("A", "B"),
            ),
            Parameter(
                name="cut",
                default=1e-7,
                summary="singular values below this share of the largest do not count",
                provenance=Provenance.MEASURED,
                minimum=0.0,
                maximum=1.0,
            ),
        ),
        paper="Wang et al., ProjRes, IEEE S&P 2026 (arXiv 2604.21197), residual after projection on the row space.",
        deviations="queries only, a numerical rank, and minus the logarithm of the smallest residual of all rounds, "
        "normalised per client",
        limits=(
            "A batch needs fewer records than the width (full tuning), at most LoRA's rank for A (none while B is 0), "
            "fewer for B.",
            "Several local steps move the inputs: of the last layer nothing is left then, of the first some.",
            _BATCH,
        ),
        cost="one forward and backward pass of each candidate and a decomposition per client, in each round",
        threat=_threat(Asset.AGGREGATE, Asset.GLOBAL_MODEL, Asset.QUERY_UPDATES),
    ),
    AttackCard(
        name="gradient-cosine",
        summary="Takes a record for a member the more, the more the update points along the record's own gradient.",
        target="fedsec.attacks.membership.gradient_cosine:GradientCosine",
        parameters=(_OVER,),
        paper="Li, Li and Ribeiro, ICLR 2023, section 4 (cosine attack).",
        deviations="normalised per client, and several rounds combined",
        limits=(_BATCH, "Larger batches and sums of many clients hide a record among the others."),
        cost="the gradient of each candidate, in each round",
        threat=_threat(Asset.AGGREGATE, Asset.GLOBAL_MODEL),
    ),
    AttackCard(
        name="gradient-difference",
        summary="Takes a record for a member the more, the shorter the update becomes without the record's gradient.",
        target="fedsec.attacks.membership.gradient_difference:GradientDifference",
        parameters=(_OVER,),
        paper="Li, Li and Ribeiro, ICLR 2023, section 4 (gradient difference attack).",
        deviations="normalised per client, several rounds combined, and AdamW's updates scaled as SGD's",
        limits=(_BATCH, "Records with a large gradient mislead it: it is weaker than the cosine for batches of many."),
        cost="the gradient of each candidate, in each round",
        threat=_threat(Asset.ROWS, Asset.GLOBAL_MODEL),
    ),
    AttackCard(
        name="fedmia",
        summary="Compares what a client's update says of a record with what the other clients' updates say of it.",
        target="fedsec.attacks.membership.fedmia:FedMia",
        parameters=(
            Parameter(
                name="measure",
                default="cosine",
                summary="what is compared: the cosine with the update (FedMIA-II), or the loss after it (FedMIA-I)",
                choices=("cosine", "loss"),
            ),
        ),
        paper="Zhu et al., FedMIA, CVPR 2025, section 4.",
        deviations="the mean distance in standard deviations, where the paper's normal distribution saturates at 1",
        limits=(
            "It needs at least 3 clients in a round, and disjoint ones: a record that others hold too looks like none.",
            "It tells little after few rounds.",
        ),
        cost="the gradient of each candidate or, for the loss, a forward pass per client, in each round",
        threat=_threat(Asset.ROWS, Asset.GLOBAL_MODEL),
    ),
    AttackCard(
        name="loss-series",
        summary="Takes a record for a member the more, the lower its mean loss under the client's own models is.",
        target="fedsec.attacks.membership.loss_series:LossSeries",
        paper="Gu et al., CS-MIA, JISA 2022, section 4; Zhu et al., FedMIA, CVPR 2025 (baseline).",
        deviations="the mean of the series, normalised per client; the first paper learns a classifier on it",
        limits=("Records that are easy or hard for every model mislead it.", "It tells little before models fit."),
        cost="a forward pass of each candidate per client, in each round",
        threat=_threat(Asset.ROWS, Asset.GLOBAL_MODEL),
    ),
    AttackCard(
        name="words-touched",
        summary="Takes a record for a member the more of its words' embeddings the update changes.",
        target="fedsec.attacks.membership.words_touched:WordsTouched",
        paper="Melis et al., IEEE S&P 2019, section 4.1 (the words of a batch, read off its embedding gradient).",
        deviations="a share of words is the score",
        limits=(
            "Any noise changes every row, and it then tells nothing.",
            "It needs trained word embeddings that are not the output layer too, whose every row is changed.",
        ),
        cost="a look at the word embeddings of each update",
        threat=_threat(Asset.AGGREGATE, Asset.WORD_EMBEDDINGS, Asset.GLOBAL_MODEL),
    ),
)
