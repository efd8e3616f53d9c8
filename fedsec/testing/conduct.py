"""Conduct of a plug-in in a federation: repeatable, resumable, and without changes to what it is handed.

Each check trains a canned federation a few times and raises AssertionError with what went wrong.
"""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from copy import deepcopy
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fedsec.api import Evidence, Knowledge
from fedsec.cell.evidence import Looked, Secrets, check_untouched, evidence_of, round_view, secrets_of
from fedsec.cell.resources import Resources, attack_plugin, defense_plugin
from fedsec.cell.staging import Materials, goal_of, staged
from fedsec.cell.training import Trained, train
from fedsec.errors import FedsecError
from fedsec.federation.checkpoint import Checkpoint
from fedsec.federation.plugins import Plugin, checked
from fedsec.federation.transcript import Secret, Vault
from fedsec.plan.cells import Cell
from fedsec.seeds import SeedTree
from fedsec.testing.watch import watched

KEY = "the cell"
"""The key under which an attack that observes rounds is kept."""
_DIFFERS = "a second run of the same seed differs; draw from the view's `generator`, and from nothing else"


class _StoppedError(Exception):
    """Simulates a process that was killed between two rounds."""


def require(condition: bool, message: str) -> None:
    """Raise AssertionError with the message unless the condition holds."""
    if not condition:
        raise AssertionError(message)


@dataclass(slots=True)
class Subject:
    """A cell whose plug-ins are examined.

    Args:
        cell: what is trained, and attacked where its attack reads.
        resources: corpora that the trainings share.
        name: of the plug-in in question.
    """

    cell: Cell
    resources: Resources
    name: str = ""

    def train(self, checkpoint: Checkpoint | None = None, **others: Any) -> Trained:
        """Train the cell's federation, and release it as its defenses do; see `federate`."""
        return self.federate(checkpoint, **others).under(self.cell)

    def federate(self, checkpoint: Checkpoint | None = None, **others: Any) -> Trained:
        """Train the cell's federation; rounds that its attack reads are stored, and shown to one that observes.

        Args:
            checkpoint: where progress is kept, and taken up again.
            others: further arguments of `fedsec.cell.training.train`.
        """
        told = {"on_round": lambda _: None, "watching": {KEY: self.cell} if self.cell.observes else {}, **others}
        return train(self.cell, frozenset(self.cell.rounds), self.resources, checkpoint=checkpoint, **told)

    def plugins(self) -> list[Plugin]:
        """Return each of the cell's plug-ins."""
        attacks = [attack_plugin(self.cell.attack)] if self.cell.threat else []
        return [*attacks, *map(defense_plugin, self.cell.defense)]


@dataclass(slots=True)
class _Kept(Checkpoint):
    """Progress that is recorded round by round in memory, and in the file where the process is to be killed."""

    stops: bool = False
    """Return whether the process ends when the round is recorded."""
    models: list[torch.Tensor] = field(default_factory=list)
    """The global trainables after each round [parameters]."""

    def save(self, state: Mapping[str, Any]) -> None:
        """Record the round."""
        self.models.append(state["current"].clone())
        if self.stops:
            Checkpoint.save(self, state)
            raise _StoppedError


def check_conduct(subject: Subject, folder: Path) -> None:
    """Check that inputs stay unchanged, a second run is the same, and so is a run that is killed after every round.

    The federation is trained twice: once as it is, watched, and once in as many processes as it has rounds, each of
    which takes up what the one before it left. Until the first of these ends, nothing was taken up: what differs then
    is not repeatable.

    Args:
        subject: the cell; of at least 2 rounds where anything of it may remember.
        folder: for checkpoints.
    """
    name, rounds = subject.name, subject.cell.scenario.federation.rounds
    noted = _Kept(folder / "whole.safetensors", "same", seconds=0.0)
    with ExitStack() as stack:
        for plugin in subject.plugins():
            stack.enter_context(watched(type(plugin.make()), *plugin.asked))
        first = _storable(subject, noted)
        seen = everything(subject, first)
    path = folder / "killed.safetensors"
    for done in range(rounds):
        process = _Kept(path, "same", seconds=0.0, stops=done < rounds - 1)
        again, began = _process(subject, process)
        require(began == done + 1, f"{name}: load_state() does not take up what state() gave")
        require(bool(done) or same(process.models[0], noted.models[0]), f"{name}: {_DIFFERS}")
        unlike = not same(process.models[0], noted.models[done])
        if unlike or (again is not None and not same(seen, everything(subject, again))):
            require(same(seen, everything(subject, subject.train())), f"{name}: {_DIFFERS}")
            raise AssertionError(
                f"{name} forgets: stopped after round {done} and resumed, it goes on differently. What it remembers "
                "belongs into state() and load_state()"
            )


