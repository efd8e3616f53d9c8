"""Contract checks: what every plug-in owes its users, as functions that raise AssertionError with the reason.

They run on small federations, in seconds. The card has to be registered (installed, or `fedsec.allow_plugins`). What
would end a run with an error, such as a label out of range, ends a check with the same `FedsecError`.

All plug-ins:

- The card is complete: summary, paper, limits, cost, and a docstring of the class with `Source:` and `Deviations:`.
- The card's parameters are those of the class, with the same defaults of the same type.
- The methods fit the card: position, goal, `is_rule`, `needs_rows`, `aggregation`.
- A hook changes nothing that it is handed, and draws from no global generator (`torch.randn` without `generator=`).
- The same seed gives the same result, bit for bit.
- A run that is stopped after any round and resumed ends as if it had not been stopped.
- An attack is better than chance in its goal's headline; a defense improves what an attack does.

Attacks that are asked after training:

- Exchanging the truth between clients changes nothing that the attack answers.
- Another draw of members over the same candidates, model and updates changes nothing that it sees or answers.
- Where all candidates are withheld, it is no better than chance: the 99.9 % interval of its AUC contains 0.5.
- The words of the candidates alone do not tell who is a member.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fedsec import registry
from fedsec.api import (
    Aggregation,
    Asks,
    AttackCard,
    Behaviour,
    BetterFor,
    Card,
    DatasetCard,
    DefenseCard,
    GoalCard,
    ModelCard,
    Tells,
    acting,
)
from fedsec.api.cards import ParameterValue
from fedsec.api.hooks import METHODS, OBSERVE
from fedsec.cell.head import BLOCKED, NOT_APPLICABLE, OK, not_run
from fedsec.cell.resources import Resources
from fedsec.comparison.rows import name_telling
from fedsec.config.knowledge import PROVIDED
from fedsec.config.schema import Scenario
from fedsec.errors import FedsecError
from fedsec.plan.cells import NONE, Cell, expand, refusal
from fedsec.report.scorecard import build
from fedsec.runner.machine import limited_threads
from fedsec.testing import canned, doubles, shared
from fedsec.testing.candidates import check_mask, check_null, check_words
from fedsec.testing.conduct import Subject, check_blind, check_conduct, require
from fedsec.testing.watch import hooks_of

LEAST_GAIN = 0.02
"""The least improvement of the metric that a defense is tested by."""


def check_attack(
    card: AttackCard,
    tmp_path: Path,
    strongest: Mapping[str, ParameterValue] | None = None,
    *,
    shows: str | None = None,
    refused: bool = False,
    overrides: Sequence[str] = (),
) -> None:
    """Check an attack: its card, its conduct, that it sees no ground truth, and that it beats chance when undefended.

    The card of the attack's goal says what chance is and what the attack is asked.

    Args:
        card: a registered attack.
        tmp_path: an empty folder.
        strongest: parameters for the check of the effect, where the defaults are too weak for a small federation.
        shows: the metric in which the effect is measured; by default the first headline of its goal.
        refused: whether the server has to refuse all that malicious clients send. The check then is that it does, and
            that the attack has no effect.
        overrides: settings of the test federation that the attack needs, each `PATH=VALUE`.
    """
    with _prepared():
        check_card(card)
        component = {"name": card.name, **(strongest or {})}
        _check_known(card)
        fit, goal = canned.fitting(card), registry.goals().get(card.threat.goal)
        needed = tuple(sorted(one.value for one in card.threat.knowledge))
        scenario = fit.scenario(component, fit.beside, needed, overrides)
        whole = _subject(card, scenario, card.name)
        examined = _subject(card, fit.examined(component, needed, overrides), card.name)
        if goal.asks == Asks.AFTER:
            _check_reading(card, fit, component, overrides)
        if card.threat.behaviour == Behaviour.MALICIOUS or examined.cell.observes:  # others change no training
            check_conduct(examined, tmp_path / "conduct")
        if canned.about_candidates(goal) and goal.asks == Asks.AFTER:
            trained = shared.training(whole)
            check_words(whole, trained)
            check_mask(whole, trained)
            check_null(whole)
        metric = shows or goal.headline[0].metric
        cells = _cells(scenario, lambda own, beside: (own in _beside(goal) and beside in (fit.beside, NONE)) or (
            own == card.name and beside == fit.beside
        ))  # fmt: skip
        if refused:
            _check_refused(examined)
        value, floor = _effect(card, cells[card.name, fit.beside], metric)
        low = value["value"] if value["ci_low"] is None else value["ci_low"]
        if refused:
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
    """Check a defense: its card, its conduct, and that it improves the outcome of an attack.

    Args:
        card: a registered defense.
        tmp_path: an empty folder.
        attack: the attack that it should stop, as in `matrix.attack`; by default `embedding-algebra` for a defense that
            protects privacy, and `sign-flip` of scale 10 for one that protects robustness.
        parameters: parameters of the defense, where the defaults do not suit a small federation.
        beside: the rule that a filter is for, as in `matrix.defense`; the two together then have to beat the rule
            alone.
        shows: the metric in which it helps; by default the headline of the attack's goal, or the share of right answers
            where the attack is there to ruin the model.
        overrides: settings of the test federation that the defense needs, each `PATH=VALUE`.
    """
    with _prepared():
        check_card(card)
        component = {"name": card.name, **(parameters or {})}
        stack = [component, dict(beside)] if beside else component
        compared = (beside["name"], f"{card.name}+{beside['name']}") if beside else (NONE, card.name)
        robust = card.protects == "robustness"
        chosen = dict(attack or ({"name": "sign-flip", "scale": 10} if robust else {"name": "embedding-algebra"}))
        opponent = registry.attacks().get(chosen["name"])
        scenario = canned.byzantine(NONE, stack, overrides=(*canned.SHORT, *overrides))
        check_conduct(_subject(card, scenario, NONE, card.name), tmp_path / "conduct")
        fit, goal = canned.fitting(opponent), registry.goals().get(opponent.threat.goal)
        needed = tuple(sorted(one.value for one in opponent.threat.knowledge))
        costs = goal.whoever_acts and shows is None  # the model itself tells what is left of it
        headline = goal.headline[0].metric if shows is None else shows
        others = () if costs else _beside(goal, headline)
        cells: dict[tuple[str, str], dict[str, Any]] = {}
        for tried in (stack, dict(beside)) if beside else (stack,):
            scenario = fit.scenario(chosen, tried, needed, overrides)
            cells |= _cells(scenario, lambda own, names: own in others or (own == opponent.name and names in compared))
        bare, defended = (cells[opponent.name, names] for names in compared)
        _check_ran(card, bare)
        require(defended["status"] in (OK, BLOCKED), f"{card.name}: {defended['status']}: {defended['reason']}")
        metric = name_telling(bare["metrics"], Tells.CORRECT) or headline if costs else headline
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
    """Check that a card is complete, and that its parameters and hooks are those of the plug-in."""
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
        made = type(plugin(**{parameter.name: parameter.default for parameter in card.parameters}))
        attacks = isinstance(card, AttackCard)
        _check_hooks(card, hooks_of(made, *_all_asked()) if attacks else [m for m in hooks_of(made) if m in METHODS])


def check_parameters(card: Card, given: Sequence[str]) -> None:
    """Check that a card's parameters are those of the plug-in, with the same defaults, and refuse what they should.

    Args:
        card: a registered card.
        given: arguments of its target that the engine gives.
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
    """Check that a model depends on its generator only, trains under its tasks, and is described by its flat vector.

    Args:
        card: a registered model.
        overrides: settings of the test federation that the model needs, each `PATH=VALUE`.
    """
    from fedsec.testing.parts import check_loading

    with _prepared():
        require(bool(card.summary and card.limits and card.cost), f"{card.name}: summary, limits or cost is empty")
        check_parameters(card, ("labels", "generator", *(["task"] if len(card.tasks) > 1 else [])))
        check_loading(card)
        for task in card.tasks:
            short = (*canned.SHORT, f"model={{name: {card.name}, task: {task}, dropout: false}}", *overrides)
            cells = _cells(canned.byzantine(NONE, overrides=short), lambda *_: True)
            _check_ran(card, cells[NONE, NONE])


