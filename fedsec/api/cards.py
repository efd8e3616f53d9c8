"""Cards: what a plug-in is, states and needs, read without importing the plug-in.

A module that defines cards imports nothing heavy, so that `fedsec list` stays quick.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fedsec.api.metrics import BetterFor
from fedsec.api.threat import Aggregation, Asset, ThreatModel

ParameterValue = bool | int | float | str


class Provenance(StrEnum):
    """The source of a default value."""

    PAPER = "paper"
    CODE = "official code"
    MEASURED = "measured here"
    GUESS = "guess"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of a plug-in: an argument of its class, with the same name, default and type."""

    name: str
    default: ParameterValue
    """Its type is the parameter's type: `10.0` is a number, and whole numbers are accepted for it; `10` is a whole
    number."""
    summary: str
    unit: str = ""
    provenance: Provenance = Provenance.PAPER
    minimum: float | None = None
    """The smallest allowed number; None for no bound."""
    maximum: float | None = None
    """The largest allowed number; None for no bound."""
    choices: tuple[str, ...] = ()
    """The allowed texts; any if empty."""

    @property
    def allowed(self) -> str:
        """Return what values are allowed, in words."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        kind = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[type(self.default)]
        low = f" of at least {self.minimum:g}" if self.minimum is not None else ""
        high = f"{' and' if low else ' of'} at most {self.maximum:g}" if self.maximum is not None else ""
        return kind + low + high

    def problem(self, value: object) -> str | None:
        """Return why `value` cannot be used, or None if it can."""
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
    """What every plug-in states about itself."""

    name: str
    """kebab-case, unique among its kind; scenarios use it."""
    summary: str
    """One sentence for `fedsec list`."""
    target: str = ""
    """What is imported when the plug-in is used: `package.module:Class`, `:Class` in the module that defines the card,
    or `.module:Class` in a module beside it."""
    parameters: tuple[Parameter, ...] = ()
    """One for each argument of the target's class."""
    paper: str = ""
    """Authors, venue, and the equation or algorithm followed; `none: ...` where there is no paper."""
    deviations: str = "none"
    """Where the plug-in departs from the paper."""
    limits: tuple[str, ...] = ()
    """Where it fails or says nothing: one to three short sentences."""
    cost: str = ""
    """Time or memory, in words."""

    def resolve(self, given: Mapping[str, ParameterValue]) -> dict[str, ParameterValue]:
        """Return all parameters in the card's order, defaults included; whole numbers become floats where due."""
        values = {p.name: given.get(p.name, p.default) for p in self.parameters}
        return {p.name: float(values[p.name]) if type(p.default) is float else values[p.name] for p in self.parameters}

    def label(self, given: Mapping[str, ParameterValue]) -> str:
        """Return the name, with every parameter that is not the default in brackets."""
        resolved = self.resolve(given)
        changed = [f"{p.name}={_short(resolved[p.name])}" for p in self.parameters if resolved[p.name] != p.default]
        return f"{self.name}({', '.join(changed)})" if changed else self.name

    def describe(self) -> dict[str, Any]:
        """Return the card as JSON."""
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
    """Which rounds a reading attack has to see; `threat.attack_rounds` in a scenario says which it may see."""

    FIRST = "first"
    """The first of `threat.attack_rounds`."""
    ATTACKED = "attacked"
    """All of `threat.attack_rounds`."""
    ALL = "all"
    """Every round of the training, so `threat.attack_rounds` has to be `all`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackCard(Card):
    """The card of an attack: its threat model and the defenses that it adapts to."""

    threat: ThreatModel
    rounds: Rounds = Rounds.ATTACKED
    """Which rounds the attack has to see, if its position sees rounds."""
    adaptive_to: tuple[str, ...] = ()
    """Names of defenses that the attack adapts to where `defense-settings` is granted. Of defenses that act on the
    trained model only (`on_release`, `on_query`), an attack that changes the training is told of these alone."""
    tasks: tuple[str, ...] = ()
    """Tasks of the models that it attacks (`model.task`); any task if empty. With another task its cells are `n/a`."""

    def describe(self) -> dict[str, Any]:
        """Return the card as JSON."""
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
    """Who takes part in a round and what is trained, as given to a defense's conditions."""

    clients: int
    """Rows of a full round."""
    declared_malicious: int
    """f: how many of them the defense believes malicious."""
    malicious: int = 0
    """How many clients are malicious."""
    colluding: int = 0
    """How many clients tell a server that attacks what they see."""
    identically_distributed: bool = True
    """Whether the clients' data come from one distribution."""
    trusted: int = 0
    """Number of samples that the server holds itself."""
    tuning: str = "full"
    """What is trained, as in `model.tuning.kind`."""
    trains_embeddings: bool = True
    """Whether the embedding block is trained."""
    dropout: bool = False
    """Whether the model's own dropout is active in local training."""
    weighting: str = "uniform"
    """How rows count where no rule says otherwise, as in `federation.weighting`."""
    language_model: bool = True
    """Whether defenses are granted a language model (`data.language_model`)."""
    task: str = "sequence-classification"
    """What the model learns, as in `model.task`."""
    rounds: int | None = None
    """Rounds of training; None where they are not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DefenseCard(Card):
    """The card of a defense: what it guarantees, and on what condition."""

    protects: str
    """The purpose: `robustness` or `privacy`."""
    guarantee: str | None = None
    """What is proven, with its assumptions; None if nothing is."""
    assumption_broken: Callable[[Population, Mapping[str, ParameterValue]], str | None] | None = None
    """Returns which assumption of the guarantee this population breaks, or None."""
    removes: frozenset[Asset] = frozenset()
    """Parts of an update that no position sees any more; attacks that need them are blocked."""
    aggregation: Aggregation = Aggregation.PLAIN
    """What the server can still read of a round's updates, for a defense with `exchange()`; at most one per stack is
    not plain."""
    keys: str = ""
    """The parameter that says who holds the key of homomorphic aggregation, a value of `Keys`; empty where none
    does, and some key holder decrypts."""
    encrypts: str = ""
    """The parameter that says what share of the parameters homomorphic aggregation encrypts: the first whole tensors
    that fit into it (`Layout.first`); the others' updates cross in the clear. Empty where all are encrypted."""
    rests_on: str = ""
    """The condition under which it hides what it hides, e.g. `no client colludes with the server`."""
    needs_rows: bool = False
    """Whether it reads single updates at the server, as a filter does; a rule always does."""
    precondition: Callable[[Population, Mapping[str, ParameterValue]], str | None] | None = None
    """Returns why it cannot run for this population (the inequality, with numbers), or None. A cell then is `n/a`."""
    changes_nothing: Callable[[Population, Mapping[str, ParameterValue]], str | None] | None = None
    """Returns why everything is as without it for this population, or None. Where that holds for a whole stack, its
    cells are `n/a`."""
    reshapes: Callable[[Population, Mapping[str, ParameterValue]], Population] | None = None
    """For a filter: returns the population that the next filter or the rule sees, e.g. one row per bucket; None:
    unchanged."""
    fallback: str = "the global model is kept for that round"
    """What happens where drop-outs make the precondition fail in a round."""
    passes: float = 10.0
    """About how often it moves each client's update through memory in a round, drawing noise and enciphering counted in
    passes of that length; the estimate of a run's time rests on it."""
    is_rule: bool = False
    """Whether it is the aggregation rule (`weights` or `vector`); a stack has at most one."""
    answers_itself: bool = False
    """Whether its `on_query` never asks the defense before it, as where it has models of its own answer; in a stack, no
    defense with `on_query` stands before it."""

    def describe(self) -> dict[str, Any]:
        """Return the card as JSON."""
        return {
            **Card.describe(self),
            "protects": self.protects,
            "guarantee": self.guarantee,
            "removes": sorted(a.value for a in self.removes),
            "aggregation": self.aggregation.value,
            "keys": self.keys,
            "encrypts": self.encrypts,
            "rests_on": self.rests_on,
            "needs_rows": self.needs_rows or self.is_rule,
            "is_rule": self.is_rule,
            "fallback": self.fallback,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard(Card):
    """The card of a base model.

    Its target takes `labels` (the number of classes), `generator` and its parameters by name, and returns
    `fedsec.models.base.BaseModel(module, tokenizer, weights_hash)` with a transformers module.
    """

    tasks: tuple[str, ...] = ("sequence-classification",)
    """Tasks that it can learn. The target of a model with several tasks takes `task` as well."""

    def describe(self) -> dict[str, Any]:
        """Return the card as JSON."""
        return {**Card.describe(self), "tasks": list(self.tasks)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns of a data set's rows that make up an example."""

    text: tuple[str, ...] = ("text",)
    """Columns of the text, joined by a space."""
    label: str | None = "label"
    """Column of the label; None in a set without labels."""
    prompt: tuple[str, ...] = ()
    """Columns of the prompt before the text: those that are not empty, with a blank line between them."""
    headings: tuple[str, ...] = ()
    """Headings of the prompt's columns, one for each; none if empty."""
    ending: str = "\n"
    """What follows the last column of a prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSource:
    """The repository of a data set on the Hugging Face hub."""

    id: str
    """`owner/name`."""
    revision: str | None = None
    """The full commit hash; None where the user has to give one."""
    config: str | None = None
    """The repository's configuration, which the hub also calls a subset; its default if None."""
    train: str = "train"
    """Split to train on."""
    test: str | None = "test"
    """Split to test on; None: a tenth of the training split is held out."""
    columns: Columns | None = None
    """The columns on the hub, where they differ from those of the local files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetCard(Card):
    """The card of a data set.

    Its target takes the card and returns `fedsec.data.corpus.Corpus(train, test, card.labels)` of `Example(text,
    label)`.
    """

    labels: tuple[str, ...] = ()
    """Names of the labels in the order of their numbers; empty for texts without labels."""
    licence: str = ""
    columns: Columns | None = None
    """How rows of files become examples; the target then takes the card and `data`, as `fedsec.data.named:load_named`
    does. None for a data set that its target makes from the card alone."""
    folder: str = ""
    """The folder in $FEDSEC_DATA; the card's name if empty."""
    hub: HubSource | None = None
    """The data set on the hub."""
    templated: bool = False
    """Whether texts are made from templates: they resemble each other too much to be candidates, and `data.candidates`
    is refused."""
    rows: tuple[int, int] | None = None
    """The rows to train on and to test on of a generated set: what is known without making it, if anything is."""
    group: str = ""
    """The meaning of the groups of a generated data set, for `data.partition.column`."""

    def describe(self) -> dict[str, Any]:
        """Return the card as JSON."""
        hub = {"id": self.hub.id, "revision": self.hub.revision, "config": self.hub.config} if self.hub else {}
        group = {"group": self.group} if self.group else {}
        return {**Card.describe(self), "labels": list(self.labels), "licence": self.licence, "hub": hub, **group}


class Tells(StrEnum):
    """What a metric measures, whatever the goal is; the first metric of a kind in a cell represents it."""

    CORRECT = "correct"
    """The share of right answers, in which robustness and its costs are measured."""
    QUALITY = "quality"
    """The quality of the model in a unit of its task, in place of that share."""
    BEFORE = "before"
    """That quality before training."""
    WRITTEN = "written"
    """How like the data's own texts those are that the model writes."""
    TAIL = "tail"
    """The share of right answers over the last rounds."""
    CAUGHT = "caught"
    """The share of malicious updates that a rule refused."""
    FLAGS_RIGHT = "flags-right"
    """The share of refused updates that were malicious."""
    SENT = "sent"
    """What a client sends in a round."""
    RECEIVED = "received"
    """What a client receives in a round."""
    DURATION = "duration"
    """The time that a round takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricCard(Card):
    """The card of a metric in the scorecard; its target is empty."""

    unit: str
    better_for: BetterFor
    tells: Tells | None = None
    words: str = ""
    """Its name in tables, where `tells` is set."""
    guess: str = ""
    """What its baseline is, where `tells` is set: `always the largest class`."""

    def describe(self) -> dict[str, Any]:
        """Return the card as JSON."""
        return {**Card.describe(self), "unit": self.unit, "better_for": self.better_for.value}


def _short(value: ParameterValue) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, float):
        return str(value)
    short = f"{value:g}"
    return short if float(short) == value else repr(value)  # two values never share a label
