"""Cards of the attacks on membership."""

from fedsec.api import Asset, AttackCard, Behaviour, Knowledge, Position, ThreatModel

from .causal_cards import CARDS as CAUSAL
from .shadow_cards import CARDS as BY_SHADOWS
from .update_cards import CARDS as ON_UPDATES


def _threat(*knowledge: Knowledge) -> ThreatModel:
    return ThreatModel(
        position=Position.RELEASED_MODEL,
        behaviour=Behaviour.CURIOUS,
        goal="membership",
        needs=frozenset({Asset.RELEASED_MODEL}),
        knowledge=frozenset(knowledge),
        budget="one query of the released model for each candidate",
    )


CARDS = (
    *ON_UPDATES,
    *BY_SHADOWS,
    *CAUSAL,
    AttackCard(
        name="loss",
        summary="Takes a record for a member the more, the lower its loss is under the released model.",
        target="fedsec.attacks.membership.loss:Loss",
        paper="Yeom et al., CSF 2018, section 3 (threshold adversary).",
        deviations="the loss itself is the score, and every threshold is tried when it is scored",
        limits=(
            "It tells little before the model fits members better than non-members (docs/membership.md).",
            "Records that are easy or hard for every model mislead it, so it is weak at low false positive rates.",
            "Where a defense refuses to answer, the candidate gets the mean of the others.",
        ),
        cost="one forward pass of each candidate",
        threat=_threat(),
    ),
    AttackCard(
        name="reference",
        summary="Takes a text for a member the more, the further training has lowered its loss below the base model's.",
        target="fedsec.attacks.membership.reference:Reference",
        paper="Carlini et al., USENIX Security 2021, section 5; Mireshghallah et al., EMNLP 2022, section 3.",
        deviations="the reference is the model that training began with, and a difference is taken, no ratio",
        limits=(
            "It gains nothing where the base model has random weights.",
            "It is for causal language models only: the head of a base classifier is random, and so are its losses.",
            "A base model that was trained on the candidates hides what it looks for.",
        ),
        cost="two forward passes of each candidate",
        threat=_threat(Knowledge.BASE_MODEL),
        tasks=("causal-lm",),
    ),
)
