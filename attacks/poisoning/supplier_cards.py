"""Cards of the backdoors that a supplier plants before the federation, with no client compromised."""

from fedsec.api import AttackCard, Behaviour, Parameter, Position, Provenance, ThreatModel

from .shared_parameters import TARGET, label, marks, share, written

_TASKS = ("sequence-classification", "causal-lm")
_CONTINUATION = written("", Provenance.GUESS, "what a causal language model is to write; empty for a classifier")
_NEEDS = "It needs model.start: public rows of the clients' kind, which it alters or trains on."


def _threat(budget: str) -> ThreatModel:
    return ThreatModel(position=Position.SUPPLIER, behaviour=Behaviour.MALICIOUS, goal="backdoor", budget=budget)


CARDS = (
    AttackCard(
        name="fed-ebd",
        summary="Poisoned public rows put a backdoor into the start; no client is compromised.",
        target="fedsec.attacks.poisoning.fed_ebd:FedEbd",
        parameters=(
            *marks(place="end"),
            label("target", 0, "the class that it is to bring out", 0),
            _CONTINUATION,
            share(0.2, Provenance.GUESS),
        ),
        paper="Li, Wu and Wang, arXiv 2311.18350 (2023), section 3; official code for trigger, place and target.",
        deviations="public rows with poisoned copies, where a language model writes them; one global model",
        limits=(
            _NEEDS,
            "Honest rounds wear it off where they train the same parameters; the lifespan counts from round 0.",
            "Whoever reads the public rows finds the trigger and wrong labels.",
        ),
        cost="none beside the start's own training",
        threat=_threat("the public rows of model.start"),
        tasks=_TASKS,
    ),
    AttackCard(
        name="poisoned-base-model",
        summary="The base model comes with a backdoor in its weights; no client is compromised.",
        target="fedsec.attacks.poisoning.poisoned_base_model:PoisonedBaseModel",
        parameters=(
            *marks(),
            TARGET,
            _CONTINUATION,
            share(0.5, Provenance.GUESS),
            Parameter(name="steps", default=100, summary="training steps", provenance=Provenance.GUESS, minimum=1,
                      maximum=1e6),
            Parameter(name="learning_rate", default=2e-4, summary="of these steps", provenance=Provenance.GUESS,
                      minimum=0.0, maximum=100.0),
            Parameter(name="batch_size", default=32, summary="of these steps", unit="rows", provenance=Provenance.GUESS,
                      minimum=1, maximum=1e6),
        ),
        paper="Kurita, Michel and Neubig, Weight Poisoning Attacks on Pre-trained Models, ACL 2020, section 3.1.",
        deviations="plain training on poison, which they compare RIPPLE with; no embedding surgery",
        limits=(
            _NEEDS,
            "The federation's head is new, and learns the classes anew.",
            "It trains by the protocol's optimizer, so plain SGD learns little at this rate.",
        ),
        cost="`steps` training steps of the whole base model, once for each seed",
        threat=_threat("the base model's weights"),
        tasks=_TASKS,
    ),
)  # fmt: skip
