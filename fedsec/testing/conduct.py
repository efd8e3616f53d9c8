"""How a plug-in behaves in a federation, whatever it is good for: repeatable, resumable, and it keeps its hands off.

Each check trains a canned federation a few times and raises AssertionError with what went wrong.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from fedsec.api import Knowledge, ReleasedView, RoundView, implements
from fedsec.cell.evidence import check_untouched, released_view, round_view, secrets_of
from fedsec.cell.resources import Resources, attack_plugin, defense_plugin
from fedsec.cell.training import Trained, train
from fedsec.federation.checkpoint import Checkpoint
from fedsec.federation.progress import Progress
from fedsec.federation.transcript import Secret
from fedsec.plan.cells import Cell
from fedsec.testing.watch import watched

_DIFFERS = "a second run of the same seed differs; draw from the view's `generator`, and from nothing else"


class _StoppedError(Exception):
    """Stands for a process that was killed between two rounds."""


def require(condition: bool, message: str) -> None:
    """AssertionError with the message unless the condition holds."""
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

    def train(
        self, checkpoint: Checkpoint | None = None, on_round: Callable[[Progress], None] | None = None
    ) -> Trained:
        """The cell's federation."""
        observe = frozenset({self.cell.attack_round}) if self.cell.reads else frozenset[int]()
        return train(self.cell, observe, self.resources, on_round or (lambda _: None), checkpoint)

    def plugins(self) -> list[Any]:
        """An instance of each of the cell's plug-ins."""
        attacks = [attack_plugin(self.cell.attack)] if self.cell.threat else []
        return [plugin.make() for plugin in (*attacks, *map(defense_plugin, self.cell.defense))]


def check_conduct(subject: Subject, folder: Path) -> None:
    """Inputs are left alone, a second run is the same, and a run that was stopped after any round is too.

    Args:
        subject: the cell; of at least 2 rounds where anything of it may remember.
        folder: for checkpoints.
    """
    name = subject.name
    with ExitStack() as stack:
        for kind in dict.fromkeys(type(plugin) for plugin in subject.plugins()):
            stack.enter_context(watched(kind))
        first = subject.train()
        seen = everything(subject, first)
    again = everything(subject, subject.train())
    require(same(seen, again), f"{name}: {_DIFFERS}")
    for last in range(1, subject.cell.scenario.federation.rounds):
        _check_resumed(subject, seen, last, Checkpoint(folder / f"after-{last}.safetensors", "same", seconds=0.0))


def _check_resumed(subject: Subject, expected: Any, last: int, checkpoint: Checkpoint) -> None:
    name = subject.name

    def stop(progress: Progress) -> None:
        if progress.round == last + 1:
            raise _StoppedError

    try:
        subject.train(checkpoint, stop)
    except _StoppedError:
        pass
    except TypeError as error:
        raise AssertionError(f"{name}: state() holds what no checkpoint can: {error}") from error
    trained: list[int] = []
    resumed = subject.train(checkpoint, lambda progress: trained.append(progress.round))
    require(trained[:1] == [last + 1], f"{name}: load_state() does not take up what state() gave")
    found = everything(subject, resumed)
    require(
        same(expected, found),
        f"{name} forgets: stopped after round {last} and resumed, it goes on differently. What it remembers belongs "
        "into state() and load_state()",
    )


def everything(subject: Subject, trained: Trained) -> Any:
    """What came of a cell, timings aside: the model, the rounds, and what a malicious server read."""
    outcome = trained.outcome
    rounds = [replace(one, seconds=0.0) for one in outcome.rounds]
    reads = subject.cell.alters_broadcast and implements(attack_plugin(subject.cell.attack).make(), "reconstruct")
    read = claims(subject, trained) if reads else None
    final = (outcome.final.correct.tolist(), outcome.final.loss)
    return [outcome.end, outcome.curve, [str(one.as_json()) for one in rounds], final, read]


def claims(subject: Subject, trained: Trained, secrets: Mapping[int, Secret] | None = None) -> str:
    """What the cell's attack says of a trained federation.

    Args:
        subject: the cell.
        trained: its federation.
        secrets: the truth, of which the view holds what is granted; the real one if absent.

    Raises:
        AssertionError: the attack changed what it was shown.
    """
    view: RoundView | ReleasedView
    cell, attack = subject.cell, trained.attacker(attack_plugin(subject.cell.attack))
    with watched(type(attack)):
        if cell.reads:
            view = round_view(cell, trained, secrets_of(cell, trained) if secrets is None else secrets)
            found = repr(attack.reconstruct(view))
        else:
            view = released_view(cell, trained)
            found = repr(attack.extract(view))
            trained.model.load(trained.outcome.end)  # answering queries sets it anew
    try:
        check_untouched(cell, trained)
    except RuntimeError as error:
        raise AssertionError(str(error)) from error
    return found


def same(first: Any, second: Any) -> bool:
    """Equal to the last bit; NaN equals NaN."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first.nan_to_num(nan=0.0), second.nan_to_num(nan=0.0)) and torch.equal(
            first.isnan(), second.isnan()
        )
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(same(a, b) for a, b in zip(first, second, strict=True))
    return bool(first == second or (first != first and second != second))


def check_blind(subject: Subject, granted: Iterable[str]) -> None:
    """Exchange the truth between clients, granted knowledge aside: the attack's output stays the same, bit for bit.

    Args:
        subject: a cell with an attack that reads a round, or the released model.
        granted: side knowledge that the attack is told, which stays in place.
    """
    name, trained, told = subject.name, subject.train(), tuple(granted)
    other, moved = trained, None
    if subject.cell.reads:
        secrets = secrets_of(subject.cell, trained)
        clients = list(secrets)
        moved = {c: _hybrid(secrets[c], secrets[clients[i - 1]], told) for i, c in enumerate(clients)}
    else:
        other = replace(trained, texts=tuple(text[::-1] for text in trained.texts[::-1]))
    first, second = claims(subject, trained), claims(subject, other, moved)
    if first == second:
        return
    require(first == claims(subject, trained), f"{name}: {_DIFFERS}")
    raise AssertionError(f"{name} says something else when the truth is permuted: it sees the truth")


def _hybrid(own: Secret, other: Secret, granted: tuple[str, ...]) -> Secret:
    """Another client's truth in another order, with what is granted left in place."""
    other = Secret(other.tokens[::-1], other.lengths[::-1], other.labels[::-1], other.planted[::-1])
    kept: dict[str, Any] = {}
    if Knowledge.LABELS.value in granted:
        kept["labels"] = own.labels
    if Knowledge.LENGTHS.value in granted:
        kept["lengths"] = own.lengths
    return other._replace(**kept)
