"""One cell's training: honest rounds that are shared, a start from public rows, several attacked rounds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fedsec import registry
from fedsec.cell.resources import Resources
from fedsec.cell.score import score
from fedsec.cell.training import Trained, train
from fedsec.federation.checkpoint import Checkpoint
from fedsec.federation.progress import Progress
from fedsec.plan.cells import Cell, expand
from fedsec.plan.keys import group_key, training_key
from fedsec.report.scorecard import build
from fedsec.testing import canned, doubles
from fedsec.testing.conduct import same

_SHORT = ("federation.rounds=4", "federation.local_steps=1", "federation.evaluate_every=1")


@pytest.fixture(autouse=True)
def _data() -> Iterator[None]:
    with canned.registered():
        yield


def _cells(attack: Any, *overrides: str, defense: Any = "none") -> dict[tuple[str, str], Cell]:
    cells = expand(canned.byzantine(attack, defense, overrides=(*_SHORT, *overrides)))
    return {(cell.attack.name, cell.defense_label): cell for cell in cells}


def _train(cell: Cell, folder: Path | None = None, name: str = "x") -> tuple[Trained, list[int]]:
    """The training, and the rounds that it took."""
    rounds: list[int] = []
    checkpoint = None if folder is None else Checkpoint(folder / f"{name}.safetensors", name)

    def noted(progress: Progress) -> None:
        rounds.append(progress.round)

    return train(cell, frozenset(cell.rounds), Resources(), noted, checkpoint), rounds


def _same(one: Trained, other: Trained) -> bool:
    ours, theirs = one.outcome, other.outcome
    return torch.equal(ours.end, theirs.end) and ours.curve == theirs.curve


@pytest.mark.parametrize("attack", ["sign-flip", "free-rider", "gaussian"])
def test_honest_rounds_are_trained_once_and_change_nothing(attack: str, tmp_path: Path) -> None:
    late = "threat.participation={first: 3}"
    cells = _cells(attack, late, defense="foolsgold")  # a rule that remembers
    alone = {name: _train(cell)[0] for name, cell in cells.items()}
    first = True
    for place, (name, cell) in enumerate(cells.items()):
        defended = name[1] != "none"
        shared, rounds = _train(cell, tmp_path, str(place))
        assert _same(shared, alone[name]), name
        assert rounds == ([1, 2, 3, 4] if first or (defended and name[0] == "none") else [3, 4]), name
        first = False
    assert not _same(alone["none", "none"], alone[attack, "none"])


def test_honest_rounds_of_another_length_are_not_taken(tmp_path: Path) -> None:
    for first in (4, 3):
        cell = _cells("sign-flip", f"threat.participation={{first: {first}}}")["sign-flip", "none"]
        shared, _ = _train(cell, tmp_path, str(first))
        assert _same(shared, _train(cell)[0])


def test_a_goals_texts_are_watched_from_the_last_honest_round_whoever_trained_it(tmp_path: Path) -> None:
    attack = {"name": "text-backdoor", "trigger": "cf"}
    late = ("threat.participation={first: 3}", "federation.evaluate_every=3")
    alone, shared = (_train(_cells(attack, *late)["text-backdoor", "none"], tmp_path, name)[0] for name in "ab")
    assert [number for number, _ in shared.outcome.predictions] == [2, 3, 4]
    assert alone.outcome.predictions == shared.outcome.predictions
    assert alone.outcome.watched == shared.outcome.watched
    assert alone.outcome.curve == shared.outcome.curve


def test_damaged_honest_rounds_are_trained_again(tmp_path: Path) -> None:
    cell = _cells("sign-flip", "threat.participation={first: 3}")["sign-flip", "none"]
    expected, _ = _train(cell, tmp_path)
    (shared,) = tmp_path.glob("honest-*.safetensors")
    shared.write_bytes(shared.read_bytes()[:100])
    again, rounds = _train(cell, tmp_path, "y")
    assert rounds == [1, 2, 3, 4]
    assert _same(again, expected)


def test_a_start_from_public_rows_is_the_same_for_all_and_of_rows_that_nobody_holds(tmp_path: Path) -> None:
    start = ("data.train=210", "model.start={rows: 120, steps: 40, batch_size: 16}")
    cells = _cells("sign-flip", *start, defense="krum")
    found = {name: _train(cell, tmp_path, "-".join(name))[0] for name, cell in cells.items()}
    starts = [one.start for one in found.values()]
    assert all(one is not None and (one.rows, one.steps) == (120, 40) for one in starts)
    assert all(torch.equal(one.outcome.start, starts[0].vector) for one in found.values() if starts[0] is not None)
    assert len(list(tmp_path.glob("start-*.safetensors"))) == 1
    bare = _train(_cells("sign-flip", "data.train=210")["none", "none"])[0]
    one = found["none", "none"]
    assert one.outcome.curve[0][1] > bare.outcome.curve[0][1] + 0.2, "the start learnt nothing"
    content = score(cells["none", "none"], one)
    assert content["cell"]["start"] == {"rows": 120, "steps": 40}
    assert not list(tmp_path.glob("*.rounds"))


def test_a_start_asks_for_rows_that_are_left() -> None:
    from fedsec.errors import FedsecError

    cell = _cells("sign-flip", "model.start={rows: 20, steps: 2}")["none", "none"]
    message = r"model.start.rows 20 is more than the 0 training rows of canned-words that nobody else uses; lower it"
    with pytest.raises(FedsecError, match=message):
        _train(cell)


def _read(attack_rounds: str) -> dict[str, Any]:
    overrides = ("federation.rounds=2", f"threat.attack_rounds={attack_rounds}")
    cell = next(c for c in expand(canned.reconstruction("embedding-algebra", overrides=overrides)) if c.threat)
    content = score(cell, _train(cell)[0])
    return build("x", "k", [content])["cells"][0]


def test_several_rounds_are_scored_together() -> None:
    first, last, both, every = (_read(rounds) for rounds in ("1", "last", "[1, last]", "all"))
    for name, value in both["metrics"].items():
        assert name.startswith("cost/") or value == every["metrics"][name]
    name = "leakage/exact-match"
    assert both["metrics"][name]["n"] == first["metrics"][name]["n"] + last["metrics"][name]["n"] == 8
    mean = (first["metrics"][name]["value"] + last["metrics"][name]["value"]) / 2
    assert both["metrics"][name]["value"] == pytest.approx(mean)


def test_rounds_lie_beside_the_checkpoint_and_are_private(tmp_path: Path) -> None:
    cell = next(c for c in expand(canned.reconstruction("embedding-algebra")) if c.threat)
    trained, _ = _train(cell, tmp_path)
    files = list((tmp_path / "x.rounds").iterdir())
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    trained.outcome.observed.clear()
    assert not (tmp_path / "x.rounds").exists()


def test_defenses_of_the_trained_model_share_a_training() -> None:
    cards = [card for card in doubles.DEFENSES if card.name in ("query-filter", "drop-small")]
    for card in cards:
        registry.defenses().register(card)
    try:
        shared = [{"name": "query-filter"}, {"name": "drop-small"}]
        attack = {"name": "text-backdoor"}
        overrides = (*_SHORT, "threat.knowledge=[defense-settings]")
        stacks = [{"name": "foolsgold"}], [shared[0], {"name": "foolsgold"}, shared[1]]
        cells = [expand(canned.byzantine(attack, stack, overrides=overrides))[-1] for stack in stacks]
        assert all(cell.acts and cell.defense for cell in cells)
        assert len({training_key(cell) for cell in cells}) == len({group_key(cell) for cell in cells}) == 1
        first, whole = (_train(cell)[0] for cell in cells)
        under = first.under(cells[1])
        assert _same(under, whole.under(cells[1])), "it depends on whose training it was"
        assert under.outcome.final.predicted.tolist() == whole.under(cells[1]).outcome.final.predicted.tolist()
        assert under.outcome.curve == first.outcome.curve
        assert not torch.equal(under.outcome.end, first.outcome.end)
        assert [label for label, _ in under.stack.query_hooks] == ["query-filter"]
        assert same(under.outcome.stack["1"], first.outcome.stack["0"]), "foolsgold forgot its rounds"
    finally:
        for card in cards:
            registry.defenses().remove(card.name)
