"""Cards of the attacks on membership."""

from fedsec.api import Asset, AttackCard, Behaviour, Knowledge, Position, ThreatModel


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
    AttackCard(
        name="loss",
        summary="Takes a record for a member the more, the lower its loss is under the released model.",
        target="fedsec.attacks.membership.loss:Loss",
        paper="Yeom et al., CSF 2018, section 3 (threshold adversary).",
        deviations="the loss itself is the score, and every threshold is tried when it is scored",
        limits=(
            "Tells little before the model fits its members better than others: on CoLA with LoRA an AUC of .53 after "
            "5 rounds and .74 after 30.",
            "Records that are easy, or hard, for every model look alike to it: weak at low false positive rates, where "
            "attacks that train models of their own do better.",
            "A defense that refuses to answer leaves it the others' mean for that candidate.",
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
            "Gains what the base model knows of language: nothing where its weights are random.",
            "Not for classification: the head of a base model is random, so that its losses say nothing of a record "
            "(measured on CoLA: the AUC of loss, within .01).",
            "Where the base model itself was trained on the candidates, its losses hide what they should show.",
        ),
        cost="two forward passes of each candidate",
        threat=_threat(Knowledge.BASE_MODEL),
        tasks=("causal-lm",),
    ),
)
