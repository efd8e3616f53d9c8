"""A group of cells that goes on from a checkpoint, whichever of its cells are left."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fedsec.cell.resources import Resources
from fedsec.config.load import load_scenario
from fedsec.federation.checkpoint import Checkpoint
from fedsec.plan.tasks import grouped, tasks_of
from fedsec.runner.execute import run_group


class Notes:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.rounds: list[int] = []
        self.notices: list[str] = []
        self.failures: list[Any] = []
        self.contents: list[dict[str, Any]] = []

    def training(self, task: Any) -> None:
        pass

    def scoring(self, task: Any) -> None:
        pass

    def reading(self, progress: Any) -> None:
        pass

    def round(self, progress: Any) -> None:
        self.rounds.append(progress.round)

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def finish(self, task: Any, content: dict[str, Any]) -> None:
        self.contents.append(content)

    def fail(self, tasks: Any, failure: Any) -> None:
        self.failures.append(failure)


SCENARIO = {
    "schema": 1,
    "name": "test/execute",
    "summary": "Are the rounds there that the cells ask for?",
    "model": {"name": "tiny-bert", "tuning": {"kind": "full"}, "width": 16, "layers": 1, "dropout": False},
    "data": {"name": "clinic-notes", "train": 30, "test": 10, "max_tokens": 16},
    "federation": {"clients": 3, "rounds": 2, "batch_size": 1, "learning_rate": 0.1, "update": "gradient"},
    "matrix": {"attack": ["embedding-algebra"], "defense": ["none"], "vary": {"threat.attack_rounds": [1, 2]}},
}


def test_a_checkpoint_that_lacks_a_round_which_a_cell_attacks_is_not_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedsec.runner.execute.Checkpoint", partial(Checkpoint, seconds=0.0))
    (group,) = grouped(tasks_of(load_scenario(SCENARIO)))
    attacks = {task.cell.rounds: task for task in group.tasks if task.cell.asked}
    path = tmp_path / "it.safetensors"
    for tasks, trained in (
        ([attacks[2,]], [1, 2]),
        ([attacks[2,]], []),
        ([attacks[1,], attacks[2,]], [1, 2]),
    ):
        notes = Notes()
        assert run_group(list(tasks), notes, Resources(), path), notes.failures
        assert [content["cell"]["status"] for content in notes.contents] == ["ok"] * len(tasks)
        assert notes.rounds == trained
        (told,) = notes.notices
        assert told.startswith("data: ")
        counted = [content["data"]["classes"] for content in notes.contents]
        assert {sum(one["train"] for one in classes) for classes in counted} == {30}
