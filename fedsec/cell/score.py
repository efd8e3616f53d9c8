"""From a trained federation and an attack to a cell of the scorecard."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from math import isfinite
from typing import Any, NamedTuple

from fedsec import registry
from fedsec.api import Aggregation, AttackCard, Granted, Knowledge, MetricValue, Reconstruction, implements
from fedsec.cell.evidence import check_untouched, released_view, round_view, secrets_of, sight_of
from fedsec.cell.head import BLOCKED, NOT_APPLICABLE, OK, head_of
from fedsec.cell.resources import attack_plugin
from fedsec.cell.training import Trained, lacking
from fedsec.errors import FedsecError
from fedsec.federation.evaluation import Evaluation
from fedsec.federation.transcript import RoundSummary
from fedsec.metrics.cost import costs, plain
from fedsec.metrics.extraction import extraction_recall
from fedsec.metrics.leakage import Scored, leakage, match
from fedsec.metrics.prior import guess, sampled
from fedsec.metrics.robustness import detection
from fedsec.metrics.tail import tail_accuracy
from fedsec.metrics.utility import utility
from fedsec.plan.cells import NONE, Cell, knowledge, population
from fedsec.plan.visibility import visible
from fedsec.seeds import SeedTree


def score(cell: Cell, trained: Trained) -> dict[str, Any]:
    """The content of a cell file: the scorecard's row, curves, rounds, and the texts if the scenario keeps them."""
    outcome = trained.outcome
    metrics = {**utility(outcome.final, SeedTree(cell.seed).numpy("utility intervals")), **costs(outcome.rounds)}
    metrics |= tail_accuracy(outcome.curve, len(outcome.rounds), outcome.final)
    head, texts = head_of(cell, OK, None), None
    used: Collection[Knowledge] = outcome.knowledge_used
    if cell.threat is not None:
        head["reason"], head["status"] = _hindrance(cell, trained)
        if head["status"] != NOT_APPLICABLE and not cell.forges and _looks(cell):
            found = _read(cell, trained, blocked=head["status"] == BLOCKED)
            metrics |= found.metrics
            used = {*used, *found.used}
            texts = _texts(found.scored, trained.tokenizer) if cell.scenario.keep_text and found.scored else None
        if head["status"] == OK and cell.forges:
            metrics |= _detection(cell, trained)
    if head["status"] != NOT_APPLICABLE:
        head["guarantee"] = _guarantee(cell)
        head["adaptive"] = head["status"] == OK and _adapted(cell, used)
        if Knowledge.AUXILIARY_TEXT in knowledge(cell):
            public = trained.public.of(cell.scenario)
            head["auxiliary"] = {"texts": len(public.auxiliary.texts), "dropped": public.dropped}
    else:
        metrics = {}
    head["metrics"] = {name: metrics[name].as_json() for name in sorted(metrics)}
    return {
        "cell": head,
        "acts": head["status"] == OK and (cell.forges or cell.alters_broadcast),
        "curve": [[number, right, _finite(loss)] for number, right, loss in outcome.curve],
        "rounds": [_round(summary) for summary in outcome.rounds],
        "correct": "".join("1" if right else "0" for right in outcome.final.correct),
        "right": _shares(outcome.final),
        "malicious": sorted(trained.malicious),
        "attacked": _attacked(cell, trained) if cell.threat is not None and cell.reads else None,
        "texts": texts,
    }


def _detection(cell: Cell, trained: Trained) -> dict[str, MetricValue]:
    """Whom the rule flagged; nothing where neither a rule nor a filter gives weights that could flag anybody."""
    if trained.stack.rule is None and not trained.stack.filters:
        return {}
    when, rounds = cell.scenario.threat.participation, trained.outcome.rounds
    last = len(rounds) if when.last is None else when.last
    rounds = [one for one in rounds if when.first <= one.round <= last]
    return detection(rounds, trained.malicious, SeedTree(cell.seed).numpy("detection intervals"))


def _guarantee(cell: Cell) -> dict[str, Any] | None:
    """What the stack proves for this cell; nothing where the scenario breaks an assumption.

    A rule's theorem is about the rows that clients sent; a filter makes others of them, and nothing is proven of these.
    """
    proven = []
    cards = [registry.defenses().get(component["name"]) for component in cell.defense]
    filtered = any(card.needs_rows and not card.is_rule for card in cards)
    for card, component in zip(cards, cell.defense, strict=True):
        if card.is_rule and filtered:
            continue
        broken = card.assumption_broken(population(cell), component["params"]) if card.assumption_broken else None
        if card.guarantee and broken is None:
            proven.append((card.protects, card.guarantee))
    kinds = "+".join(dict.fromkeys(kind for kind, _ in proven))
    return {"kind": kinds, "assumes": "; ".join(text for _, text in proven)} if proven else None


def _hindrance(cell: Cell, trained: Trained) -> tuple[str | None, str]:
    """Why an attack cannot see what it needs, and the status that follows."""
    card: AttackCard = registry.attacks().get(cell.attack["name"])
    defenses = [registry.defenses().get(component["name"]) for component in cell.defense]
    removed = {asset for defense in defenses for asset in defense.removes}
    if cell.forges:
        missing = lacking(cell, trained.model.setup)
        elsewhere = visible(cell.sight(), trained.undefended)
    else:
        missing = card.threat.needs - (visible(sight_of(cell, trained), trained.model.setup) - removed)
        elsewhere = visible(sight_of(cell, trained, defended=False), trained.undefended)
    if not missing:
        return None, OK
    names = " and ".join(sorted(asset.value for asset in missing))
    if missing <= elsewhere:
        hiding = [d for d in defenses if d.removes & missing or d.aggregation != Aggregation.PLAIN]
        conditions = " and ".join(defense.rests_on for defense in hiding if defense.rests_on)
        return f"{cell.defense_label} removes {names}{f', as long as {conditions}' if conditions else ''}", BLOCKED
    return f"{cell.attack['name']} needs {names}, which this tuning and position do not show", NOT_APPLICABLE


