"""Cards: what a plug-in is, states and needs, readable without importing it."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fedsec.api.metrics import BetterFor
from fedsec.api.threat import Aggregation, Asset, ThreatModel

ParameterValue = bool | int | float | str


class Provenance(StrEnum):
    """Where a default comes from."""

    PAPER = "paper"
    CODE = "official code"
    MEASURED = "measured here"
    GUESS = "guess"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One setting of a plug-in."""

    name: str
    default: ParameterValue
    """Its type is the parameter's type; whole numbers are accepted where a float stands."""
    summary: str
    unit: str = ""
    provenance: Provenance = Provenance.PAPER
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        """What may stand here, in words."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        kind = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[type(self.default)]
        low = f" of at least {self.minimum:g}" if self.minimum is not None else ""
        high = f"{' and' if low else ' of'} at most {self.maximum:g}" if self.maximum is not None else ""
        return kind + low + high

    def problem(self, value: object) -> str | None:
        """Why `value` cannot be used, or None if it can."""
        kind = type(self.default)
        fits = type(value) is kind or (kind is float and type(value) is int)
        if fits and isinstance(value, (int, float)) and not isinstance(value, bool):
            fits = kind is int or abs(value) <= sys.float_info.max  # no NaN, no infinity, nothing beyond a float
            fits = fits and (self.minimum is None or value >= self.minimum)
            fits = fits and (self.maximum is None or value <= self.maximum)
        if fits and self.choices:
            fits = value in self.choices
        return None if fits else f"{value!r} is not allowed; allowed: {self.allowed}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What every registered thing states about itself."""

    name: str
    """kebab-case, unique among its kind."""
    summary: str
    target: str = ""
    """`module:attribute`, imported only when used."""
    parameters: tuple[Parameter, ...] = ()
    paper: str = ""
    """Authors, venue, and the equation or algorithm followed."""
    deviations: str = "none"
    limits: tuple[str, ...] = ()
    """Where it fails or says nothing."""
    cost: str = ""

    def resolve(self, given: Mapping[str, ParameterValue]) -> dict[str, ParameterValue]:
        """All parameters, defaults included, in the card's order, whole numbers made floats where due."""
        values = {p.name: given.get(p.name, p.default) for p in self.parameters}
        return {p.name: float(values[p.name]) if type(p.default) is float else values[p.name] for p in self.parameters}

    def label(self, given: Mapping[str, ParameterValue]) -> str:
        """The name, with every parameter that is not the default in brackets."""
        resolved = self.resolve(given)
        changed = [f"{p.name}={_short(resolved[p.name])}" for p in self.parameters if resolved[p.name] != p.default]
        return f"{self.name}({', '.join(changed)})" if changed else self.name

    def describe(self) -> dict[str, Any]:
        """The card as JSON."""
        return {
            "name": self.name,
            "summary": self.summary,
            "parameters": [
                {
                    "name": p.name,
                    "default": p.default,
                    "summary": p.summary,
                    "unit": p.unit,
                    "allowed": p.allowed,
                    "provenance": p.provenance.value,
                }
                for p in self.parameters
            ],
            "paper": self.paper,
            "deviations": self.deviations,
            "limits": list(self.limits),
            "cost": self.cost,
        }


