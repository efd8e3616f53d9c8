"""Cards of the Byzantine attacks."""

from fedsec.api import AttackCard, Behaviour, Goal, Parameter, Position, ThreatModel

CARDS = (
    AttackCard(
        name="sign-flip",
        summary="A malicious client sends its own honest update, negated and scaled.",
        target="fedsec.attacks.byzantine.sign_flip:SignFlip",
        parameters=(
            Parameter(name="scale", default=1.0, summary="factor of the negated update", minimum=0.0, maximum=1e6),
        ),
        paper="Li et al., RSA, AAAI 2019 (sign-flipping attack); Karimireddy et al., ICML 2021, section 6.",
        deviations="negates the client's own update (as in ICML 2021), not the honest mean",
        limits=(
            "At scale 1 a small minority only slows the mean down.",
            "At large scales any norm check sees it.",
        ),
        cost="one multiplication of the update",
        threat=ThreatModel(
            position=Position.CLIENT,
            behaviour=Behaviour.MALICIOUS,
            goal=Goal.UNTARGETED,
            budget="threat.malicious clients, every round that they are sampled in",
        ),
    ),
)
