"""The cells of a scenario: attack x defense x seed x varied settings, controls included."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from fedsec import registry
from fedsec.api import (
    Aggregation,
    Asks,
    Asset,
    AttackCard,
    Behaviour,
    Card,
    DefenseCard,
    GoalCard,
    Keys,
    Knowledge,
    Population,
    Position,
    Rounds,
    ThreatModel,
)
from fedsec.api.hooks import METHODS, OBSERVE
from fedsec.config.knowledge import PROVIDED
from fedsec.config.load import substitute
from fedsec.config.methods import methods_of
from fedsec.config.population import declared_in_round
from fedsec.config.schema import Component, Scenario
from fedsec.errors import FedsecError
from fedsec.plan.visibility import seen

NONE = "none"
WHOLE = frozenset({Asset.ROWS, Asset.AGGREGATE, Asset.GLOBAL_MODEL, Asset.RELEASED_MODEL})
"""What a position sees or not, whatever is trained."""
_AT_SERVER = frozenset({"mix", "weights", "vector", "on_aggregate", "on_model", "on_release", "on_query"})
"""Hooks that run when the server has a round's updates."""
_AFTER = frozenset({"on_release", "on_query"})
"""Hooks that run when training is over."""
_MAKE_IDLE = frozenset(
    {"threat.malicious", "threat.declared_malicious", "threat.attack_rounds", "model.dropout", "federation.weighting"}
    | {"model.tuning", "model.tuning.kind", "model.tuning.embeddings"}
)
"""Settings by which a defense may change nothing: where one is varied, these cells are points of a curve."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One (attack, defense stack, seed) under one choice of the varied settings."""

    attack: Component
    """Named `none` in the control."""
    defense: tuple[Component, ...]
    """Empty in the control."""
    seed: int
    settings: dict[str, Any]
    """The varied settings of this cell."""
    scenario: Scenario
    """The scenario with these settings in place."""

    @property
    def attack_label(self) -> str:
        """Registered name and changed parameters, or `none`."""
        if self.attack.name == NONE:
            return NONE
        return registry.attacks().get(self.attack.name).label(self.attack.params)

    @property
    def defense_label(self) -> str:
        """Labels of the stack joined by `+`, or `none`."""
        labels = (registry.defenses().get(d.name).label(d.params) for d in self.defense)
        return "+".join(labels) or NONE

    @property
    def told(self) -> tuple[dict[str, Any], ...]:
        """The defenses as plain data, each time anew: what `defense-settings` grants after training."""
        return tuple(one.model_dump() for one in self.defense)

    @property
    def told_in_training(self) -> tuple[dict[str, Any], ...]:
        """The same as an attack is told that changes the training.

        Of defenses that act on the trained model only, those that its card says it adapts to: cells under any others
        share one training.
        """
        known = self.card.adaptive_to if self.card is not None and self.acts else ()
        trains = self.in_training
        return tuple(one.model_dump() for place, one in enumerate(self.defense) if place in trains or one.name in known)

    @property
    def in_training(self) -> tuple[int, ...]:
        """The places in the stack of the defenses that take part in training; the others act on what comes of it."""
        methods = (_loaded_methods(registry.defenses().get(one.name)) for one in self.defense)
        return tuple(place for place, own in enumerate(methods) if own & (set(METHODS) - _AFTER) or not own & _AFTER)

    @property
    def label(self) -> str:
        """One line for people."""
        settings = "".join(f" {path.rsplit('.', 1)[-1]}={value}" for path, value in self.settings.items())
        return f"{self.attack_label} vs {self.defense_label}, seed {self.seed}{settings}"

    @property
    def threat(self) -> ThreatModel | None:
        """The attack's threat model; None in the control."""
        return None if self.attack.name == NONE else registry.attacks().get(self.attack.name).threat

    @property
    def attack_position(self) -> Position | None:
        """The attack's position; None in the control."""
        return self.threat.position if self.threat else None

    @property
    def goal(self) -> GoalCard | None:
        """The goal of its attack; None in the control."""
        return registry.goals().get(self.threat.goal) if self.threat else None

    @property
    def card(self) -> AttackCard | None:
        """The attack's card; None in the control."""
        return None if self.attack.name == NONE else registry.attacks().get(self.attack.name)

    @property
    def forges(self) -> bool:
        """Return whether the attack is by malicious clients."""
        return self.threat is not None and _is(self.threat, Position.CLIENT, Behaviour.MALICIOUS)

    @property
    def alters_broadcast(self) -> bool:
        """Return whether the attack is by a malicious server that sees the model which it sends."""
        return (
            self.threat is not None
            and _is(self.threat, Position.SERVER, Behaviour.MALICIOUS)
            and not self.threat.needs & WHOLE - {Asset.ROWS} - self.sight()
        )

    @property
    def supplies(self) -> bool:
        """Return whether the attack is by a malicious supplier of the base model or of public rows."""
        return self.threat is not None and _is(self.threat, Position.SUPPLIER, Behaviour.MALICIOUS)

    @property
    def task(self) -> str:
        """What the model learns."""
        return self.scenario.model.task

    @property
    def acts(self) -> bool:
        """Return whether the attack changes the training."""
        return self.forges or self.alters_broadcast or self.supplies

    @property
    def asked(self) -> bool:
        """Return whether the attack is asked something after training."""
        return self.goal is not None and self.goal.asks == Asks.AFTER

    @property
    def rounds(self) -> tuple[int, ...]:
        """Return the rounds whose updates the attack sees; none if it is asked nothing, or about the released model."""
        if not self.asked or self.card is None or self.card.threat.position == Position.RELEASED_MODEL:
            return ()
        attacked = attacked_rounds(self.scenario)
        return attacked[:1] if self.card.rounds == Rounds.FIRST else attacked

    @property
    def observes(self) -> bool:
        """Return whether the attack observes its rounds as they happen, so that they are not stored for it."""
        by_round = self.goal is not None and self.goal.by_round
        return bool(self.rounds) and not by_round and OBSERVE in (self._methods or ())

    @property
    def _methods(self) -> frozenset[str] | None:
        return None if self.card is None else _methods(self.card)

    @property
    def aggregation(self) -> Aggregation:
        """What a server can read of a round under the cell's defenses."""
        kinds = (registry.defenses().get(component.name).aggregation for component in self.defense)
        return next((kind for kind in kinds if kind != Aggregation.PLAIN), Aggregation.PLAIN)

    @property
    def keys(self) -> Keys | None:
        """Who holds the key of homomorphic aggregation under the cell's defenses; None where none of them says."""
        for component in self.defense:
            card = registry.defenses().get(component.name)
            if card.keys:
                return Keys(str(card.resolve(component.params)[card.keys]))
        return None

    @property
    def encrypted(self) -> float:
        """Return the share of the parameters that homomorphic aggregation encrypts under the cell's defenses."""
        for component in self.defense:
            card = registry.defenses().get(component.name)
            if card.encrypts:
                return float(card.resolve(component.params)[card.encrypts])
        return 1.0

    def parties(self, *, colluding: bool = False) -> frozenset[Position]:
        """Return the positions that share what they see: the attack's, and that of clients that collude with it."""
        if self.threat is None:
            return frozenset()
        return frozenset({self.threat.position, *([Position.CLIENT] if colluding else [])})

    def sight(
        self, *, defended: bool = True, others: int | None = None, colluding: bool = False, in_clear: bool = False
    ) -> frozenset[Asset]:
        """Which whole updates and models the attack sees; nothing in the control.

        Args:
            defended: under the cell's defenses, or without any.
            others: clients of the attacked round that do not collude with the attacker; None before the round.
            colluding: whether any client of the round does.
            in_clear: whether it is about the part of updates and models that the cell's defenses leave unencrypted.
        """
        aggregation = self.aggregation if defended else Aggregation.PLAIN
        tls = self.scenario.federation.tls
        keys = self.keys if defended else None
        parties = self.parties(colluding=colluding)
        return seen(parties, aggregation, tls=tls, others=others, keys=keys, in_clear=in_clear)


