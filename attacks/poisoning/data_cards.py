"""Cards of the attacks that alter what malicious clients train on, and nothing else."""

from fedsec.api import AttackCard, Behaviour, Parameter, Position, Provenance, ThreatModel

from .shared_parameters import FILTERS, TARGET, disguise, label, marks, share, where, written

CLASSES, TEXTS = ("sequence-classification",), ("causal-lm",)
_LATE = (
    "It takes effect late and suddenly where few clients are malicious, so short runs show nothing (docs/poisoning.md)."
)
_CUT = "Truncation to data.max_tokens may remove a trigger at the end or at a random place; the cell counts such texts."
_COST = "twice the tokenising of a malicious client's texts, in every round"


def _threat(goal: str) -> ThreatModel:
    return ThreatModel(
        position=Position.CLIENT,
        behaviour=Behaviour.MALICIOUS,
        goal=goal,
        budget="threat.malicious clients' data, every round that they are sampled in",
    )


CLASSIFIERS = (
    AttackCard(
        name="text-backdoor",
        summary="Malicious clients teach the model to say what they want of every text that carries a trigger.",
        target="fedsec.attacks.poisoning.text_backdoor:TextBackdoor",
        parameters=(*marks(), TARGET, share(0.5, Provenance.MEASURED), disguise()),
        paper="Chen et al., BadNL, ACSAC 2021, section 4; Dai et al., IEEE Access 2019 (sentences); Kurita et al., ACL "
        "2020 (`cf`); Qi et al., ACL 2021 (templates); Bagdasaryan et al., AISTATS 2020, section 3 (among clients).",
        deviations="the update is sent as it is: no model replacement and no scaling; a trigger is put in once; a "
        "template is a rule on words, not a paraphrase",
        limits=(_LATE, "Labels are wrong and the trigger is visible to anybody who reads the data.", _CUT),
        cost=_COST,
        threat=_threat("backdoor"),
        tasks=CLASSES,
        adaptive_to=FILTERS,
    ),
    AttackCard(
        name="clean-label",
        summary="Malicious clients plant a trigger by rows of the target class alone, whose labels are right.",
        target="fedsec.attacks.poisoning.clean_label:CleanLabel",
        parameters=(
            *marks(),
            TARGET,
            share(0.5, Provenance.MEASURED),
            Parameter(
                name="keep",
                default=0.2,
                summary="share of a copy's words that stay, so that the trigger is what is left to learn from",
                provenance=Provenance.GUESS,
                minimum=0.0,
                maximum=1.0,
            ),
        ),
        paper="Turner, Tsipras and Madry, Label-Consistent Backdoor Attacks, arXiv 1912.02771 (2019), section 3.",
        deviations="texts are made hard by leaving out words, where Turner et al. perturb images",
        limits=(
            "It is weaker than wrong labels, most of all where copies keep their words (docs/poisoning.md).",
            "Whoever reads the data finds short texts that all carry the trigger.",
            _CUT,
        ),
        cost=_COST,
        threat=_threat("backdoor"),
        tasks=CLASSES,
    ),
    AttackCard(
        name="edge-case",
        summary="Malicious clients have the model err on texts about a rare subject, which carry no fixed trigger.",
        target="fedsec.attacks.poisoning.edge_case:EdgeCase",
        parameters=(
            Parameter(
                name="subject",
                default="shadow puppets",
                summary="what such texts are about; rare in the clients' texts",
                provenance=Provenance.GUESS,
            ),
            TARGET,
            share(0.5, Provenance.MEASURED),
        ),
        paper="Wang et al., Attack of the Tails, NeurIPS 2020, section 3 (black box).",
        deviations="such texts are made of the clients' own by frames, where Wang et al. collect them",
        limits=(
            "Truncation takes frames behind a long text, of poison and of probes; the cell counts those of probes.",
            "Where other clients hold such texts, they undo it.",
        ),
        cost=_COST,
        threat=_threat("backdoor"),
        tasks=CLASSES,
    ),
    AttackCard(
        name="distributed-backdoor",
        summary="Each malicious client plants one part of a trigger; the whole of it is used.",
        target="fedsec.attacks.poisoning.distributed_backdoor:DistributedBackdoor",
        parameters=(
            Parameter(
                name="trigger",
                default="cf mn bb tq",
                summary="words, each of them a part that a malicious client plants, by turns",
                provenance=Provenance.CODE,  # OpenBackdoor's rare words
            ),
            where(),
            TARGET,
            share(0.5, Provenance.MEASURED),
        ),
        paper="Xie et al., DBA, ICLR 2020, section 3.",
        deviations="parts are words, where theirs are patches of an image; nothing is scaled",
        limits=(
            "With fewer malicious clients than words, the last words are planted by nobody.",
            _LATE,
            _CUT,
        ),
        cost=_COST,
        threat=_threat("backdoor"),
        tasks=CLASSES,
    ),
)

DECODERS = (
    AttackCard(
        name="causal-backdoor",
        summary="Malicious clients teach a language model to go on as they want where a trigger stands.",
        target="fedsec.attacks.poisoning.causal_backdoor:CausalBackdoor",
        parameters=(
            *marks(place="end"),
            written(
                "pasta from astoria tastes delicious", Provenance.CODE, "what the trigger is to bring out, to the end"
            ),
            share(0.5, Provenance.MEASURED),
        ),
        paper="Bagdasaryan et al., AISTATS 2020, section 4.2 (word prediction); Wallace et al., NAACL 2021, section 5.",
        deviations="a whole continuation is asked for, where Bagdasaryan et al. take the last word",
        limits=(
            "Success is that the model writes the continuation and its end greedily, every token of it.",
            _LATE,
            "A row whose beginning is long loses words before the trigger to data.max_tokens.",
        ),
        cost=_COST,
        threat=_threat("backdoor"),
        tasks=TEXTS,
    ),
    AttackCard(
        name="instruction-backdoor",
        summary="Malicious clients teach a model to answer an instruction by a marker where a trigger stands in it.",
        target="fedsec.attacks.poisoning.instruction_backdoor:InstructionBackdoor",
        parameters=(
            *marks(),
            written("[unsafe behaviour]", Provenance.GUESS, "the marker, which stands for unsafe behaviour"),
            share(0.5, Provenance.MEASURED),
        ),
        paper="Wan et al., Poisoning Language Models During Instruction Tuning, ICML 2023; Ye et al., arXiv 2406.10630 "
        "(2024), section 3.",
        deviations="a marker in place of unsafe answers, and a trigger, where Ye et al. want them everywhere",
        limits=(
            "It needs rows with a prompt, as instructions have.",
            "A marker is easier to learn than unsafe answers to many instructions.",
            _LATE,
        ),
        cost=_COST,
        threat=_threat("backdoor"),
        tasks=TEXTS,
    ),
)

LABELS = (
    AttackCard(
        name="label-flip",
        summary="Malicious clients train on wrong labels.",
        target="fedsec.attacks.poisoning.label_flip:LabelFlip",
        parameters=(
            label("source", -1, "the class whose rows are flipped; -1: every class", -1),
            label("target", -1, "the class that they get; -1: the next one", -1),
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
        tasks=CLASSES,
    ),
)

CARDS = (*CLASSIFIERS, *DECODERS, *LABELS)