def _looks(cell: Cell) -> bool:
    """Whether the attack reads anything; a malicious server may only want to ruin the model."""
    made = attack_plugin(cell.attack).make()
    return implements(made, "reconstruct") or implements(made, "extract")


class _Found(NamedTuple):
    """What an attack read."""

    metrics: dict[str, MetricValue]
    scored: Scored | None
    used: frozenset[Knowledge]
    """Side knowledge that it looked up."""


def _read(cell: Cell, trained: Trained, *, blocked: bool) -> _Found:
    """Leakage of the attack, or of the prior alone where it is blocked; with the prior's value beside each."""
    if not cell.reads:
        return _extract(cell, trained, blocked=blocked)
    secrets = secrets_of(cell, trained)
    if not secrets:
        raise FedsecError(
            f"in round {cell.attack_round} the server received no update that {cell.attack_label} could attack; "
            "choose another threat.attack_round, or more clients"
        )
    view, seeds = round_view(cell, trained, secrets), SeedTree(cell.seed)
    lengths = None
    if Knowledge.LENGTHS in view.granted:
        lengths = {client: secret.lengths for client, secret in secrets.items()}
    counts = {client: len(secret.tokens) for client, secret in secrets.items()}
    priors = [guess(counts, lengths, trained.tokenizer, seeds.numpy("prior"))]
    if Knowledge.AUXILIARY_TEXT in view.granted:
        public = trained.public.of(cell.scenario).auxiliary
        priors.append(sampled(counts, lengths, trained.tokenizer, public, seeds.torch("prior")))
    if view.rows is None:  # nobody can tell whose text it is, the guesser neither
        priors = [[replace(one, client=None) for one in prior] for prior in priors]
    guessed = [match(secrets, prior) for prior in priors]
    floors = [leakage(one, trained.tokenizer, seeds.numpy("intervals")) for one in guessed]
    if blocked:
        return _Found(_beside(floors[-1], floors), guessed[-1], frozenset())
    attack = trained.attacker(attack_plugin(cell.attack))
    began = time.perf_counter()
    guesses: list[Reconstruction] = attack.reconstruct(view)
    seconds = time.perf_counter() - began
    check_untouched(cell, trained)
    scored = match(secrets, guesses)
    values = _beside(leakage(scored, trained.tokenizer, seeds.numpy("intervals")), floors)
    values["cost/attack-seconds"] = plain(seconds, "seconds", 1)
    return _Found(values, scored, _used(view.granted))


def _beside(values: Mapping[str, MetricValue], floors: Sequence[Mapping[str, MetricValue]]) -> dict[str, MetricValue]:
    """Each metric with what the prior alone gets, and what a random guess gets where that is another one."""
    placed = dict(values)
    for name, value in values.items():
        if name in floors[-1]:
            random = floors[0][name].value if len(floors) > 1 and name in floors[0] else None
            placed[name] = replace(value, baseline=floors[-1][name].value, random_guess=random)
    return placed


def _extract(cell: Cell, trained: Trained, *, blocked: bool) -> _Found:
    """What an adversary that has the released model reads of the training texts."""
    texts = trained.texts
    if blocked:
        return _Found({"extraction/recall": extraction_recall(texts, [])}, None, frozenset())
    view = released_view(cell, trained)
    attack = attack_plugin(cell.attack).make()
    began = time.perf_counter()
    claims: list[Reconstruction] = attack.extract(view)
    seconds = time.perf_counter() - began
    check_untouched(cell, trained)
    values = {"extraction/recall": extraction_recall(texts, claims)}
    values["cost/attack-seconds"] = plain(seconds, "seconds", 1)
    return _Found(values, None, _used(view.granted))


def _used(granted: Any) -> frozenset[Knowledge]:
    return frozenset(granted.used) if isinstance(granted, Granted) else frozenset()


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


def _attacked(cell: Cell, trained: Trained) -> dict[str, Any] | None:
    """How many tokens each attacked update holds, special ones too, and what bounds the rank of a layer's gradient."""
    tokens = [sum(secret.lengths) for secret in secrets_of(cell, trained).values()]
    tuning = cell.scenario.model.tuning
    rank = tuning.rank if tuning.kind == "lora" else None
    width = getattr(trained.model.module.config, "hidden_size", None)
    return {"tokens": tokens, "width": width, "rank": rank} if tokens else None


def _shares(evaluation: Evaluation) -> list[float] | None:
    """A causal language model's share of right tokens in each text of the test set; None for classification."""
    texts = evaluation.texts
    return None if texts is None else [float(share) for share in texts.right / texts.learned]


def _finite(value: float) -> float | None:
    """None for what JSON cannot hold: the loss of a model that an attack drove to NaN or infinity."""
    return value if isfinite(value) else None


def _round(summary: RoundSummary) -> dict[str, Any]:
    return {
        "round": summary.round,
        "clients": list(summary.clients),
        "loss": _finite(summary.loss),
        "rejected": [{"client": r.client, "reason": r.reason} for r in summary.rejected],
        "clamped": [{"client": r.client, "reason": r.reason} for r in summary.clamped],
        "absent": [{"client": r.client, "reason": r.reason} for r in summary.absent],
        "staleness": list(summary.staleness),
        "weights": list(summary.weights) if summary.weights is not None else None,
        "norms": list(summary.norms) if summary.norms is not None else None,
        "skipped": summary.skipped,
        "seconds": summary.seconds,
    }
