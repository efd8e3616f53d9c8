"""Cards of the attacks for audits."""

from fedsec.api import Asset, AttackCard, Behaviour, Position, ThreatModel

CARDS = (
    AttackCard(
        name="canary-direction",
        summary="Takes a canary for trained on the further updates went along the one direction of its gradient.",
        target="fedsec.attacks.audit.canary_direction:CanaryDirection",
        paper="Nasr et al., USENIX Security 2023, section 4.2; Steinke, Nasr and Jagielski, NeurIPS 2023, section 6.",
        deviations="a canary counts in its client's updates only, less the others' mean; all steps are added up",
        limits=(
            "Canaries are gradients that no text may have: it tests the mechanism, not what texts leak.",
            "It looks for records at the server: noise that the server adds protects against others than the server.",
            "AdamW makes a step of the same size of every gradient, and hides how large a canary was.",
        ),
        cost="a look at one entry of an update for each canary, in each round",
        threat=ThreatModel(
            position=Position.SERVER,
            behaviour=Behaviour.CURIOUS,
            goal="audit",
            needs=frozenset({Asset.AGGREGATE}),
            budget="the updates of the rounds that it sees",
        ),
    ),
    AttackCard(
        name="canary-client",
        summary="A client takes another for present the further the global model went along its one direction.",
        target="fedsec.attacks.audit.canary_direction:CanaryDirection",
        paper="Andrew et al., One-shot Empirical Privacy Estimation for Federated Learning, ICLR 2024, algorithm 2.",
        deviations="single entries in place of random directions; coins, where the paper knows how others are spread",
        limits=(
            "A canary is a whole client: hundreds of clients are needed, of which most may be canaries.",
            "It looks from a client, where noise that the server adds protects.",
            "It sees the step of the global model: server optimizers with a memory blur it.",
        ),
        cost="a look at one entry of the step for each canary, in each round",
        threat=ThreatModel(
            position=Position.CLIENT,
            behaviour=Behaviour.CURIOUS,
            goal="audit",
            needs=frozenset({Asset.AGGREGATE}),
            budget="the global models of the rounds that it sees",
        ),
    ),
)
