"""What every plug-in owes its users, as functions that raise AssertionError with the reason.

A third party runs them over its own cards, which have to be registered (installed, or `fedsec.allow_plugins`):

    from fedsec.testing import contracts
    def test_my_attack(tmp_path): contracts.check_attack(CARD, tmp_path, strongest={"scale": 10})

Each check says what it looks at; all are made on small federations and take seconds.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedsec import registry
from fedsec.api import (
    Aggregation,
    AttackCard,
    Behaviour,
    BetterFor,
    Card,
    DatasetCard,
    DefenseCard,
    ModelCard,
    Position,
    implements,
)
from fedsec.api.cards import ParameterValue
from fedsec.api.hooks import METHODS
from fedsec.cell.head import BLOCKED, NOT_APPLICABLE, OK, not_run
from fedsec.cell.resources import Resources
from fedsec.cell.score import score
from fedsec.config.schema import Scenario
from fedsec.federation.plugins import CLIENT_SIDE
from fedsec.plan.cells import NONE, PROVIDED, Cell, expand, refusal
from fedsec.report.scorecard import build
from fedsec.runner.machine import limited_threads
from fedsec.testing import canned, doubles
from fedsec.testing.conduct import Subject, check_blind, check_conduct, require

EXACT, ACCURACY, DROP = "leakage/exact-match", "utility/accuracy", "robustness/utility-drop"
EXTRACTED = "extraction/recall"
LEAST_GAIN = 0.02
"""By how much a defense has to better the figure that it is there for."""
_SHORT = ("federation.rounds=3", "federation.local_steps=2")
_TWO_ROUNDS = ("federation.rounds=2",)
_SEALED = "ideal-sealed"
"""The double that gives a key holder something to hold."""


def check_attack(
    card: AttackCard,
    tmp_path: Path,
    strongest: Mapping[str, ParameterValue] | None = None,
    *,
    shows: str | None = None,
    refused: bool = False,
    overrides: Sequence[str] = (),
) -> None:
    """The card is complete, the truth out of reach, and the attack better than its baseline when undefended.

    It also leaves alone what it is handed, draws from no global generator, does the same again for the same seed, and
    in a run that was stopped and resumed.

    Args:
        card: a registered attack.
        tmp_path: an empty folder.
        strongest: parameters under which it should show its effect on the canned federation.
        shows: the metric in which it does; by default exact matches, extracted texts, or the accuracy that it costs.
        refused: it is made for the server's door, which has to refuse all that malicious clients send; what is checked
            then is that it does, and that nothing shows.
        overrides: settings of the canned federation that it needs, each `PATH=VALUE`.
    """
    with _prepared():
        check_card(card)
        component = {"name": card.name, **(strongest or {})}
        kind = _kind_of(card)
        needed = tuple(sorted(one.value for one in card.threat.knowledge))
        for granted in dict.fromkeys((needed, _all_knowledge(card))) if kind.reads else ():
            check_blind(_subject(card, kind.examined(component, granted, overrides), card.name), granted)
        if card.threat.behaviour == Behaviour.MALICIOUS:  # others change no training
            check_conduct(_subject(card, kind.examined(component, needed, overrides), card.name), tmp_path / "conduct")
        scenario = kind.scenario(component, kind.beside, needed, overrides)
        cells = _cells(scenario, lambda own, beside: beside == kind.beside and own in (card.name, kind.control))
        cell = cells[card.name, kind.beside]
        _check_ran(card, cell)
        metric = shows or kind.shows
        require(metric in cell["metrics"], f"{card.name}: its cell has no {metric}, but {sorted(cell['metrics'])}")
        value = cell["metrics"][metric]
        floor = value.get("baseline") or 0.0
        low = value["value"] if value["ci_low"] is None else value["ci_low"]
        if refused:
            _check_refused(_subject(card, kind.examined(component, needed, overrides), card.name))
            require(low <= floor, f"{card.name} is refused, and {metric} is {_shown(value)} all the same")
            return
        require(low > floor, f"{card.name} is too weak: {metric} is {_shown(value)} where a guess has {floor:.3g}")


def check_defense(
    card: DefenseCard,
    tmp_path: Path,
    attack: Mapping[str, Any] | None = None,
    *,
    parameters: Mapping[str, ParameterValue] | None = None,
    beside: Mapping[str, Any] | None = None,
    shows: str | None = None,
    overrides: Sequence[str] = (),
) -> None:
    """The card is complete and agrees with the hooks, and the defense changes a canned attack's outcome for the better.

    It also leaves alone what it is handed, draws from no global generator, does the same again for the same seed, and
    in a run that was stopped and resumed.

    Args:
        card: a registered defense.
        tmp_path: an empty folder.
        attack: what it should stop, as in `matrix.attack`; by default embedding-algebra against what protects privacy,
            sign-flip of scale 10 against what protects robustness.
        parameters: its own, where the defaults are not for a small federation.
        beside: the rule that a filter is for, as in `matrix.defense`; the two then have to do better than it alone.
        shows: the metric in which it helps; by default that of the attack.
        overrides: settings of the canned federation that it needs, each `PATH=VALUE`.
    """
    with _prepared():
        check_card(card)
        component = {"name": card.name, **(parameters or {})}
        stack = [component, dict(beside)] if beside else component
        compared = (beside["name"], f"{card.name}+{beside['name']}") if beside else (NONE, card.name)
        robust = card.protects == "robustness"
        chosen = dict(attack or ({"name": "sign-flip", "scale": 10} if robust else {"name": "embedding-algebra"}))
        opponent = registry.attacks().get(chosen["name"])
        scenario = canned.byzantine(NONE, stack, overrides=(*_SHORT, *overrides))
        check_conduct(_subject(card, scenario, NONE, card.name), tmp_path / "conduct")
        kind = _kind_of(opponent)
        needed = tuple(sorted(one.value for one in opponent.threat.knowledge))
        metric = shows or (ACCURACY if kind.shows == DROP else kind.shows)
        cells: dict[tuple[str, str], dict[str, Any]] = {}
        for tried in (stack, dict(beside)) if beside else (stack,):
            scenario = kind.scenario(chosen, tried, needed, overrides)
            cells |= _cells(scenario, lambda own, names: metric == DROP or (own == opponent.name and names in compared))
        bare, defended = (cells[opponent.name, names] for names in compared)
        _check_ran(card, bare)
        require(defended["status"] in (OK, BLOCKED), f"{card.name}: {defended['status']}: {defended['reason']}")
        for cell in (bare, defended):
            require(metric in cell["metrics"], f"{card.name}: a cell has no {metric}, but {sorted(cell['metrics'])}")
        value, before = defended["metrics"][metric], bare["metrics"][metric]
        better = 1 if value["better_for"] == BetterFor.DEFENDER else -1
        gain = better * (value["value"] - before["value"])
        told = f"{metric} is {_shown(value)} with it and {_shown(before)} without"
        require(gain > LEAST_GAIN, f"{card.name} does not help against {opponent.name}: {told}")
        blocks = bool(card.removes & opponent.threat.needs)
        require(not blocks or defended["status"] == BLOCKED, f"{card.name} should block {opponent.name}")


def check_card(card: Card) -> None:
    """The card says everything, and its parameters and hooks are those of the plug-in."""
    require(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", card.name) is not None, f"{card.name} is not kebab-case")
    for name in ("summary", "paper", "cost", "deviations"):
        require(bool(getattr(card, name)), f"{card.name}: the card's {name} is empty")
    require(bool(card.limits), f"{card.name}: the card names no limits; every method has some")
    plugin = registry.load_target(card)
    text = inspect.getdoc(plugin) or ""
    for mark in ("Source:", "Deviations:"):
        require(mark in text, f"{card.name}: the docstring of {card.target} has no '{mark}'")
    check_parameters(card, ())
    if isinstance(card, (AttackCard, DefenseCard)):
        made = plugin(**{parameter.name: parameter.default for parameter in card.parameters})
        _check_hooks(card, [method for method in METHODS if implements(made, method)])


def check_parameters(card: Card, given: Sequence[str]) -> None:
    """The card's parameters are the plug-in's, with the same defaults, and refuse what they should.

    Args:
        card: a registered card.
        given: arguments of its target that are the engine's to give.
    """
    signature = inspect.signature(registry.load_target(card)).parameters
    own = {name: one.default for name, one in signature.items() if name not in given}
    stated = {one.name: one.default for one in card.parameters}
    typed = [{name: (type(value), value) for name, value in one.items()} for one in (own, stated)]
    require(typed[0] == typed[1], f"{card.name}: the plug-in's parameters {own} differ from the card's {stated}")
    for parameter in card.parameters:
        require(parameter.problem(parameter.default) is None, f"{card.name}.{parameter.name}: default not allowed")
        require(parameter.problem(object()) is not None, f"{card.name}.{parameter.name} accepts anything")
        require(parameter.problem(None) is not None, f"{card.name}.{parameter.name} accepts nothing at all")


def check_model(card: ModelCard, overrides: Sequence[str] = ()) -> None:
    """The model depends on its generator and nothing else, trains under its tasks, and its flat vector is the model.

    Args:
        card: a registered model.
        overrides: settings of the canned federation that it needs, each `PATH=VALUE`.
    """
    from fedsec.testing.parts import check_loading

    with _prepared():
        require(bool(card.summary and card.limits and card.cost), f"{card.name}: summary, limits or cost is empty")
        check_parameters(card, ("labels", "generator", *(["task"] if len(card.tasks) > 1 else [])))
        check_loading(card)
        for task in card.tasks:
            short = (*_SHORT, f"model={{name: {card.name}, task: {task}, dropout: false}}", *overrides)
            cells = _cells(canned.byzantine(NONE, overrides=short), lambda *_: True)
            _check_ran(card, cells[NONE, NONE])


def check_dataset(card: DatasetCard) -> None:
    """The data set is the same each time, has texts to train and to test on, and labels that the card names.

    Args:
        card: a registered data set that is made, not read from files.
    """
    from fedsec.testing.parts import check_corpus

    require(bool(card.summary and card.licence), f"{card.name}: summary or licence is empty")
    check_corpus(card)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """How attacks of one position and behaviour are looked at."""

    scenario: Callable[[Any, Any, tuple[str, ...], Sequence[str]], Scenario]
    """From the attack, the defense, what is granted, and overrides."""
    short: tuple[str, ...] = ()
    """Overrides where only its conduct matters."""
    shows: str
    beside: str = NONE
    """A defense without which it does not apply."""
    reads: bool

    @property
    def control(self) -> str:
        """The cell beside it that its figure needs."""
        return "" if self.reads else NONE

    def examined(self, attack: Any, granted: tuple[str, ...], overrides: Sequence[str]) -> Scenario:
        """A scenario to watch it in."""
        return self.scenario(attack, self.beside, granted, (*self.short, *overrides))


def _kind_of(card: AttackCard) -> _Kind:
    position, behaviour = card.threat.position, card.threat.behaviour
    known = (position, behaviour) in PROVIDED
    require(known, f"{card.name}: this version runs no {behaviour} adversary at the position {position}")
    if position == Position.RELEASED_MODEL:
        return _Kind(scenario=canned.extraction, short=_SHORT, shows=EXTRACTED, reads=True)
    if (position, behaviour) == (Position.CLIENT, Behaviour.MALICIOUS):
        return _Kind(scenario=canned.byzantine, short=_SHORT, shows=DROP, reads=False)
    if behaviour == Behaviour.MALICIOUS and "reconstruct" not in _hooks(card):
        return _Kind(scenario=canned.byzantine, short=_SHORT, shows=DROP, reads=False)

    def observed(attack: Any, defense: Any, granted: tuple[str, ...], overrides: Sequence[str]) -> Scenario:
        tls = ("federation.tls=false",) if position == Position.WIRE else ()
        return canned.reconstruction(attack, defense, granted, overrides=(*tls, *overrides))

    batch = ("federation.batch_size=2", *(_TWO_ROUNDS if behaviour == Behaviour.MALICIOUS else ()))
    beside = _SEALED if position == Position.KEY_HOLDER else NONE
    return _Kind(scenario=observed, short=batch, shows=EXACT, beside=beside, reads=True)


def _hooks(card: Card) -> list[str]:
    kind = registry.load_target(card)
    return [method for method in METHODS if callable(getattr(kind, method, None))]


def _check_hooks(card: Card, methods: list[str]) -> None:
    """What the plug-in does is what the card says of it."""
    require(bool(methods), f"{card.name} has none of the hooks {', '.join(METHODS)}: it would do nothing")
    if isinstance(card, AttackCard):
        threat = card.threat
        place = f"a {threat.behaviour} {threat.position}"
        if threat.position == Position.RELEASED_MODEL:
            fitting: tuple[str, ...] = ("extract",)
        elif threat.behaviour == Behaviour.CURIOUS:
            fitting = ("reconstruct",)
        else:
            fitting = CLIENT_SIDE if threat.position == Position.CLIENT else ("on_broadcast", "reconstruct")
        odd = [method for method in methods if method not in fitting]
        require(not odd, f"{card.name} has {', '.join(odd)}(), which {place} is never asked; it is: {fitting}")
    elif isinstance(card, DefenseCard):
        rule = "weights" in methods or "vector" in methods
        wanted = (
            ("is_rule", card.is_rule, rule, "weights() or vector()"),
            ("needs_rows", card.needs_rows or card.is_rule, rule or "mix" in methods, "mix(), weights() or vector()"),
            ("aggregation", card.aggregation != Aggregation.PLAIN, "exchange" in methods, "exchange()"),
        )
        for field, stated, has, names in wanted:
            require(
                stated == has,
                f"{card.name}: the card's {field} says {stated}, but it has {'' if has else 'no '}{names}",
            )


def _all_knowledge(card: AttackCard) -> tuple[str, ...]:
    return tuple(sorted(kind.value for kind in PROVIDED[card.threat.position, card.threat.behaviour]))


def _subject(card: Card, scenario: Scenario, attack: str, defense: str | None = None) -> Subject:
    """The cell of that attack (and that defense) to watch."""

    def fits(cell: Cell) -> bool:
        names = [part["name"] for part in cell.defense]
        return cell.attack["name"] == attack and (defense is None or defense in names)

    cells = [cell for cell in expand(scenario) if fits(cell)]
    reasons = [refusal(cell) for cell in cells]
    found = [cell for cell, reason in zip(cells, reasons, strict=True) if reason is None]
    require(bool(found), f"{card.name} does not apply to the canned federation: {reasons[:1]}; see `overrides`")
    return Subject(found[-1], Resources(), card.name)


def _cells(scenario: Scenario, wanted: Callable[[str, str], bool]) -> dict[tuple[str, str], dict[str, Any]]:
    """The scorecard's rows of the wanted cells, by the names of attack and defense; what a plug-in raises goes up."""
    resources, contents = Resources(), []
    for cell in expand(scenario):
        if not wanted(cell.attack["name"], _stack_of(cell)):
            continue
        reason = refusal(cell)
        if reason is None:
            contents.append(score(cell, Subject(cell, resources).train()))
        else:
            contents.append(not_run(cell, NOT_APPLICABLE, reason))
    rows = build(scenario.name, "", contents)["cells"]
    return {(row["attack"].split("(")[0], _names(row["defense_stack"])): row for row in rows}


