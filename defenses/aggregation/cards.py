"""Cards of the aggregation rules."""

from collections.abc import Mapping

from fedsec.api import DefenseCard, Parameter, Population, Provenance
from fedsec.api.cards import ParameterValue


def krum_precondition(population: Population, parameters: Mapping[str, ParameterValue]) -> str | None:
    """Blanchard: n >= 2f + 3; Allouah: n > 2f."""
    n, f = population.clients, population.declared_malicious
    if parameters["neighbours"] == "blanchard":
        return None if n >= 2 * f + 3 else f"Krum (Blanchard) needs n >= 2f+3 = {2 * f + 3}, has {n}"
    return None if n > 2 * f else f"Krum (Allouah) needs n > 2f = {2 * f}, has {n}"


def krum_assumption_broken(population: Population, parameters: Mapping[str, ParameterValue]) -> str | None:
    """Blanchard's theorem is about his neighbours, at most f malicious rows, and identically distributed others."""
    if parameters["neighbours"] != "blanchard":
        return "the theorem is about Blanchard's neighbours"
    if population.malicious > population.declared_malicious:
        return f"{population.malicious} clients are malicious, more than the declared {population.declared_malicious}"
    return None if population.identically_distributed else "the clients' data are not identically distributed"


CARDS = (
    DefenseCard(
        name="krum",
        summary="Keeps the one row that is closest to its nearest neighbours.",
        target="fedsec.defenses.aggregation.krum:Krum",
        parameters=(
            Parameter(
                name="neighbours",
                default="blanchard",
                choices=("blanchard", "allouah"),
                summary="n-f-2 nearest others (Blanchard et al.) or n-f nearest including itself (Allouah et al.)",
                provenance=Provenance.PAPER,
            ),
        ),
        protects="robustness",
        guarantee="(alpha, f)-Byzantine resilience for n >= 2f+3 identically distributed rows of low variance",
        precondition=krum_precondition,
        assumption_broken=krum_assumption_broken,
        is_rule=True,
        paper="Blanchard et al., NeurIPS 2017, section 4; Allouah et al., AISTATS 2023, appendix.",
        limits=(
            "Returns a single client's update: slow and unfair to the others when clients' data differ.",
            "Small, well-placed forgeries (ALIE, IPM) are chosen rather than refused.",
        ),
        cost="one Gram product of the rows",
    ),
)
