"""Chosen plug-ins as the round loop uses them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fedsec.api import Filter, ModelHook, ModelSetup, Population, UpdateHook, WeightRule


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plug-in with its parameters bound; every client that runs it gets an instance of its own."""

    label: str
    make: Callable[[], Any]
    precondition: Callable[[Population], str | None] | None = None
    """Why it cannot run for a population, or None."""


class ServerSide:
    """The server's part of a defense stack, in the stack's order."""

    def __init__(self, stack: tuple[Plugin, ...]) -> None:
        instances = [(plugin, plugin.make()) for plugin in stack]
        self.filters = [made for _, made in instances if isinstance(made, Filter)]
        rules = [(plugin, made) for plugin, made in instances if isinstance(made, WeightRule)]
        if len(rules) > 1:
            raise ValueError(f"a stack holds one rule, not {', '.join(plugin.label for plugin, _ in rules)}")
        self.rule: WeightRule | None = rules[0][1] if rules else None
        self._precondition = rules[0][0].precondition if rules else None

    def refusal(self, population: Population) -> str | None:
        """Why the rule cannot decide for this population, or None."""
        return self._precondition(population) if self._precondition else None


def client_side(stack: tuple[Plugin, ...]) -> list[UpdateHook]:
    """One client's own instances of the stack's client-side parts."""
    made = (plugin.make() for plugin in stack)
    return [hook for hook in made if isinstance(hook, UpdateHook)]


def set_up(setup: ModelSetup, stack: tuple[Plugin, ...]) -> ModelSetup:
    """The setup after every defense of the stack that acts on the model (step 0)."""
    for plugin in stack:
        made = plugin.make()
        if isinstance(made, ModelHook):
            setup = made.setup_model(setup)
    return setup