def _storable(subject: Subject, checkpoint: Checkpoint) -> Trained:
    """Return the cell's federation; AssertionError if its state cannot be stored."""
    try:
        return subject.train(checkpoint)
    except TypeError as error:
        raise AssertionError(f"{subject.name}: state() holds what no checkpoint can: {error}") from error


def _process(subject: Subject, checkpoint: Checkpoint) -> tuple[Trained | None, int]:
    """Return what a process that continues from a checkpoint trains, and its first round; None if it was killed."""
    rounds: list[int] = []
    trained = None
    with suppress(_StoppedError):
        trained = subject.train(checkpoint, on_round=lambda progress: rounds.append(progress.round))
    return trained, rounds[0]


def everything(subject: Subject, trained: Trained) -> Any:
    """Return the result of a cell without timings: the model, the rounds, and the answer of its attack."""
    outcome, cell = trained.outcome, subject.cell
    rounds = [replace(one, seconds=0.0, party_seconds={}) for one in outcome.rounds]
    says = claims(subject, trained) if cell.asked and (cell.acts or cell.observes) else None
    remembers = [dict(watcher.attack.state()) for watcher in trained.watchers.values()]
    final = (outcome.final.correct.tolist(), outcome.final.loss)
    return [outcome.end, outcome.curve, [str(one.as_json()) for one in rounds], final, says, remembers]


def claims(
    subject: Subject, trained: Trained, secrets: Secrets | None = None, materials: Materials | None = None
) -> Any:
    """Return the answer of the cell's attack on a trained federation.

    An attack that observes is shown the rounds anew if there are other secrets than its federation's.

    Args:
        subject: the cell.
        trained: its federation.
        secrets: the truth, of which views hold what is granted; the real one if absent.
        materials: what the goal asks about; the federation's own if absent.

    Raises:
        AssertionError: the attack changed what it was shown, or answers something else than it was asked for.
    """
    cell, goal, looked, plugin = subject.cell, goal_of(subject.cell), Looked(), attack_plugin(subject.cell.attack)
    assert goal is not None  # noqa: S101 - the cell has an attack
    plan = (
        trained.staged
        if cell.acts and materials is None
        else staged(cell, materials or trained.materials, trained.model.layout.size)
    )
    anew = secrets is not None
    secrets = secrets if secrets is not None else secrets_of(cell, trained)
    attack = _asked(cell, trained, plugin, anew)
    with watched(type(attack), *plugin.asked):
        for number in cell.rounds if cell.observes and anew else ():
            attack.observe(round_view(cell, trained.around, trained.outcome.observed[number], secrets[number], looked))
        evidence = evidence_of(cell, trained, secrets, plan.question, looked)
        try:
            found = goal.ask(attack, evidence)
        except ValueError as error:
            raise AssertionError(f"{subject.name}: {type(attack).__name__}.{plugin.asked[0]}(): {error}") from error
    try:
        check_untouched(cell, trained.around, looked, trained.frozen)
    except RuntimeError as error:
        raise AssertionError(str(error)) from error
    return found


def _asked(cell: Cell, trained: Trained, plugin: Plugin, anew: bool) -> Any:
    """Return the instance that is asked: never one that was asked before."""
    if not cell.observes:
        return trained.attacker(plugin)
    return checked(plugin) if anew else deepcopy(trained.watchers[KEY].attack)


