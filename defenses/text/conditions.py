"""Preconditions of the defenses of texts."""

from collections.abc import Callable, Mapping

from fedsec.api import Population
from fedsec.api.cards import ParameterValue

Precondition = Callable[[Population, Mapping[str, ParameterValue]], str | None]
_CLASSES = "sequence-classification"


def language_known(name: str, *, classes: bool) -> Precondition:
    """Return the precondition that a language model is granted, and perhaps that the model tells classes apart."""

    def check(population: Population, parameters: Mapping[str, ParameterValue]) -> str | None:
        if classes and (other := _writes(name, population)):
            return other
        if population.language_model:
            return None
        return f"{name} needs a language model, and clean texts to set its threshold on: give data.language_model"

    return check


def server_holds_texts(name: str) -> Precondition:
    """Return the precondition that the server holds clean texts, and that the model tells classes apart."""

    def check(population: Population, parameters: Mapping[str, ParameterValue]) -> str | None:
        if population.trusted == 0:
            return f"{name} needs data.trusted: clean rows that the server holds; it holds 0"
        return _writes(name, population)

    return check


def tells_classes(name: str) -> Precondition:
    """Return the precondition that the model tells classes apart."""
    return lambda population, parameters: _writes(name, population)


def _writes(name: str, population: Population) -> str | None:
    if population.task == _CLASSES:
        return None
    return f"{name} is for models that tell classes apart, and model.task is {population.task}"
