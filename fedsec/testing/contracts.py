"""What every plug-in owes its users, as functions that raise AssertionError with the reason.

A third party runs them over its own cards:

    from fedsec.testing import contracts
    def test_my_attack(tmp_path): contracts.check_attack(CARD, tmp_path, strongest={"scale": 10})
"""

import inspect
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedsec import registry
from fedsec.api import Asset, AttackCard, Card, DefenseCard, Knowledge, Position
from fedsec.api.cards import ParameterValue
from fedsec.experiment.plan import PROVIDED, Cell, expand
from fedsec.experiment.resources import Resources
from fedsec.experiment.sight import check_untouched, secrets_of, server_view
from fedsec.experiment.training import Trained, train
from fedsec.federation.transcript import Secret
from fedsec.result import RunResult, run
from fedsec.testing import canned

if TYPE_CHECKING:
    import torch

EXACT, ACCURACY, DROP = "leakage/exact-match", "utility/accuracy", "robustness/utility-drop"


def check_attack(card: AttackCard, tmp_path: Path, strongest: Mapping[str, ParameterValue] | None = None) -> None:
    """Card complete, parameters validated, truth out of reach, and better than its baseline when undefended.

    Args:
        card: a registered attack.
        tmp_path: an empty folder.
        strongest: parameters under which it should show its effect on the canned federation.
    """
    check_card(card)
    component = {"name": card.name, **(strongest or {})}
    if card.threat.position == Position.SERVER:
        check_truth_permutation(card, component)
        cell = _only(run(canned.reconstruction(component, knowledge=_needed(card)), tmp_path), card, "none")
        value = cell["metrics"][EXACT]
        _require(value["value"] > value["baseline"], f"{card.name} reads no more than a guess: {value}")
    else:
        cell = _only(run(canned.byzantine(component, knowledge=_needed(card)), tmp_path), card, "none")
        drop = cell["metrics"][DROP]
        _require(drop["ci_low"] > 0, f"{card.name} costs no accuracy undefended: {drop}")


def check_defense(card: DefenseCard, tmp_path: Path, attack: Mapping[str, Any] | None = None) -> None:
    """Card complete, parameters validated, and it changes the outcome of a canned attack for the better.

    Args:
        card: a registered defense.
        tmp_path: an empty folder.
        attack: the canned attack that it should stop, as in `matrix.attack`; a built-in one if absent.
    """
    check_card(card)
    if card.protects == "robustness":
        chosen = dict(attack or {"name": "sign-flip", "scale": 10})
        result = run(canned.byzantine(chosen, card.name), tmp_path)
        bare, defended = _pair(result, card, chosen["name"])
        gain = defended["metrics"][ACCURACY]["value"] - bare["metrics"][ACCURACY]["value"]
        _require(gain > 0.02, f"{card.name} does not help against {chosen['name']}: accuracy {gain:+.3f}")
    else:
        chosen = dict(attack or {"name": "embedding-algebra"})
        result = run(canned.reconstruction(chosen, card.name), tmp_path)
        bare, defended = _pair(result, card, chosen["name"])
        less = bare["metrics"][EXACT]["value"] - defended["metrics"][EXACT]["value"]
        _require(less > 0, f"{card.name} does not change what {chosen['name']} reads")
        removes = Asset.WORD_EMBEDDINGS in card.removes
        _require(not removes or defended["status"] == "blocked", f"{card.name} should block {chosen['name']}")


