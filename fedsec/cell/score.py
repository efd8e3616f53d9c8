"""From a trained federation and an attack to a cell of the scorecard."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from fedsec import registry
from fedsec.api import Aggregation, AttackCard, Evidence, Goal, GoalCard, Knowledge, MetricValue, Scored, Truth
from fedsec.cell.evidence import CellWatcher, Looked, check_untouched, evidence_of, secrets_of, sight_of
from fedsec.cell.head import BLOCKED, BUDGET, NOT_APPLICABLE, OK, RAN, head_of
from fedsec.cell.in_clear import shown
from fedsec.cell.pool import Pool
from fedsec.cell.resources import attack_plugin
from fedsec.cell.staging import goal_of, staged
from fedsec.cell.training import Trained, lacking
from fedsec.cell.work import CellWork
from fedsec.data.classes import classes_of
from fedsec.data.tokens import content_ids
from fedsec.errors import FedsecError, WrongAnswerError
from fedsec.federation.evaluation import REFUSED, Evaluation
from fedsec.federation.transcript import RoundSummary, Secret
from fedsec.metrics.cost import costs, plain
from fedsec.metrics.refusals import refusals
from fedsec.metrics.robustness import detection
from fedsec.metrics.tail import tail_accuracy
from fedsec.metrics.training import training
from fedsec.metrics.utility import constant_answer, utility
from fedsec.metrics.written import written
from fedsec.models.base import CAUSAL_LM
from fedsec.plan.cells import NONE, Cell, knowledge, population
from fedsec.plan.visibility import visible
from fedsec.seeds import SeedTree


def score(cell: Cell, trained: Trained, key: str = "", work: CellWork | None = None) -> dict[str, Any]:
    """The content of a cell file: the scorecard's row, curves, rounds, and the texts if the scenario keeps them.

    Args:
        cell: what is scored.
        trained: its federation.
        key: the cell's, under which an attack was kept that looked at rounds as they happened.
        work: its attack's clock, and what is kept of it; only the clock if absent.

    Raises:
        FedsecError: the goal gives none of its headline metrics, or the attack's answer is not what was asked for.
        RuntimeError: the attack changed what it was shown.
    """
    trained = trained.under(cell)
    outcome = trained.outcome
    resample = SeedTree(cell.seed).numpy("utility intervals")
    metrics = {**utility(outcome.final, trained.test, resample), **costs(outcome.rounds)}
    constant = constant_answer(trained.test)
    metrics |= tail_accuracy(outcome.curve, len(outcome.rounds), outcome.final, constant)
    metrics |= _writing(trained, resample)
    metrics |= training(outcome.rounds, trained.malicious)
    metrics |= refusals(outcome.final, guarded=bool(trained.stack.query_hooks))
    head, found = head_of(cell, OK, None), None
    used: Collection[Knowledge] = outcome.knowledge_used
    if cell.threat is not None:
        watcher = trained.watchers.get(key)
        head["reason"], head["status"] = _hindrance(cell, trained, watcher)
        if head["status"] != NOT_APPLICABLE:
            work = work or CellWork(cell.scenario.threat.attack_seconds)
            work = work if watcher is None else watcher.work
            found = _pursued(cell, trained, key, work, blocked=head["status"] == BLOCKED)
            metrics |= found.scored.metrics
            used = {*used, *found.used}
            if head["status"] == OK and work.over:
                head["status"], head["reason"], head["attack_seconds"] = BUDGET, work.verdict(), work.limit
        if head["status"] in RAN and cell.forges:
            metrics |= _detection(cell, trained)
    if head["status"] != NOT_APPLICABLE:
        head["guarantee"] = _guarantee(cell, trained)
        head["adaptive"] = head["status"] in RAN and _adapted(cell, used)
        if Knowledge.AUXILIARY_TEXT in knowledge(cell):
            public = trained.around.public.of(cell.scenario)
            head["auxiliary"] = {"texts": len(public.auxiliary.texts), "dropped": public.dropped}
        if trained.start is not None:
            head["start"] = {"rows": trained.start.rows, "steps": trained.start.steps}
    else:
        metrics = {}
    head["acts"] = head["status"] in RAN and cell.acts
    head["metrics"] = {name: metrics[name].as_json() for name in sorted(metrics)}
    return {
        "cell": head,
        "curve": [[number, right, _finite(loss)] for number, right, loss in outcome.curve],
        "rounds": [_round(summary) for summary in outcome.rounds],
        "answers": {name: dict(measured) for name, measured in outcome.measured.items()},
        "correct": "".join("1" if right else "0" for right in outcome.final.correct),
        "predicted": outcome.final.predicted.tolist(),
        "right": _shares(outcome.final),
        "losses": _losses(outcome.final),
        "malicious": sorted(trained.malicious),
        "data": _data(cell, trained),
        "attacked": found.attacked if found is not None else None,
        "notes": dict(found.scored.notes) if found is not None else {},
        "texts": found.texts if found is not None and cell.scenario.keep_text else None,
    }


def _writing(trained: Trained, generator: np.random.Generator) -> dict[str, MetricValue]:
    """How like the data's own texts those are that the model wrote; nothing where it was not asked to write."""
    done, untrained = trained.outcome.written, trained.outcome.before
    if done is None or untrained is None:
        return {}
    references = [trained.materials.part.test[row].text for row in done.rows]
    before, after = (
        [trained.tokenizer.decode(text, skip_special_tokens=True) for text in texts]
        for texts in (done.before, done.after)
    )
    return written(references, before, after, untrained, generator)


