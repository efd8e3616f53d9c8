"""Preconditions of the aggregation rules, and the assumptions of their theorems."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from fedsec.api import Population
from fedsec.api.cards import ParameterValue

Condition = Callable[[Population, Mapping[str, ParameterValue]], str | None]
"""A condition on a population under a rule's parameters: returns why it does not hold, or None."""


def krum_precondition(population: Population, parameters: Mapping[str, ParameterValue]) -> str | None:
    """Check Krum's precondition: n >= 2f + 3 for Blanchard et al., n > 2f for Allouah et al."""
    n, f = population.clients, population.declared_malicious
    if parameters["neighbours"] == "blanchard":
        return None if n >= 2 * f + 3 else f"Krum (Blanchard) needs n >= 2f+3 = {2 * f + 3}, has {n}"
    return None if n > 2 * f else f"Krum (Allouah) needs n > 2f = {2 * f}, has {n}"


def krum_assumption_broken(population: Population, parameters: Mapping[str, ParameterValue]) -> str | None:
    """Check Blanchard et al.'s theorem: their neighbours, at most f malicious rows, identically distributed others."""
    if parameters["neighbours"] != "blanchard":
        return "the theorem is about Blanchard's neighbours"
    broken = bound_broken(population, parameters)
    same = population.identically_distributed
    return broken or (None if same else "the clients' data are not identically distributed")


def needs_majority(rule: str) -> Condition:
    """Return the check that honest rows outnumber the others: n > 2f. `rule` is its name in the message."""

    def check(population: Population, parameters: Mapping[str, ParameterValue]) -> str | None:
        n, f = population.clients, population.declared_malicious
        return None if n > 2 * f else f"{rule} needs n > 2f = {2 * f}, has {n}"

    return check


def bulyan_precondition(population: Population, parameters: Mapping[str, ParameterValue]) -> str | None:
    """Check Bulyan's precondition, n >= 4f + 3 (El Mhamdi et al.)."""
    n, f = population.clients, population.declared_malicious
    return None if n >= 4 * f + 3 else f"Bulyan needs n >= 4f+3 = {4 * f + 3}, has {n}"


def bucketing_precondition(population: Population, parameters: Mapping[str, ParameterValue]) -> str | None:
    """Check bucketing's precondition: f malicious buckets are a minority, 2f < ceil(n/s) (Karimireddy et al.)."""
    n, f, s = population.clients, population.declared_malicious, int(parameters["s"])
    buckets = -(-n // s)
    return None if buckets > 2 * f else f"bucketing needs ceil(n/s) > 2f = {2 * f}, has {buckets}"


def buckets_left(population: Population, parameters: Mapping[str, ParameterValue]) -> Population:
    """Return the population after bucketing: as many rows as buckets, and as many malicious ones as before."""
    return replace(population, clients=-(-population.clients // int(parameters["s"])))


def more_malicious_than_declared(population: Population, parameters: Mapping[str, ParameterValue]) -> str | None:
    """Check that there are at most f malicious rows, which is what is proven."""
    declared, malicious = population.declared_malicious, population.malicious
    return None if malicious <= declared else f"{malicious} clients are malicious, more than the declared {declared}"


def bulyan_assumption_broken(population: Population, parameters: Mapping[str, ParameterValue]) -> str | None:
    """Check the theorem's assumption: at most f malicious rows among identically distributed others."""
    broken = bound_broken(population, parameters)
    same = population.identically_distributed
    return broken or (None if same else "the clients' data are not identically distributed")


def multi_krum_precondition(population: Population, parameters: Mapping[str, ParameterValue]) -> str | None:
    """Check Multi-Krum's precondition: Krum's, and m <= n-f-2, or n-f for Allouah et al."""
    n, f, m = population.clients, population.declared_malicious, int(parameters["m"])
    refusal = krum_precondition(population, parameters)
    if refusal is not None:
        return refusal.replace("Krum", "Multi-Krum", 1)
    if parameters["neighbours"] == "blanchard":
        return None if m <= n - f - 2 else f"Multi-Krum (Blanchard) needs m <= n-f-2 = {n - f - 2}, has m = {m}"
    return None if m <= n - f else f"Multi-Krum (Allouah) needs m <= n-f = {n - f}, has m = {m}"


def bound_broken(population: Population, parameters: Mapping[str, ParameterValue]) -> str | None:
    """Check the assumptions of bounds against the honest spread: at most f malicious rows, and raw distances."""
    if parameters.get("geometry", "raw") != "raw":
        return "the theorem is about distances between the rows, not between products of LoRA factors"
    return more_malicious_than_declared(population, parameters)


def fltrust_precondition(population: Population, parameters: Mapping[str, ParameterValue]) -> str | None:
    """Check that the server holds samples for an update of its own."""
    return None if population.trusted > 0 else "FLTrust needs data.trusted: rows that the server holds; it holds 0"


def foolsgold_precondition(population: Population, parameters: Mapping[str, ParameterValue]) -> str | None:
    """Check that an output layer is not compared by LoRA products, and that there are two clients."""
    if parameters["features"] == "head" and parameters["geometry"] != "raw":
        return "FoolsGold compares products of LoRA factors among all parameters: set features to all"
    n = population.clients
    return None if n >= 2 else f"FoolsGold compares clients and needs n >= 2, has {n}"


def mean_without_malicious(population: Population, parameters: Mapping[str, ParameterValue]) -> str | None:
    """Check whether nothing is dropped or mixed differently from the plain mean, since f = 0."""
    plain = population.declared_malicious == 0 and population.weighting == "uniform"
    return "with f = 0 it is the plain mean; set threat.declared_malicious" if plain else None