def attacked_rounds(scenario: Scenario) -> tuple[int, ...]:
    """The rounds that a reading attack may see, in their order."""
    last, chosen = scenario.federation.rounds, scenario.threat.attack_rounds
    if chosen == "all":
        return tuple(range(1, last + 1))
    listed = chosen if isinstance(chosen, list) else [chosen]
    return tuple(sorted({last if one == "last" else int(one) for one in listed}))


def expand(scenario: Scenario) -> list[Cell]:
    """Every cell in the scorecard's order: settings, then attack, then defense, then seed."""
    cells = []
    for settings, variant in _variants(scenario):
        crossed = product(variant.matrix.attack, variant.matrix.defense, variant.matrix.seed)
        for attack, defense, seed in crossed:
            cells.append(Cell(attack, tuple(defense), seed, settings, variant))
    return cells


def refusal(cell: Cell) -> str | None:
    """Why a cell does not apply at all, as far as the scenario tells, or None."""
    return _refusal_of_attack(cell) or _refusal_of_defense(cell) or _no_change(cell)


def _refusal_of_attack(cell: Cell) -> str | None:
    threat = cell.threat
    if threat is None:
        return None
    if cell.forges and cell.scenario.threat.malicious == 0:
        return f"{cell.attack_label} acts from a client, and threat.malicious is 0"
    if cell.supplies and cell.scenario.model.start is None:
        return f"{cell.attack_label} is by a supplier of public rows: model.start names none"
    if (threat.position, threat.behaviour) not in PROVIDED:
        return f"this version runs no {threat.behaviour} adversary at the position {threat.position}"
    card, goal, learnt = registry.attacks().get(cell.attack.name), registry.goals().get(threat.goal), cell.task
    if card.tasks and learnt not in card.tasks:
        return f"{cell.attack_label} is for models that learn {' or '.join(card.tasks)}, and model.task is {learnt}"
    if goal.tasks and learnt not in goal.tasks:
        return f"the goal {goal.name} is for models that learn {' or '.join(goal.tasks)}, and model.task is {learnt}"
    if card.rounds == Rounds.ALL and cell.asked and cell.scenario.threat.attack_rounds != "all":
        return f"{cell.attack_label} has to see every round: threat.attack_rounds has to be all"
    lacking = sorted(threat.knowledge - knowledge(cell))
    if lacking:
        return f"{cell.attack_label} needs {' and '.join(lacking)}, which is not handed to a {threat.position}"
    if threat.position == Position.KEY_HOLDER and cell.aggregation != Aggregation.HOMOMORPHIC:
        return "there is no key holder without homomorphic aggregation"
    if threat.position == Position.KEY_HOLDER and cell.keys == Keys.SHARED:
        return "every client holds the key, and nobody else: there is no key holder apart from them"
    if threat.position == Position.WIRE and cell.scenario.federation.tls and threat.needs & WHOLE:
        return f"federation.tls is on: on the wire {cell.attack_label} sees the cohort and sizes only"
    return None