class Rounds(StrEnum):
    """Which rounds an attack that reads has to see; `threat.attack_rounds` says which it may see."""

    FIRST = "first"
    """The first of these."""
    ATTACKED = "attacked"
    """These."""
    ALL = "all"
    """Every round of the training: `threat.attack_rounds` has to be `all`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackCard(Card):
    """An attack: its threat model and which defenses it adapts to."""

    threat: ThreatModel
    rounds: Rounds = Rounds.ATTACKED
    """Which rounds it has to see, if its position sees rounds."""
    adaptive_to: tuple[str, ...] = ()
    """Defenses that it knows how to meet when `defense-settings` is granted."""
    tasks: tuple[str, ...] = ()
    """What its victims learn (`model.task`); any task if empty."""

    def describe(self) -> dict[str, Any]:
        """The card as JSON."""
        threat = {
            "position": self.threat.position.value,
            "behaviour": self.threat.behaviour.value,
            "goal": self.threat.goal,
            "needs": sorted(a.value for a in self.threat.needs),
            "knowledge": sorted(k.value for k in self.threat.knowledge),
            "budget": self.threat.budget,
        }
        return {
            **Card.describe(self),
            "threat": threat,
            "rounds": self.rounds.value,
            "tasks": list(self.tasks),
            "adaptive_to": list(self.adaptive_to),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Population:
    """Who takes part in a round, as a defense's precondition reads it."""

    clients: int
    """Rows of a full round."""
    declared_malicious: int
    """f: how many of them the defense believes malicious."""
    malicious: int = 0
    """How many there are."""
    identically_distributed: bool = True
    """Whether the clients' data come from one distribution."""
    trusted: int = 0
    """Rows of its own that the server holds."""
    tuning: str = "full"
    """What is trained: `model.tuning.kind`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DefenseCard(Card):
    """A defense: what it promises and on what condition."""

    protects: str
    """What it is for: `robustness` or `privacy`."""
    guarantee: str | None = None
    """What is proven, with its assumptions; None if nothing is."""
    assumption_broken: Callable[[Population, Mapping[str, ParameterValue]], str | None] | None = None
    """Which assumption of the guarantee this population breaks, or None."""
    removes: frozenset[Asset] = frozenset()
    """What it takes from everybody's sight of an update."""
    aggregation: Aggregation = Aggregation.PLAIN
    """What the server can still read of a round's updates; a stack holds at most one that is not plain."""
    rests_on: str = ""
    """What has to hold for what it hides to stay hidden, e.g. `no client colludes with the server`."""
    needs_rows: bool = False
    """It reads single rows at the server; a rule always does."""
    precondition: Callable[[Population, Mapping[str, ParameterValue]], str | None] | None = None
    """Why it cannot run for this population (the inequality, with numbers), or None."""
    reshapes: Callable[[Population, Mapping[str, ParameterValue]], Population] | None = None
    """Of a filter: the population as what comes after it sees it, e.g. as many rows as buckets; None: as it was."""
    fallback: str = "the global model is kept for that round"
    """What happens when the precondition fails in a round through drop-outs."""
    is_rule: bool = False
    """It is the rule that turns rows into one update; a stack holds at most one."""

    def describe(self) -> dict[str, Any]:
        """The card as JSON."""
        return {
            **Card.describe(self),
            "protects": self.protects,
            "guarantee": self.guarantee,
            "removes": sorted(a.value for a in self.removes),
            "aggregation": self.aggregation.value,
            "rests_on": self.rests_on,
            "needs_rows": self.needs_rows or self.is_rule,
            "is_rule": self.is_rule,
            "fallback": self.fallback,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard(Card):
    """A base model."""

    tasks: tuple[str, ...] = ("sequence-classification",)
    """What it can learn. One that can learn several is told which: its target takes `task` as well."""

    def describe(self) -> dict[str, Any]:
        """The card as JSON."""
        return {**Card.describe(self), "tasks": list(self.tasks)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which columns of a data set's rows make up an example."""

    text: tuple[str, ...] = ("text",)
    """The text, joined by a space."""
    label: str | None = "label"
    """The label; None in a set without labels."""
    prompt: tuple[str, ...] = ()
    """What stands before the text: those that are not empty, with a blank line between them."""
    headings: tuple[str, ...] = ()
    """Stand right before the columns of the prompt, one for each; none if empty."""
    ending: str = "\n"
    """Stands after the last column of a prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSource:
    """A data set's repository on the Hugging Face hub."""

    id: str
    """`owner/name`."""
    revision: str | None = None
    """The full commit hash; None where none is known for certain: the user has to give one."""
    config: str | None = None
    """The repository's configuration, which the hub also calls a subset; its default if None."""
    train: str = "train"
    """Split to train on."""
    test: str | None = "test"
    """Split to test on; None: a tenth of the training split is held out."""
    columns: Columns | None = None
    """Where they differ from those of the local files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetCard(Card):
    """A data set."""

    labels: tuple[str, ...] = ()
    """Names of the labels in the order of their numbers; empty for texts without labels."""
    licence: str = ""
    columns: Columns | None = None
    """How rows of files become examples: the target then takes the card and `data`, as `fedsec.data.named:load_named`
    does. None for a set that its target makes from the card alone."""
    folder: str = ""
    """Below $FEDSEC_DATA; the card's name if empty."""
    hub: HubSource | None = None
    """Where the set is on the hub."""
    templated: bool = False
    """Whether texts are made from templates, so that they resemble each other too much to ask who is a member."""
    group: str = ""
    """What the groups of a generated set's examples are, for `data.partition.column`."""

    def describe(self) -> dict[str, Any]:
        """The card as JSON."""
        hub = {"id": self.hub.id, "revision": self.hub.revision, "config": self.hub.config} if self.hub else {}
        group = {"group": self.group} if self.group else {}
        return {**Card.describe(self), "labels": list(self.labels), "licence": self.licence, "hub": hub, **group}


class Tells(StrEnum):
    """What a metric tells whatever the goal is; a row's first metric of a kind stands for it."""

    CORRECT = "correct"
    """The share of what the model does that is right: robustness and its costs are told in it."""
    QUALITY = "quality"
    """How good the model is in a unit of its task's own, told in place of that share."""
    TAIL = "tail"
    """The share of what is right over the last rounds."""
    CAUGHT = "caught"
    """The share of hostile messages that a rule refused."""
    FLAGS_RIGHT = "flags-right"
    """The share of refused messages that were hostile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricCard(Card):
    """A metric of the scorecard."""

    unit: str
    better_for: BetterFor
    tells: Tells | None = None
    words: str = ""
    """What tables call it, where it tells one of these."""
    guess: str = ""
    """What its baseline is of, likewise: `always the largest class`."""

    def describe(self) -> dict[str, Any]:
        """The card as JSON."""
        return {**Card.describe(self), "unit": self.unit, "better_for": self.better_for.value}


def _short(value: ParameterValue) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, float):
        return str(value)
    short = f"{value:g}"
    return short if float(short) == value else repr(value)  # two values never share a label