@dataclass(frozen=True, slots=True)
class _Pursued:
    """How far a goal got."""

    scored: Scored
    used: frozenset[Knowledge]
    """Side knowledge that the attack looked up."""
    texts: list[dict[str, Any]] | None
    attacked: dict[str, Any] | None


def _pursued(cell: Cell, trained: Trained, key: str, work: CellWork, *, blocked: bool) -> _Pursued:
    """Ask the attack what its goal asks, or the prior where it is blocked, and score the answer."""
    goal, card = goal_of(cell), cell.goal
    assert goal is not None and card is not None  # noqa: S101, PT018 - the cell has an attack
    secrets, looked = secrets_of(cell, trained) if cell.rounds else {}, Looked(work=work)
    if cell.rounds and not any(secrets.values()):
        raise FedsecError(
            f"in round {', '.join(map(str, cell.rounds))} the server received no update that {cell.attack_label} could "
            "attack; choose other threat.attack_rounds, or more clients"
        )
    plan = trained.staged if cell.acts else staged(cell, trained.materials, trained.model.layout.size)
    evidence, generator = evidence_of(cell, trained, secrets, plan.question, Looked()), _generators(cell)
    truth = truth_of(cell, trained, secrets, plan.question, plan.kept, evidence.clients)
    prior = goal.prior(evidence, truth, generator)
    answer, seconds = prior if blocked else None, None
    if cell.asked and not blocked:
        watcher = trained.watchers.get(key)
        if watcher is not None and watcher.failed is not None:
            raise watcher.failed
        attack = watcher.attack if watcher is not None else trained.attacker(attack_plugin(cell.attack))
        shown = evidence_of(cell, trained, secrets, plan.question, looked)
        with work.running():
            answer = _asked(goal, card, attack, shown, cell.attack_label)
        seconds = work.spent
        check_untouched(cell, trained.around, looked, trained.frozen)
    scored = goal.score(truth, answer, prior, generator)
    _check_headline(card, scored)
    metrics = dict(scored.metrics)
    if seconds is not None:
        metrics["cost/attack-seconds"] = plain(seconds, "seconds", 1)
    texts = None if scored.texts is None else [dict(text) for text in scored.texts]
    watched = trained.watchers[key].used if key in trained.watchers else frozenset[Knowledge]()
    kept = Scored(metrics=metrics, notes=scored.notes)
    return _Pursued(kept, looked.used | watched, texts, _attacked(cell, trained, secrets))


def _asked(goal: Goal, card: GoalCard, attack: Any, evidence: Evidence, label: str) -> Any:
    """The attack's answer; a wrong one is an error that names the plug-in."""
    try:
        return goal.ask(attack, evidence)
    except WrongAnswerError as error:
        raise WrongAnswerError(f"{label}.{card.method}() {error}") from error


def _check_headline(card: GoalCard, scored: Scored) -> None:
    """A goal without a harm is an error, never no harm."""
    given = {name for name, value in scored.metrics.items() if value.value is None or value.best is not None}
    if not card.compare and not given & {one.metric for one in card.headline}:
        names = ", ".join(one.metric for one in card.headline)
        raise FedsecError(
            f"the goal {card.name} gave none of {names} with a chance and a best value: its harm cannot be told"
        )


