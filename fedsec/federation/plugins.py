"""The chosen plug-ins as the round loop uses them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedsec.api import (
    AggregateHook,
    Exchange,
    Filter,
    GlobalModelHook,
    ModelHook,
    ModelSetup,
    Population,
    QueryHook,
    ReleaseHook,
    VectorRule,
    WeightRule,
    implements,
)
from fedsec.api.hooks import CLIENT_SIDE, METHODS, OBSERVE
from fedsec.errors import FedsecError


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plug-in with its parameters."""

    label: str
    make: Callable[[], Any]
    precondition: Callable[[Population], str | None] | None = None
    """Why it cannot run for a population, or None."""
    asked: tuple[str, ...] = ()
    """Methods that it may have instead of hooks: what the attack's goal asks."""


class Stack:
    """A defense stack: one instance of each defense for the model and the server, and one per client.

    Args:
        plugins: the stack in its order.

    Raises:
        FedsecError: a defense has no hook at all, there is more than one rule or exchange, or rows are asked for
            beside an exchange that hides them.
    """

    def __init__(self, plugins: tuple[Plugin, ...]) -> None:
        self._plugins = plugins
        self._made = [checked(plugin) for plugin in plugins]
        rules = self._with("weights") + self._with("vector")
        exchanges = self._with("exchange")
        if len(rules) > 1:
            raise FedsecError(f"a stack holds one rule, not {' and '.join(label for label, _ in rules)}")
        if len(exchanges) > 1:
            raise FedsecError(f"a stack holds one exchange, not {' and '.join(label for label, _ in exchanges)}")
        for label, _ in (rules + self._with("mix")) if exchanges else []:
            raise FedsecError(f"{label} needs single rows, which {exchanges[0][0]} hides")
        self.rule: WeightRule | VectorRule | None = rules[0][1] if rules else None
        self.rule_label = rules[0][0] if rules else "none"
        self.exchange: tuple[str, Exchange] | None = exchanges[0] if exchanges else None
        self._setup: ModelSetup | None = None

    @property
    def filters(self) -> list[tuple[str, Filter]]:
        """Return the stack's filters with their labels."""
        return self._with("mix")

    @property
    def aggregate_hooks(self) -> list[tuple[str, AggregateHook]]:
        """Return the stack's hooks on the aggregate, with labels."""
        return self._with("on_aggregate")

    @property
    def model_hooks(self) -> list[tuple[str, GlobalModelHook]]:
        """Return the stack's hooks on the new global model, with labels."""
        return self._with("on_model")

    @property
    def release_hooks(self) -> list[tuple[str, ReleaseHook]]:
        """Return the stack's hooks before the release, with labels."""
        return self._with("on_release")

    @property
    def query_hooks(self) -> list[tuple[str, QueryHook]]:
        """Return the stack's inference-time defenses, with labels."""
        return self._with("on_query")

    def refusal(self, label: str, population: Population) -> str | None:
        """Return why the plug-in of that label cannot run for this population, or None."""
        checks = (plugin.precondition for plugin in self._plugins if plugin.label == label and plugin.precondition)
        return next((reason for check in checks if (reason := check(population))), None)

    def set_up(self, setup: ModelSetup) -> ModelSetup:
        """Return the setup after every defense of the stack that acts on the model (step 0)."""
        self._setup = setup
        hooks: list[tuple[str, ModelHook]] = self._with("setup_model")
        for _, hook in hooks:
            setup = hook.setup_model(setup)
        return setup

    def for_client(self) -> list[tuple[str, Any]]:
        """Return a client's own instances of the stack's client-side defenses, each with its unique label."""
        return [
            (f"defense {place} {plugin.label}", checked(plugin))
            for place, (plugin, made) in enumerate(zip(self._plugins, self._made, strict=True))
            if any(implements(made, method) for method in CLIENT_SIDE)
        ]

    def fresh(self) -> "Stack":
        """Return the same stack, set up for the same model, without any state."""
        stack = Stack(self._plugins)
        if self._setup is not None:
            stack.set_up(self._setup)
        return stack

    def state(self) -> dict[str, Any]:
        """Return the state of the server's instances, by index in the stack."""
        return state_of(self._made)

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore the state of the server's instances."""
        load_state_of(self._made, state)

    def go_on_from(self, trained: Mapping[str, Any], places: Sequence[int]) -> None:
        """Take up the state of those of the server's instances that took part in a training.

        Args:
            trained: the state of the stack of the training.
            places: where its plug-ins stand in this stack, in their order.
        """
        for own, memory in trained.items():
            self._made[places[int(own)]].load_state(memory)

    def _with(self, method: str) -> list[tuple[str, Any]]:
        pairs = zip(self._plugins, self._made, strict=True)
        return [(plugin.label, made) for plugin, made in pairs if implements(made, method)]


def checked(plugin: Plugin) -> Any:
    """Return an instance of a plug-in; FedsecError if it has no hook, or only one of state() and load_state().

    It would do nothing without any hook, and lose its memory in a resumed run with only one half of it.
    """
    made = plugin.make()
    known = (*METHODS, *plugin.asked)
    if not any(implements(made, method) for method in known):
        raise FedsecError(f"{plugin.label} has none of the hooks {', '.join(known)}: it would do nothing")
    if implements(made, OBSERVE) and not implements(made, "state"):
        raise FedsecError(f"{plugin.label} has observe(), and no state() and load_state() to keep what it saw in")
    if implements(made, "state") != implements(made, "load_state"):
        raise FedsecError(f"{plugin.label} needs both state() and load_state(), or neither")
    return made


def state_of(plugins: list[Any]) -> dict[str, Any]:
    """Return the state of those plug-ins that have one, by index."""
    return {str(place): dict(made.state()) for place, made in enumerate(plugins) if implements(made, "state")}


def load_state_of(plugins: list[Any], state: Mapping[str, Any]) -> None:
    """Restore the state of plug-ins.

    Raises:
        FedsecError: the state is of other plug-ins.
    """
    stateful = {str(place) for place, made in enumerate(plugins) if implements(made, "state")}
    if stateful != set(state):
        raise FedsecError("the checkpoint is of other plug-ins")
    for place, memory in state.items():
        plugins[int(place)].load_state(memory)
