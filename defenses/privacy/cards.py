"""Cards of the defenses with a guarantee of differential privacy."""

from collections.abc import Mapping
from dataclasses import replace

from fedsec.api import DefenseCard, Parameter, Population, Provenance


def _settled(_: Population, params: Mapping[str, bool | int | float | str]) -> str | None:
    if float(params["epsilon"]) > 0 and float(params["noise_multiplier"]) > 0:
        return "give a target epsilon or a noise_multiplier: set epsilon: 0 beside a noise_multiplier"
    return None


def _adapters(population: Population, params: Mapping[str, bool | int | float | str]) -> str | None:
    if population.tuning != "lora":
        return f"dp-lora trains LoRA factors, and model.tuning.kind is {population.tuning}"
    return _settled(population, params)


_PARAMETERS = (
    Parameter(
        name="epsilon",
        default=8.0,
        summary="target for the whole training, from which the noise is found; 0 takes noise_multiplier as it is",
        provenance=Provenance.GUESS,
        minimum=0.0,
        maximum=1e6,
    ),
    Parameter(
        name="delta",
        default=1e-5,
        summary="at which epsilon is stated; well below one over the records of a client",
        provenance=Provenance.PAPER,
        minimum=1e-30,
        maximum=0.5,
    ),
    Parameter(
        name="clip",
        default=1.0,
        summary="the norm that a row's gradient is scaled down to",
        unit="gradient norm",
        provenance=Provenance.GUESS,
        minimum=1e-9,
    ),
    Parameter(
        name="noise_multiplier",
        default=0.0,
        summary="the noise's standard deviation over clip, where epsilon is 0; 0 clips and adds no noise",
        provenance=Provenance.GUESS,
        minimum=0.0,
        maximum=1e6,
    ),
)
_OF_CLIENTS = {
    "delta": "at which epsilon is stated; well below one over the number of clients",
    "clip": "the norm that a client's update is scaled down to",
}
_LIMITS = (
    "It gives no guarantee with fixed batches, weights by examples or no noise; the scorecard says which.",
    "Noise grows with the root of the trained parameters: above the signal nothing is learnt. AdamW makes it worse.",
    "Each client protects its own records; malicious clients skip it.",
)

CARDS = (
    DefenseCard(
        name="dp-sgd",
        summary="Each client clips every record's gradient and adds Gaussian noise to every step.",
        target="fedsec.defenses.privacy.dp_sgd:DPSGD",
        parameters=_PARAMETERS,
        protects="privacy",
        guarantee=None,
        precondition=_settled,
        paper="Abadi et al., CCS 2016, algorithm 1.",
        deviations="one clip for all layers; noise for a target by the PRV accountant, not the moments accountant",
        limits=_LIMITS,
        passes=60.0,
        cost="about one plain step (one pass for all rows' gradients), and memory of a batch's rows times parameters",
    ),
    DefenseCard(
        name="dp-lora",
        summary="DP-SGD on LoRA factors, so that noise is spread over few parameters.",
        target="fedsec.defenses.privacy.dp_lora:DPLoRA",
        parameters=(
            *_PARAMETERS,
            Parameter(
                name="freeze_a",
                default=False,
                summary="whether each factor A stays as it was drawn (FFA-LoRA)",
                provenance=Provenance.PAPER,
            ),
        ),
        protects="privacy",
        guarantee=None,
        precondition=_adapters,
        paper="Liu et al. 2023 (arXiv:2312.17493), algorithm 1; freeze_a: Sun et al., FFA-LoRA, ICLR 2024, section 3.",
        deviations="a classifier's head is trained and clipped together with the factors",
        limits=_LIMITS,
        passes=60.0,
        cost="about one plain step (one pass for all rows' gradients)",
    ),
    DefenseCard(
        name="dp-fedavg",
        summary="The server clips every client's update and adds Gaussian noise to their sum.",
        target="fedsec.defenses.privacy.dp_fedavg:DPFedAvg",
        parameters=tuple(
            replace(one, summary=_OF_CLIENTS.get(one.name, one.summary), unit=one.unit and "the update's own")
            for one in _PARAMETERS
        ),
        protects="privacy",
        guarantee=None,
        is_rule=True,
        precondition=_settled,
        paper="McMahan et al., ICLR 2018, algorithm 1 (flat clipping, fixed denominator).",
        deviations="equal weights; noise for a target by the PRV accountant, not the moments accountant",
        limits=(
            "It hides clients from those who get the model, not from the server, which sees every update.",
            "Noise is that of the whole sum: with few clients it drowns the signal.",
            "No guarantee behind filters, or where cohorts of fixed size are sampled.",
        ),
        cost="two passes over the updates",
    ),
)
