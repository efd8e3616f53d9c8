"""Chosen plug-ins as the round loop uses them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fedsec.api import Filter, ModelHook, ModelSetup, Population, UpdateHook, VectorRule, WeightRule, implements
from fedsec.api.hooks import METHODS
from fedsec.errors import FedsecError


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plug-in with its parameters bound."""

    label: str
    make: Callable[[], Any]
    precondition: Callable[[Population], str | None] | None = None
    """Why it cannot run for a population, or None."""


class Stack:
    """A defense stack: one instance of each defense for the model and the server, and one per client.

    Args:
        plugins: the stack in its order.

    Raises:
        FedsecError: a defense has no hook at all, or there is more than one rule.
    """

    def __init__(self, plugins: tuple[Plugin, ...]) -> None:
        self._plugins = plugins
        self._made = [checked(plugin) for plugin in plugins]
        rules = [
            (plugin, made)
            for plugin, made in zip(plugins, self._made, strict=True)
            if implements(made, "weights") or implements(made, "vector")
        ]
        if len(rules) > 1:
            raise FedsecError(f"a stack holds one rule, not {' and '.join(plugin.label for plugin, _ in rules)}")
        self.rule: WeightRule | VectorRule | None = rules[0][1] if rules else None
        self.rule_label = rules[0][0].label if rules else "none"
        self._precondition = rules[0][0].precondition if rules else None

    @property
    def filters(self) -> list[tuple[str, Filter]]:
        """The stack's filters with their labels."""
        return [
            (plugin.label, made)
            for plugin, made in zip(self._plugins, self._made, strict=True)
            if implements(made, "mix")
        ]

    def refusal(self, population: Population) -> str | None:
        """Why the rule cannot decide for this population, or None."""
        return self._precondition(population) if self._precondition else None

    def set_up(self, setup: ModelSetup) -> ModelSetup:
        """The setup after every defense of the stack that acts on the model (step 0)."""
        for made in self._made:
            if implements(made, "setup_model"):
                hook: ModelHook = made
                setup = hook.setup_model(setup)
        return setup

    def for_client(self) -> list[tuple[str, UpdateHook]]:
        """A client's own instances of the stack's client-side parts, each with a label unique in the stack."""
        return [
            (f"defense {place} {plugin.label}", checked(plugin))
            for place, (plugin, made) in enumerate(zip(self._plugins, self._made, strict=True))
            if implements(made, "on_update")
        ]


def checked(plugin: Plugin) -> Any:
    """An instance of a plug-in; FedsecError if it has none of the hooks, which would make it do nothing."""
    made = plugin.make()
    if not any(implements(made, method) for method in METHODS):
        raise FedsecError(f"{plugin.label} has none of the hooks {', '.join(METHODS)}: it would do nothing")
    return made