def _check_refused(subject: Subject) -> None:
    trained = subject.train()
    for one in trained.outcome.rounds:
        dropped = {rejection.client for rejection in one.rejected}
        require(
            dropped == set(trained.malicious),
            f"{subject.name}: round {one.round} refused the updates of {sorted(dropped)}, malicious were "
            f"{sorted(trained.malicious)}",
        )


def _stack_of(cell: Cell) -> str:
    return _names(cell.defense)


def _names(stack: Sequence[Mapping[str, Any]]) -> str:
    return "+".join(part["name"] for part in stack) or NONE


def _check_ran(card: Card, cell: Mapping[str, Any]) -> None:
    require(cell["status"] == OK, f"{card.name}: {cell['status']}: {cell['reason']}")


def _shown(value: Mapping[str, Any]) -> str:
    interval = "" if value["ci_low"] is None else f" [{value['ci_low']:.3g}, {value['ci_high']:.3g}]"
    return f"{value['value']:.3g}{interval}"


@contextmanager
def _prepared() -> Iterator[None]:
    """The canned data, and the double that attacks on a key holder need; one thread, as runs have."""
    needed = next(card for card in doubles.DEFENSES if card.name == _SEALED)
    with canned.registered(), limited_threads(1):
        if _SEALED in registry.defenses():
            yield
            return
        registry.defenses().register(needed)
        try:
            yield
        finally:
            registry.defenses().remove(_SEALED)