def check_dataset(card: DatasetCard) -> None:
    """Check that a data set is the same each time, has training and test texts, and only labels that the card names.

    Args:
        card: a registered data set that is generated, not read from files.
    """
    from fedsec.testing.parts import check_corpus

    require(bool(card.summary and card.licence), f"{card.name}: summary or licence is empty")
    check_corpus(card)


def _check_reading(card: AttackCard, fit: canned.Federated, component: Mapping[str, Any], overrides: Any) -> None:
    """Check that the truth is out of reach, with the side knowledge that the attack needs, and with all of it."""
    needed = tuple(sorted(one.value for one in card.threat.knowledge))
    for granted in dict.fromkeys((needed, _all_knowledge(card))):
        subject = _subject(card, fit.examined(component, granted, overrides), card.name)
        check_blind(subject, granted, shared.training(subject))


def _beside(goal: GoalCard, metric: str | None = None) -> tuple[str, ...]:
    """Return the control, if the goal compares a cell with it; nothing if it does not compare the metric."""
    compares = goal.compare and (metric is None or metric in {one.metric for one in goal.headline})
    return (NONE,) if compares else ()


def _effect(card: AttackCard, cell: Mapping[str, Any], metric: str) -> tuple[Mapping[str, Any], float]:
    """Return the attack's metric in its cell, and the value without harm."""
    require(cell["status"] == OK, f"{card.name}: {cell['status']}: {cell['reason']}")
    require(metric in cell["metrics"], f"{card.name}: its cell has no {metric}, but {sorted(cell['metrics'])}")
    value = cell["metrics"][metric]
    require(value["value"] is not None, f"{card.name}: nothing could count for {metric}")
    headline = metric in {one.metric for one in registry.goals().get(card.threat.goal).headline}
    harm = cell["harm"] or {"value": None, "reason": "no harm at all"}
    require(not headline or harm["value"] is not None, f"{card.name}: its harm cannot be told: {harm.get('reason')}")
    floor = value["chance"] if value.get("chance") is not None else value.get("baseline")
    return value, floor or 0.0


