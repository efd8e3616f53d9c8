"""Preconditions of the defenses that look for malicious updates."""

from collections.abc import Callable, Mapping

from fedsec.api import Population
from fedsec.api.cards import ParameterValue

Precondition = Callable[[Population, Mapping[str, ParameterValue]], str | None]


def honest_majority(name: str) -> Precondition:
    """Return the precondition n > 2f."""

    def check(population: Population, parameters: Mapping[str, ParameterValue]) -> str | None:
        n, f = population.clients, population.declared_malicious
        return None if n > 2 * f else f"{name} needs n > 2f = {2 * f}, has {n}"

    return check


def window_over(population: Population, parameters: Mapping[str, ParameterValue]) -> str | None:
    """Check FLDetector's preconditions: n > 2f, and a round in which the window is over."""
    first, rounds = int(parameters["window"]) + 2, population.rounds
    if rounds is not None and rounds < first:
        fits = f"set window to {rounds - 2} or less, or train for more" if rounds > 2 else "train for more"
        return f"fldetector drops nobody before round {first}, and training ends with round {rounds}: {fits}"
    return honest_majority("fldetector")(population, parameters)


def three_rows(population: Population, parameters: Mapping[str, ParameterValue]) -> str | None:
    """Check FLAME's precondition: a majority of honest rows, among three at least."""
    n, f = population.clients, population.declared_malicious
    return None if n >= max(3, 2 * f + 1) else f"flame needs n >= {max(3, 2 * f + 1)} (3, and n > 2f), has {n}"


def fewer_dropped_than_sent(population: Population, parameters: Mapping[str, ParameterValue]) -> str | None:
    """Check DnC's precondition: n > 2f, and c f < n."""
    n, f, filtered = population.clients, population.declared_malicious, float(parameters["filtered"])
    if n <= 2 * f:
        return f"dnc needs n > 2f = {2 * f}, has {n}"
    return None if filtered * f < n else f"dnc drops filtered * f = {filtered * f:g} rows, and has {n}"


def agreement_possible(population: Population, parameters: Mapping[str, ParameterValue]) -> str | None:
    """Check RLR's precondition: all honest rows together reach the threshold against all others."""
    n, f = population.clients, population.declared_malicious
    least = int(parameters["threshold"]) or f + 1
    return None if least <= n else f"sign-majority needs threshold <= n = {n}, has {least}: every sign would be turned"


def server_holds_rows(population: Population, parameters: Mapping[str, ParameterValue]) -> str | None:
    """Check Zeno's precondition: samples at the server, and fewer rows to drop than there are."""
    n, f = population.clients, population.declared_malicious
    if population.trusted == 0:
        return "zeno needs data.trusted: rows that the server holds; it holds 0"
    return None if n > f else f"zeno drops f = {f} rows, and has {n}"