def check_card(card: Card) -> None:
    """The card says everything, and its parameters are those of the plug-in."""
    _require(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", card.name) is not None, f"{card.name} is not kebab-case")
    for name in ("summary", "paper", "cost", "deviations"):
        _require(bool(getattr(card, name)), f"{card.name}: the card's {name} is empty")
    _require(bool(card.limits), f"{card.name}: the card names no limits; every method has some")
    plugin = registry.load_target(card)
    text = inspect.getdoc(plugin) or ""
    for mark in ("Source:", "Deviations:"):
        _require(mark in text, f"{card.name}: the docstring of {card.target} has no '{mark}'")
    own = {f.name: f.default for f in fields(plugin)}
    stated = {p.name: p.default for p in card.parameters}
    _require(own == stated, f"{card.name}: the plug-in's parameters {own} differ from the card's {stated}")
    for parameter in card.parameters:
        _require(parameter.problem(parameter.default) is None, f"{card.name}.{parameter.name}: default not allowed")
        _require(parameter.problem(object()) is not None, f"{card.name}.{parameter.name} accepts anything")
        _require(parameter.problem(None) is not None, f"{card.name}.{parameter.name} accepts nothing at all")


def check_truth_permutation(card: AttackCard, component: Mapping[str, Any]) -> None:
    """Exchange the truth between clients, granted knowledge aside: the attack's output stays the same, bit for bit.

    The resident model must be as it was, too.
    """
    available = PROVIDED[card.threat.position, card.threat.behaviour]
    for granted in {_needed(card), tuple(sorted(kind.value for kind in available))}:
        _check_permuted(card, component, granted)


def _check_permuted(card: AttackCard, component: Mapping[str, Any], granted: tuple[str, ...]) -> None:
    scenario = canned.reconstruction(dict(component), knowledge=granted, batch_size=2)
    cell = next(cell for cell in expand(scenario) if cell.attack["name"] == card.name and not cell.defense)
    trained = train(cell, frozenset({1}), Resources(), lambda _: None)
    secrets = secrets_of(trained, 1)
    clients = list(secrets)
    moved = {c: _hybrid(secrets[c], secrets[clients[i - 1]], granted) for i, c in enumerate(clients)}
    first, second = (_attack(cell, trained, truth) for truth in (secrets, moved))
    _require(first == second, f"{card.name} says something else when the truth is permuted: it sees the truth")


def _attack(cell: Cell, trained: Trained, secrets: Mapping[int, Secret]) -> str:
    attack = registry.load_target(registry.attacks().get(cell.attack["name"]))(**cell.attack["params"])
    view = server_view(cell, trained, secrets)
    rows = view.rows.clone() if view.rows is not None else None
    found = repr(attack.reconstruct(view))
    check_untouched(cell, trained)
    _require(_equal(rows, view.rows), "the attack changed the rows that it was shown")
    return found


def _equal(before: "torch.Tensor | None", after: "torch.Tensor | None") -> bool:
    return before is after is None or (before is not None and after is not None and bool((before == after).all()))


def _hybrid(own: Secret, other: Secret, granted: tuple[str, ...]) -> Secret:
    """Another client's truth in another order, with what is granted left in place."""
    other = Secret(other.tokens[::-1], other.lengths[::-1], other.labels[::-1], other.planted[::-1])
    kept: dict[str, Any] = {}
    if Knowledge.LABELS.value in granted:
        kept["labels"] = own.labels
    if Knowledge.LENGTHS.value in granted:
        kept["lengths"] = own.lengths
    return other._replace(**kept)


def _needed(card: AttackCard) -> tuple[str, ...]:
    return tuple(sorted(kind.value for kind in card.threat.knowledge))


def _only(result: RunResult, card: Card, defense: str) -> dict[str, Any]:
    cells = [c for c in result.scorecard["cells"] if c["attack"].startswith(card.name) and c["defense"] == defense]
    _require(
        len(cells) == 1 and cells[0]["status"] == "ok",
        f"{card.name}: {[(c['status'], c['reason']) for c in cells]}",
    )
    return dict(cells[0])


def _pair(result: RunResult, card: Card, attack: str) -> tuple[dict[str, Any], dict[str, Any]]:
    cells = {c["defense"]: c for c in result.scorecard["cells"] if c["attack"].startswith(attack)}
    _require({"none", card.name} <= set(cells), f"{card.name}: cells {sorted(cells)}")
    return cells["none"], cells[card.name]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)
