"""Cards of the attacks on membership that read token probabilities of causal language models."""

from fedsec.api import Asset, AttackCard, Behaviour, Knowledge, Parameter, Position, Provenance, ThreatModel


def _threat(*knowledge: Knowledge) -> ThreatModel:
    return ThreatModel(
        position=Position.RELEASED_MODEL,
        behaviour=Behaviour.CURIOUS,
        goal="membership",
        needs=frozenset({Asset.RELEASED_MODEL}),
        knowledge=frozenset(knowledge),
        budget="queries of the released model for each candidate",
    )


_CAUSAL = ("causal-lm",)
_SHARE = Parameter(name="share", default=0.2, summary="share of a text's tokens that counts", minimum=0.0, maximum=1.0)

CARDS = (
    AttackCard(
        name="min-k",
        summary="Takes a text for a member the more, the more probable its least probable tokens are.",
        target="fedsec.attacks.membership.min_k:MinK",
        parameters=(_SHARE,),
        paper="Shi et al., ICLR 2024, section 4, equation 1.",
        limits=("Of texts of a few tokens it is one token that counts.", "It tells as little as the loss early on."),
        cost="one forward pass of each candidate",
        threat=_threat(),
        tasks=_CAUSAL,
    ),
    AttackCard(
        name="min-k-plus-plus",
        summary="As min-k, with each token's log probability in units of what the model expected at its place.",
        target="fedsec.attacks.membership.min_k_plus_plus:MinKPlusPlus",
        parameters=(_SHARE,),
        paper="Zhang et al., Min-K%++, ICLR 2025, section 4, equation 3.",
        deviations="a token whose distribution has no spread scores 0",
        limits=(
            "It needs the whole distribution of each next token.",
            "Of texts of a few tokens it is one token that counts.",
        ),
        cost="one forward pass of each candidate",
        threat=_threat(),
        tasks=_CAUSAL,
    ),
    AttackCard(
        name="zlib",
        summary="Takes a text for a member the more, the lower its loss is for how little zlib shrinks it.",
        target="fedsec.attacks.membership.zlib_ratio:ZlibRatio",
        paper="Carlini et al., USENIX Security 2021, section 5.",
        limits=("Short texts hardly shrink, so that their length decides.",),
        cost="one forward pass of each candidate",
        threat=_threat(),
        tasks=_CAUSAL,
    ),
    AttackCard(
        name="recall",
        summary="Takes a text for a member the more, the less probable it becomes behind texts of non-members.",
        target="fedsec.attacks.membership.recall:Recall",
        parameters=(
            Parameter(
                name="shots",
                default=7,
                summary="texts in the prefix",
                provenance=Provenance.GUESS,
                minimum=1,
                maximum=1000,
            ),
        ),
        paper="Xie et al., ReCaLL, EMNLP 2024, section 3.",
        deviations="the prefix is of records of the clients' kind, each with its end token",
        limits=("It was made for pre-trained models; one that was trained on short texts alone reads no context.",),
        cost="two forward passes of each candidate, one of them behind the prefix",
        threat=_threat(Knowledge.CLIENT_TEXTS_DISTRIBUTION),
        tasks=_CAUSAL,
    ),
)