def _refusal_of_defense(cell: Cell) -> str | None:
    cards = [registry.defenses().get(component.name) for component in cell.defense]
    hiding = [card.name for card in cards if card.aggregation != Aggregation.PLAIN]
    people = population(cell)
    for card, component in zip(cards, cell.defense, strict=True):
        if hiding and (card.is_rule or card.needs_rows):
            return f"{card.name} needs single rows at the server, which {hiding[0]} hides"
        if hiding and cell.scenario.federation.availability.max_staleness:
            return f"{hiding[0]} adds up one round at a time: a late update fits none; max_staleness must be 0"
        reason = card.precondition(people, component.params) if card.precondition else None
        if reason:
            return reason
        people = card.reshapes(people, component.params) if card.reshapes else people
    return None


def _no_change(cell: Cell) -> str | None:
    """Why the cell would be as without its defenses, or None; a value that the scenario varies is asked about."""
    if not cell.defense or _MAKE_IDLE & set(cell.settings):
        return None
    cards = [registry.defenses().get(component.name) for component in cell.defense]
    people, reasons = population(cell), dict[str, None]()
    for card, component in zip(cards, cell.defense, strict=True):
        reason = card.changes_nothing(people, component.params) if card.changes_nothing else None
        if reason is None:
            return _comes_late(cell, cards)
        reasons[reason] = None
        people = card.reshapes(people, component.params) if card.reshapes else people
    return f"{'+'.join(card.name for card in cards)} changes nothing here: {', and '.join(reasons)}"