def truth_of(
    cell: Cell,
    trained: Trained,
    secrets: Mapping[int, Mapping[int, Secret]],
    question: Any,
    kept: Any,
    clients: tuple[int, ...] = (),
) -> Truth:
    """What goals and metrics see of a cell.

    Args:
        cell: the cell.
        trained: its federation.
        secrets: the truth of the attacked rounds.
        question: what the goal asks about.
        kept: what the goal keeps for its score.
        clients: those whose single updates the attack sees.
    """
    outcome, materials = trained.outcome, trained.materials
    pool, when = materials.pool, cell.scenario.threat.participation
    last = len(outcome.rounds) if when.last is None else when.last
    withheld = () if pool is None else tuple(materials.train.ids[row] for row in pool.rows[~pool.members])
    unheld = withheld or trained.test.ids
    final = outcome.final.predicted.tolist()
    return Truth(
        secrets=secrets,
        held=trained.held,
        unheld=tuple(content_ids(ids, trained.tokenizer) for ids in unheld),
        candidates=materials.candidates,
        members=() if pool is None else tuple(pool.members.tolist()),
        candidate_rows=() if pool is None else tuple(pool.rows.tolist()),
        by_coin=pool is not None and _by_coin(cell),
        promised=_promised(cell, trained),
        holders=() if pool is None else _holders(pool, materials.rows),
        clients=clients,
        rounds=outcome.rounds,
        malicious=trained.malicious,
        acted=lambda number: number == 0 if cell.supplies else when.first <= number <= last,
        labels=tuple(trained.test.labels.tolist()),
        predicted=tuple(None if one == REFUSED else one for one in final),
        curve=tuple(outcome.predictions),
        watched=outcome.watched,
        guarded=bool(trained.stack.query_hooks),
        question=question,
        kept=kept,
        tokenizer=trained.tokenizer,
    )


def _by_coin(cell: Cell) -> bool:
    """Whether each candidate is a member by a coin of its own."""
    wanted = cell.scenario.data.candidates
    return wanted is not None and wanted.inclusion == "coin"


def _promised(cell: Cell, trained: Trained) -> dict[str, Any] | None:
    """The ledger's guarantee, where it holds against the attack's position."""
    given = trained.outcome.guarantee
    return given.as_json() if given is not None and cell.attack_position in given.against else None


def _holders(pool: Pool, rows: Sequence[np.ndarray]) -> tuple[int | None, ...]:
    """The client that holds each candidate; None for one that is withheld."""
    of_row = {int(row): client for client, own in enumerate(rows) for row in own}
    return tuple(of_row.get(int(row)) for row in pool.rows)


def _generators(cell: Cell) -> Callable[[str], Any]:
    seeds = SeedTree(cell.seed)

    def generator(purpose: str) -> Any:
        kind, _, name = purpose.partition(":")
        return seeds.torch(name) if kind == "torch" and name else seeds.numpy(purpose)

    return generator


def _detection(cell: Cell, trained: Trained) -> dict[str, MetricValue]:
    """Whom the rule flagged; nothing where neither a rule nor a filter gives weights that could flag anybody."""
    if trained.stack.rule is None and not trained.stack.filters:
        return {}
    when, rounds = cell.scenario.threat.participation, trained.outcome.rounds
    last = len(rounds) if when.last is None else when.last
    rounds = [one for one in rounds if when.first <= one.round <= last]
    return detection(rounds, trained.malicious, SeedTree(cell.seed).numpy("detection intervals"))


def _guarantee(cell: Cell, trained: Trained) -> dict[str, Any] | None:
    """What the stack promises in this cell: of privacy by the ledger, of robustness by what its rule proves."""
    private, robust = trained.outcome.guarantee, _robustness(cell)
    if private is None:
        return robust
    found = private.as_json()
    if trained.start is not None:
        start = f"the start was trained on {trained.start.rows:,} public rows, which are not covered"
        found["assumes"] = f"{found['assumes']}; {start}"
    if robust is not None:
        found["kind"] = f"{found['kind']}+{robust['kind']}"
        found["assumes"] = f"{found['assumes']}; {robust['assumes']}"
    return found


