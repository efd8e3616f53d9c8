"""Cards of the defenses that mend the model before its release."""

from collections.abc import Callable, Mapping

from fedsec.api import DefenseCard, Parameter, Population, Provenance
from fedsec.api.cards import ParameterValue


def _holds_samples(name: str) -> Callable[[Population, Mapping[str, ParameterValue]], str | None]:
    """Return the precondition that the server holds samples."""

    def check(population: Population, _: Mapping[str, ParameterValue]) -> str | None:
        return None if population.trusted else f"{name} needs data.trusted: rows that the server holds; it holds 0"

    return check


def _tuning(least: int) -> tuple[Parameter, ...]:
    """Return the parameters of the server's training."""
    guess = Provenance.GUESS
    return (
        Parameter(
            name="steps", default=50, summary="steps on the server's samples", provenance=guess, minimum=least,
            maximum=1e6,
        ),
        Parameter(
            name="learning_rate", default=0.0, summary="of these steps; 0: the protocol's", provenance=guess,
            minimum=0.0, maximum=100.0,
        ),
        Parameter(
            name="batch_size", default=0, summary="of these steps; 0: the protocol's", unit="rows", provenance=guess,
            minimum=0, maximum=1e6,
        ),
    )  # fmt: skip


CARDS = (
    DefenseCard(
        name="server-finetune",
        summary="Before the release, the server trains the model on samples of its own.",
        target="fedsec.defenses.release.server_finetune:ServerFinetune",
        parameters=_tuning(1),
        protects="robustness",
        precondition=_holds_samples("server-finetune"),
        paper="Ye et al., arXiv 2406.10630 (2024), section 4; Liu et al., Fine-Pruning, RAID 2018, section 3.2.",
        deviations="samples are rows that the server was given, where Ye et al. have them written by a model",
        limits=(
            "A backdoor costs no loss on samples without its trigger, so little training removes it from them.",
            "Few samples are learnt by heart: accuracy on others falls with many steps.",
            "It needs samples at the server (data.trusted) that are like the clients'.",
        ),
        cost="`steps` training steps, once",
    ),
    DefenseCard(
        name="neuron-pruning",
        summary="Before the release, units that the server's samples leave idle are cut out, and the rest is tuned.",
        target="fedsec.defenses.release.neuron_pruning:NeuronPruning",
        parameters=(
            Parameter(
                name="drop", default=0.04, summary="accuracy on the server's samples that pruning may cost",
                minimum=0.0, maximum=1.0,
            ),
            Parameter(
                name="group", default=0.05, summary="share of the units that are cut out at a time",
                provenance=Provenance.GUESS, minimum=1e-4, maximum=1.0,
            ),
            *_tuning(0),
        ),
        protects="robustness",
        precondition=_holds_samples("neuron-pruning"),
        paper="Liu, Dolan-Gavitt and Garg, Fine-Pruning, RAID 2018, sections 3.1 and 3.3; 4 % of accuracy.",
        deviations="units of LoRA's bottlenecks, or of the last layer, by the size of their activation and in groups",
        limits=(
            "A backdoor in units that clean texts use stays (the pruning-aware attack of Liu et al., section 3.2).",
            "It needs samples at the server (data.trusted), and LoRA or a trained head.",
            "Weights that no client trains are not looked at, a poisoned base model's among them.",
        ),
        cost="an evaluation of the server's samples for each group, and `steps` training steps",
    ),
)  # fmt: skip
