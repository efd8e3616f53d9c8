"""What our federation is tested against, beside fedsec's own attacks."""

from fedsec.api import AttackCard, Behaviour, Parameter, Position, Provenance, ThreatModel

CARDS = (
    AttackCard(
        name="backwards",
        summary="A hospital sends its update backwards, several times as long.",
        target=".backwards:Backwards",
        parameters=(
            Parameter(name="scale", default=10.0, summary="honest lengths", minimum=0.0, provenance=Provenance.GUESS),
        ),
        threat=ThreatModel(position=Position.CLIENT, behaviour=Behaviour.MALICIOUS, goal="untargeted"),
        paper="none: our own",
        limits=("A bound on norms stops it.",),
        cost="one product per update",
    ),
)