def _robustness(cell: Cell) -> dict[str, Any] | None:
    """What the stack's rule proves for this cell; nothing where the scenario breaks an assumption.

    A rule's theorem is about the rows that clients sent; a filter makes others of them, and nothing is proven of these.
    """
    proven = []
    cards = [registry.defenses().get(component.name) for component in cell.defense]
    filtered = any(card.needs_rows and not card.is_rule for card in cards)
    for card, component in zip(cards, cell.defense, strict=True):
        if card.is_rule and filtered:
            continue
        broken = card.assumption_broken(population(cell), component.params) if card.assumption_broken else None
        if card.guarantee and broken is None:
            proven.append((card.protects, card.guarantee))
    kinds = "+".join(dict.fromkeys(kind for kind, _ in proven))
    return {"kind": kinds, "assumes": "; ".join(text for _, text in proven)} if proven else None


def _hindrance(cell: Cell, trained: Trained, watcher: CellWatcher | None) -> tuple[str | None, str]:
    """Why an attack cannot see what it needs, and the status that follows."""
    card: AttackCard = registry.attacks().get(cell.attack.name)
    defenses = [registry.defenses().get(component.name) for component in cell.defense]
    removed = {asset for defense in defenses for asset in defense.removes}
    if cell.forges:
        missing = lacking(cell, trained.model.setup)
        elsewhere = visible(cell.sight(), trained.undefended)
    else:
        setup = shown(cell, trained.model)
        missing = card.threat.needs - (visible(sight_of(cell, trained, watcher), setup) - removed)
        elsewhere = visible(sight_of(cell, trained, watcher, defended=False), trained.undefended)
    if not missing:
        return None, OK
    names = " and ".join(sorted(asset.value for asset in missing))
    if missing <= elsewhere:
        hiding = [d for d in defenses if d.removes & missing or d.aggregation != Aggregation.PLAIN]
        conditions = " and ".join(defense.rests_on for defense in hiding if defense.rests_on)
        return f"{cell.defense_label} removes {names}{f', as long as {conditions}' if conditions else ''}", BLOCKED
    return f"{cell.attack.name} needs {names}, which this tuning and position do not show", NOT_APPLICABLE


def _adapted(cell: Cell, used: Collection[Knowledge]) -> bool:
    """Whether the attack knows this defense and looked its settings up."""
    if cell.attack.name == NONE:
        return False
    card: AttackCard = registry.attacks().get(cell.attack.name)
    faced = {component.name for component in cell.defense}
    return bool(faced & set(card.adaptive_to)) and Knowledge.DEFENSE_SETTINGS in used


def _attacked(cell: Cell, trained: Trained, secrets: Mapping[int, Mapping[int, Secret]]) -> dict[str, Any] | None:
    """How many tokens each attacked update holds, special ones too, and what bounds the rank of a layer's gradient."""
    tokens = [sum(secret.lengths) for of_round in secrets.values() for secret in of_round.values()]
    tuning = cell.scenario.model.tuning
    rank = tuning.rank if tuning.kind == "lora" else None
    width = getattr(trained.model.module.config, "hidden_size", None)
    return {"tokens": tokens, "width": width, "rank": rank} if tokens else None


def _data(cell: Cell, trained: Trained) -> dict[str, Any] | None:
    """The rows of each class in this cell's part of the corpus, and the same in words; None where none is learnt."""
    classes = None if cell.scenario.model.task == CAUSAL_LM else classes_of(trained.materials.part)
    return None if classes is None else {**classes.as_json(), "words": classes.in_words(), "doubt": classes.doubt()}


def _shares(evaluation: Evaluation) -> list[float] | None:
    """A causal language model's share of right tokens in each text of the test set; None for classification."""
    texts = evaluation.texts
    return None if texts is None else [float(share) for share in texts.right / texts.learned]


def _losses(evaluation: Evaluation) -> list[list[float | None]] | None:
    """Of each text the negative log likelihood in nats and the number of tokens it is of; None for classification."""
    texts = evaluation.texts
    if texts is None:
        return None
    return [[_finite(nll), int(learned)] for nll, learned in zip(texts.nll.tolist(), texts.learned, strict=True)]


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
        "measurements": dict(summary.measurements),
        "seconds": summary.seconds,
    }