def _check_known(card: AttackCard) -> None:
    position, behaviour = card.threat.position, card.threat.behaviour
    known = (position, behaviour) in PROVIDED
    require(known, f"{card.name}: this version runs no {behaviour} adversary at the position {position}")


def _all_asked() -> tuple[str, ...]:
    """Return the methods that any goal asks of an attack."""
    return tuple(goal.method for goal in registry.goals() if goal.method)


def _check_hooks(card: AttackCard | DefenseCard, methods: Sequence[str]) -> None:
    """Check that the plug-in's methods are those that the card states."""
    if isinstance(card, AttackCard):
        require(card.threat.goal in registry.goals(), f"{card.name}: no goal {card.threat.goal} is registered")
        goal, acts = registry.goals().get(card.threat.goal), acting(card.threat)
        asked = (goal.method, *([OBSERVE] if goal.asks == Asks.AFTER else ())) if goal.method else ()
        place = f"a {card.threat.behaviour} {card.threat.position} whose goal is {goal.name}"
        _check_any(card, methods, (*acts, *asked))
        odd = [f"{method}()" for method in methods if method not in (*acts, *asked)]
        fitting = ", ".join((*acts, *asked)) or "nothing"
        require(not odd, f"{card.name} has {' and '.join(odd)}, which {place} is never asked; it is: {fitting}")
        needs = not goal.method or goal.method in methods
        require(needs, f"{card.name} has no {goal.method}(), which the goal {goal.name} asks")
        acted = not acts or any(method in acts for method in methods)
        require(acted, f"{card.name} is malicious and has none of {', '.join(acts)}: it would only look")
    else:
        _check_any(card, methods, METHODS)
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


def _check_any(card: Card, methods: Sequence[str], known: Sequence[str]) -> None:
    require(bool(methods), f"{card.name} has none of the hooks {', '.join(known)}: it would do nothing")


def _all_knowledge(card: AttackCard) -> tuple[str, ...]:
    return tuple(sorted(kind.value for kind in PROVIDED[card.threat.position, card.threat.behaviour]))


def _subject(card: Card, scenario: Scenario, attack: str, defense: str | None = None) -> Subject:
    """Return the cell of that attack (and that defense) to examine."""

    def fits(cell: Cell) -> bool:
        names = [part.name for part in cell.defense]
        return cell.attack.name == attack and (defense is None or defense in names)

    cells = [cell for cell in expand(scenario) if fits(cell)]
    reasons = [refusal(cell) for cell in cells]
    found = [cell for cell, reason in zip(cells, reasons, strict=True) if reason is None]
    require(bool(found), f"{card.name} does not apply to the canned federation: {reasons[:1]}; see `overrides`")
    return Subject(found[-1], Resources(), card.name)


def _cells(scenario: Scenario, wanted: Callable[[str, str], bool]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the scorecard's rows of the wanted cells, by names of attack and defense; plug-ins' errors are raised."""
    resources, contents = Resources(), []
    for cell in expand(scenario):
        if not wanted(cell.attack.name, _stack_of(cell)):
            continue
        reason = refusal(cell)
        if reason is None:
            contents.append(_scored(cell, resources))
        else:
            contents.append(not_run(cell, NOT_APPLICABLE, reason))
    rows = build(scenario.name, "", contents)["cells"]
    return {(row["attack"].split("(")[0], _names(row["defense_stack"])): row for row in rows}


def _scored(cell: Cell, resources: Resources) -> dict[str, Any]:
    """Return the cell's content; an error that fedsec finds in a plug-in's answer breaks the contract."""
    try:
        return shared.content(cell, resources)
    except FedsecError as error:
        raise AssertionError(str(error)) from error


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
    return _names(cell.told)


def _names(stack: Sequence[Mapping[str, Any]]) -> str:
    return "+".join(part["name"] for part in stack) or NONE


def _check_ran(card: Card, cell: Mapping[str, Any]) -> None:
    require(cell["status"] == OK, f"{card.name}: {cell['status']}: {cell['reason']}")


def _shown(value: Mapping[str, Any]) -> str:
    interval = "" if value["ci_low"] is None else f" [{value['ci_low']:.3g}, {value['ci_high']:.3g}]"
    return f"{value['value']:.3g}{interval}"


@contextmanager
def _prepared() -> Iterator[None]:
    """Register the test data, and the double that attacks on a key holder need; use one thread, as runs do."""
    needed = next(card for card in doubles.DEFENSES if card.name == canned.SEALED)
    with canned.registered(), limited_threads(1):
        added = canned.SEALED not in registry.defenses()
        if added:
            registry.defenses().register(needed)
        try:
            yield
        except BaseException:
            shared.forget_federations()  # what a bad plug-in had its hands on
            raise
        finally:
            if added:
                registry.defenses().remove(canned.SEALED)