def _comes_late(cell: Cell, cards: Sequence[DefenseCard]) -> str | None:
    """Why an attack reads what the defenses act on later only: updates of the first round, before the server's work."""
    threat = cell.threat
    if threat is None or cell.rounds != (1,) or cell.acts:
        return None
    if Asset.ROWS not in cell.sight() or Asset.RELEASED_MODEL in threat.needs:
        return None
    if any(set(METHODS) & _methods(card) - _AT_SERVER for card in cards):
        return None
    names = "+".join(card.name for card in cards)
    return f"{names} acts once the server has the updates, and {cell.attack_label} reads those of the first round only"


def _methods(card: Card) -> frozenset[str]:
    """The names of a plug-in's methods."""
    found = methods_of(card)
    return frozenset(dir(registry.load_target(card))) if found is None else found


def _loaded_methods(card: Card) -> frozenset[str]:
    """The same; none of a plug-in that cannot be imported: its cell says so when it runs, and no other cell fails."""
    try:
        return _methods(card)
    except FedsecError:
        return frozenset()


def knowledge(cell: Cell) -> frozenset[Knowledge]:
    """The side knowledge that a cell's adversary is really handed: granted, and available at its position."""
    if cell.attack.name == NONE:
        return frozenset()
    threat = registry.attacks().get(cell.attack.name).threat
    return frozenset(cell.scenario.threat.knowledge) & PROVIDED.get((threat.position, threat.behaviour), frozenset())


def population(cell: Cell) -> Population:
    """Who takes part in a full round of a cell."""
    threat = cell.scenario.threat
    return Population(
        clients=cell.scenario.federation.cohort,
        declared_malicious=in_round(cell.scenario, threat.declared),
        malicious=in_round(cell.scenario, threat.malicious) if cell.forges else 0,
        colluding=_colluding(cell.scenario) if cell.attack_position == Position.SERVER else 0,
        trusted=cell.scenario.data.trusted,
        tuning=cell.scenario.model.tuning.kind,
        identically_distributed=cell.scenario.data.partition.kind in ("iid", "quantity-skew"),
        trains_embeddings=cell.scenario.model.tuning.trains_embeddings,
        dropout=cell.scenario.model.dropout,
        weighting=cell.scenario.federation.weighting,
        language_model=cell.scenario.data.language_model.given,
        task=cell.task,
        rounds=cell.scenario.federation.rounds,
    )


def in_round(scenario: Scenario, malicious: int) -> int:
    """Return how many of that many malicious clients a defense has to expect in a round."""
    federation, fixed = scenario.federation, scenario.threat.participation.kind == "fixed"
    poisson = federation.sampling == "poisson"
    return declared_in_round(federation.clients, federation.cohort, malicious, fixed=fixed, poisson=poisson)


def _colluding(scenario: Scenario) -> int:
    """Return how many clients of a round tell the server what they see; none of them is in every cohort."""
    federation, poisson = scenario.federation, scenario.federation.sampling == "poisson"
    return declared_in_round(federation.clients, federation.cohort, scenario.threat.colluding, poisson=poisson)


def _variants(scenario: Scenario) -> Iterator[tuple[dict[str, Any], Scenario]]:
    paths = list(scenario.matrix.vary)
    for values in product(*scenario.matrix.vary.values()):
        settings = dict(zip(paths, values, strict=True))
        yield settings, substitute(scenario, settings) if settings else scenario


def _is(threat: ThreatModel, position: Position, behaviour: Behaviour) -> bool:
    return (threat.position, threat.behaviour) == (position, behaviour)
