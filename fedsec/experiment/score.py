"""From a trained federation and an attack to a cell of the scorecard."""

import time
from collections.abc import Collection
from dataclasses import replace
from math import isfinite
from typing import Any

from fedsec import registry
from fedsec.api import AttackCard, Granted, Knowledge, MetricValue, Position, Reconstruction
from fedsec.experiment.plan import NONE, Cell, knowledge, population
from fedsec.experiment.sight import check_untouched, secrets_of, server_view, visible
from fedsec.experiment.training import Trained
from fedsec.federation.transcript import RoundSummary
from fedsec.metrics.cost import costs, plain
from fedsec.metrics.leakage import Scored, leakage, match
from fedsec.metrics.prior import guess
from fedsec.metrics.utility import accuracy
from fedsec.seeds import SeedTree

OK, BLOCKED, NOT_APPLICABLE, ERROR = "ok", "blocked", "n/a", "error"


def not_run(cell: Cell, status: str, reason: str) -> dict[str, Any]:
    """The content of a cell that has no metrics, and why."""
    return {"cell": _head(cell, status, reason)}


def score(cell: Cell, trained: Trained) -> dict[str, Any]:
    """The content of a cell file: the scorecard's row, curves, rounds, and the texts if the scenario keeps them."""
    outcome = trained.outcome
    metrics = {"utility/accuracy": accuracy(outcome.final), **costs(outcome.rounds)}
    head, texts = _head(cell, OK, None), None
    if cell.attack_position == Position.SERVER:
        reason, status = _hindrance(cell, trained)
        head["status"], head["reason"] = status, reason
        if status != NOT_APPLICABLE:
            found, scored, adaptive = _read(cell, trained, blocked=status == BLOCKED)
            metrics |= found
            head["adaptive"] = adaptive
            head["guarantee"] = _guarantee(cell)
            texts = _texts(scored, trained.tokenizer) if cell.scenario.keep_text else None
    else:
        head["guarantee"] = _guarantee(cell)
        head["adaptive"] = _adapted(cell, outcome.knowledge_used)
    head["metrics"] = {name: metrics[name].as_json() for name in sorted(metrics)}
    return {
        "cell": head,
        "curve": [[number, right, _finite(loss)] for number, right, loss in outcome.curve],
        "rounds": [_round(summary) for summary in outcome.rounds],
        "correct": "".join("1" if right else "0" for right in outcome.final.correct),
        "malicious": sorted(trained.malicious),
        "texts": texts,
    }


def _head(cell: Cell, status: str, reason: str | None) -> dict[str, Any]:
    position = cell.attack_position
    return {
        "attack": cell.attack_label,
        "defense": cell.defense_label,
        "seed": cell.seed,
        "settings": cell.settings,
        "attack_params": cell.attack["params"],
        "defense_stack": [{"name": d["name"], "params": d["params"]} for d in cell.defense],
        "position": position.value if position else None,
        "knowledge": sorted(kind.value for kind in knowledge(cell)),
        "adaptive": False,
        "status": status,
        "reason": reason,
        "guarantee": None,
        "metrics": {},
    }


def _guarantee(cell: Cell) -> dict[str, Any] | None:
    """What the stack proves for this cell; nothing where the scenario breaks an assumption."""
    proven = []
    for component in cell.defense:
        card = registry.defenses().get(component["name"])
        broken = card.assumption_broken(population(cell), component["params"]) if card.assumption_broken else None
        if card.guarantee and broken is None:
            proven.append((card.protects, card.guarantee))
    kinds = "+".join(dict.fromkeys(kind for kind, _ in proven))
    return {"kind": kinds, "assumes": "; ".join(text for _, text in proven)} if proven else None


def _hindrance(cell: Cell, trained: Trained) -> tuple[str | None, str]:
    """Why a curious server cannot attack, and the status that follows."""
    card: AttackCard = registry.attacks().get(cell.attack["name"])
    removed = {asset for d in cell.defense for asset in registry.defenses().get(d["name"]).removes}
    missing = card.threat.needs - (visible(trained.model.setup) - removed)
    if not missing:
        return None, OK
    names = " and ".join(sorted(asset.value for asset in missing))
    if missing <= visible(trained.undefended):
        return f"{cell.defense_label} removes {names}", BLOCKED
    return f"{cell.attack['name']} needs {names}, which this tuning does not send", NOT_APPLICABLE


def _read(cell: Cell, trained: Trained, *, blocked: bool) -> tuple[dict[str, MetricValue], Scored, bool]:
    """Leakage of the attack, or of the prior alone where it is blocked; with the prior's value beside each."""
    secrets = secrets_of(trained, cell.attack_round)
    view = server_view(cell, trained, secrets)
    seeds = SeedTree(cell.seed)
    lengths = None
    if Knowledge.LENGTHS in view.granted:
        lengths = {client: secrets[client].lengths for client in view.clients}
    counts = {client: len(secrets[client].tokens) for client in view.clients}
    prior = match(secrets, guess(counts, lengths, trained.tokenizer, seeds.numpy("prior")))
    floor = leakage(prior, trained.tokenizer, seeds.numpy("intervals"))
    if blocked:
        return {name: replace(value, baseline=value.value) for name, value in floor.items()}, prior, False
    attack = registry.load_target(registry.attacks().get(cell.attack["name"]))(**cell.attack["params"])
    began = time.perf_counter()
    guesses: list[Reconstruction] = attack.reconstruct(view)
    seconds = time.perf_counter() - began
    check_untouched(cell, trained)
    scored = match(secrets, guesses)
    found = leakage(scored, trained.tokenizer, seeds.numpy("intervals"))
    values = {
        name: replace(value, baseline=floor[name].value) if name in floor else value for name, value in found.items()
    }
    values["cost/attack-seconds"] = plain(seconds, "seconds", 1)
    used = view.granted.used if isinstance(view.granted, Granted) else ()
    return values, scored, _adapted(cell, used)


def _adapted(cell: Cell, used: Collection[Knowledge]) -> bool:
    """Whether the attack knows this defense and looked its settings up."""
    if cell.attack["name"] == NONE:
        return False
    card: AttackCard = registry.attacks().get(cell.attack["name"])
    faced = {component["name"] for component in cell.defense}
    return bool(faced & set(card.adaptive_to)) and Knowledge.DEFENSE_SETTINGS in used


def _texts(scored: Scored, tokenizer: Any) -> list[dict[str, Any]]:
    def words(tokens: tuple[int, ...]) -> str:
        return str(tokenizer.decode(list(tokens)))

    return [
        {
            "client": pair.client,
            "original": words(pair.truth),
            "recovered": words(pair.guess.tokens) if pair.guess else None,
            "exact": pair.guess is not None and pair.guess.tokens == pair.truth,
            "verified": pair.guess is not None and pair.guess.verified,
        }
        for pair in scored.pairs
    ]


def _finite(value: float) -> float | None:
    """None for what JSON cannot hold: the loss of a model that an attack drove to NaN or infinity."""
    return value if isfinite(value) else None


def _round(summary: RoundSummary) -> dict[str, Any]:
    return {
        "round": summary.round,
        "clients": list(summary.clients),
        "loss": _finite(summary.loss),
        "rejected": [{"client": r.client, "reason": r.reason} for r in summary.rejected],
        "weights": list(summary.weights) if summary.weights is not None else None,
        "skipped": summary.skipped,
        "seconds": summary.seconds,
    }