def same(first: Any, second: Any) -> bool:
    """Return whether two values are equal to the last bit; NaN equals NaN, a list equals a tuple."""
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        fits = first.shape == second.shape and first.dtype == second.dtype
        return fits and bool(((first == second) | ((first != first) & (second != second))).all())
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return first.dtype == second.dtype and np.array_equal(first, second, equal_nan=first.dtype.kind == "f")
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        return len(first) == len(second) and all(same(a, b) for a, b in zip(first, second, strict=True))
    if is_dataclass(first) and type(first) is type(second):
        return all(same(getattr(first, one.name), getattr(second, one.name)) for one in fields(first))
    return bool(first == second or (first != first and second != second))


def check_blind(subject: Subject, granted: Iterable[str], trained: Trained | None = None) -> None:
    """Exchange the truth between clients, granted knowledge aside: the attack's answer stays the same, bit for bit.

    The truth is what each client trained on in the rounds that are looked at, what clients hold, and which candidates
    are members.

    Args:
        subject: a cell with an attack that is asked something after training.
        granted: side knowledge that the attack is told, which stays in place.
        trained: its federation, if it was trained already.
    """
    name, cell, told = subject.name, subject.cell, tuple(granted)
    trained = subject.train() if trained is None else trained
    secrets = secrets_of(cell, trained)
    moved = {number: _exchanged(of_round, told) for number, of_round in secrets.items()}
    first = claims(subject, trained, secrets)
    second = claims(subject, _other_truth(trained, moved), moved)
    if same(first, second):
        return
    require(same(first, claims(subject, trained, secrets)), f"{name}: {_DIFFERS}")
    raise AssertionError(f"{name} says something else when the truth is permuted: it sees the truth")


def _exchanged(secrets: Mapping[int, Secret], granted: tuple[str, ...]) -> dict[int, Secret]:
    """Return the truth of one round with each client's in another's place."""
    clients = list(secrets)
    return {c: _hybrid(secrets[c], secrets[clients[i - 1]], granted) for i, c in enumerate(clients)}


def _hybrid(own: Secret, other: Secret, granted: tuple[str, ...]) -> Secret:
    """Another client's truth in another order, with what is granted left in place."""
    kept: dict[str, Any] = {}
    if Knowledge.LABELS.value in granted:
        kept["labels"] = own.labels
    if Knowledge.LENGTHS.value in granted:
        kept["lengths"] = own.lengths
    return other._replace(**{**{name: part[::-1] for name, part in other._asdict().items()}, **kept})


def _other_truth(trained: Trained, secrets: Mapping[int, Mapping[int, Secret]]) -> Trained:
    """The same federation with other secrets in its vault, other texts at its clients, and another coin."""
    vault = Vault(dict(trained.around.vault.secrets))
    vault.secrets |= {(number, client): one for number, own in secrets.items() for client, one in own.items()}
    held = tuple(text[::-1] for text in trained.held[::-1])
    around = replace(trained.around, vault=vault)
    return replace(trained, around=around, held=held, materials=permuted(trained.materials))


def permuted(materials: Materials) -> Materials:
    """The same texts and candidates with the mask of members permuted, and each client's rows with another one."""
    pool, rows = materials.pool, [*materials.rows[1:], *materials.rows[:1]]
    if pool is not None:
        order = SeedTree(0).numpy("another coin").permutation(len(pool.members))
        pool = replace(pool, members=pool.members[order])
    return replace(materials, rows=rows, pool=pool)


def shown(evidence: Evidence) -> list[tuple[str, Any]]:
    """Return everything that an attack can see of its evidence, by name."""
    rounds = [(f"round {number}", evidence.at(number)) for number in evidence.rounds]
    last = [("the released model", evidence.released())] if evidence.released is not None else []
    return [("evidence", evidence), *rounds, *last]


def evidence_with(subject: Subject, trained: Trained, materials: Materials) -> Evidence:
    """Return the evidence of the attack if the goal asks about these texts; AssertionError if it cannot stage them."""
    cell = subject.cell
    try:
        question = staged(cell, materials, trained.model.layout.size).question
    except FedsecError as error:
        raise AssertionError(f"{subject.name}: {error}") from error
    return evidence_of(cell, trained, secrets_of(cell, trained), question, Looked())
