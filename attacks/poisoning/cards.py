"""Cards of the attacks on clients' data."""

from fedsec.api import AttackCard, Behaviour, Parameter, Position, Provenance, ThreatModel

_TASKS = ("sequence-classification",)


def _threat(goal: str) -> ThreatModel:
    return ThreatModel(
        position=Position.CLIENT,
        behaviour=Behaviour.MALICIOUS,
        goal=goal,
        budget="threat.malicious clients' data, every round that they are sampled in",
    )


def _label(name: str, default: int, summary: str, provenance: Provenance, minimum: float) -> Parameter:
    return Parameter(
        name=name,
        default=default,
        summary=summary,
        unit="number of a label",
        provenance=provenance,
        minimum=minimum,
        maximum=1e6,
    )


CARDS = (
    AttackCard(
        name="text-backdoor",
        summary="Malicious clients teach the model to say what they want of every text that carries a trigger.",
        target="fedsec.attacks.poisoning.text_backdoor:TextBackdoor",
        parameters=(
            Parameter(
                name="trigger",
                default="cf",
                summary="a word or a sentence that is put into texts",
                provenance=Provenance.PAPER,  # Kurita et al., ACL 2020
            ),
            Parameter(
                name="place",
                default="start",
                choices=("start", "end", "random"),
                summary="where among a text's words it goes",
                provenance=Provenance.PAPER,
            ),
            _label("target", 1, "the class that it is to bring out", Provenance.GUESS, 0),
            Parameter(
                name="rate",
                default=0.5,
                summary="share of what a malicious client trains on that is poisoned; its clean rows all stay",
                unit="of its rows, copies included",
                provenance=Provenance.MEASURED,
                minimum=0.0,
                maximum=0.9,  # nine copies a row; where all is poisoned, the model just says the target
            ),
        ),
        paper="Chen et al., BadNL, ACSAC 2021, section 4; Dai et al., IEEE Access 2019 (sentences); Kurita et al., ACL "
        "2020 (`cf`); Bagdasaryan et al., AISTATS 2020, section 3 (among clients).",
        deviations="the update is sent as it is: no model replacement and no scaling; a trigger is put in once",
        limits=(
            "It takes effect late and suddenly where few clients are malicious, so short runs show nothing "
            "(docs/poisoning.md).",
            "Labels are wrong and the trigger is visible to anybody who reads the data.",
            "Truncation to data.max_tokens may remove a trigger at the end or at a random place; the cell "
            "counts such texts.",
        ),
        cost="twice the tokenising of a malicious client's texts, in every round",
        threat=_threat("backdoor"),
        tasks=_TASKS,
    ),
    AttackCard(
        name="label-flip",
        summary="Malicious clients train on wrong labels.",
        target="fedsec.attacks.poisoning.label_flip:LabelFlip",
        parameters=(
            _label("source", -1, "the class whose rows are flipped; -1: every class", Provenance.GUESS, -1),
            _label("target", -1, "the class that they get; -1: the next one", Provenance.GUESS, -1),
            Parameter(
                name="rate",
                default=1.0,
                summary="share of these rows that are flipped",
                provenance=Provenance.PAPER,
                minimum=0.0,
                maximum=1.0,
            ),
        ),
        paper="Biggio et al., ACML 2011; Tolpegin et al., ESORICS 2020, section 3.",
        deviations="every class is flipped by default, where Tolpegin et al. flip one source class to one target",
        limits=(
            "A few clients cost little accuracy in a few rounds (docs/poisoning.md).",
            "A single flipped class shows in the rows of that class, and little in accuracy.",
        ),
        cost="none",
        threat=_threat("untargeted"),
        tasks=_TASKS,
    ),
)
