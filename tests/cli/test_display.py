"""Progress of one process and of several workers, on a terminal and off it."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from fedsec.cli.display import _Bars, _Lines, _TimeLeft, make_observer
from fedsec.cli.options import Display
from fedsec.config.load import load_scenario
from fedsec.federation.progress import ClientsRead, Progress
from fedsec.plan.cells import Cell, expand
from fedsec.runner.observer import Observer


@pytest.fixture(scope="module")
def cells() -> list[Cell]:
    return expand(
        load_scenario(
            "quick/byzantine",
            ["matrix.seed=[0]", "matrix.attack=[none, sign-flip, ipm]", "matrix.defense=[none, krum]"],
        )
    )


def _play(observer: Observer, cells: list[Cell]) -> None:
    """Two workers, of which the first goes on after the second is out of work."""
    observer.started(cells, cells)
    first, second = observer.worker(1), observer.worker(2)
    first.training(cells[0])
    second.training(cells[1])
    for number in (1, 2):
        first.round(Progress(number, 2, 12, 0.5, 0.25))
        second.round(Progress(number, 2, 12, 0.5, None, rejected=3))
    observer.finished(cells[1], "ok")
    second.idle()
    observer.worker(2)
    observer.notice("worker 2: died [bold]here")
    first.attacking(cells[0])
    for done in (9, 10):
        first.reading(ClientsRead(done, 10, 40.0 * (10 - done)))
    observer.finished(cells[0], "error")


def test_lines_of_workers_name_the_cell(cells: list[Cell]) -> None:
    stream = io.StringIO()
    _play(_Lines(stream), cells)
    lines = stream.getvalue().splitlines()
    assert f"training: {cells[0].label}" in lines
    assert f"  {cells[0].label}: round 2/2, 12 clients, loss 0.500, accuracy 0.250" in lines
    assert f"  {cells[1].label}: round 2/2, 12 clients, loss 0.500, 3 updates rejected" in lines
    assert f"  {cells[0].label}: 10 of 10 clients read" in lines
    assert any(line.startswith(f"[1/6] ok: {cells[1].label}, at least ") for line in lines)
    assert "worker 2: died [bold]here" in lines


def test_bars_have_a_line_per_worker(cells: list[Cell]) -> None:
    stream = io.StringIO()
    with _Bars(Console(file=stream, force_terminal=True, width=150)) as bars:
        bars.started(cells, cells[1:])
        first, second = bars.worker(1), bars.worker(2)
        first.training(cells[0])
        second.training(cells[1])
        assert len([task for task in bars.progress.tasks if task.visible]) == 3
        _play(bars, cells)
        shown = {task.description: task for task in bars.progress.tasks if task.visible}
        assert set(shown) == {"cells", f"attacking: {cells[0].label}, clients"}, "a worker without work has no line"
        assert shown["cells"].completed == 2
    assert "died [bold]here" in stream.getvalue(), "text is no markup"


def test_the_time_that_is_left_is_that_of_each_attack(cells: list[Cell], monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("fedsec.cli.display.time.monotonic", lambda: now)
    left = _TimeLeft(cells)  # two of `none`, `sign-flip` and `ipm` each
    assert str(left) == ""
    told = []
    for cell in sorted(cells, key=lambda cell: cell.defense_label):
        now += {"none": 1.0, "sign-flip": 100.0, "ipm": 10.0}[cell.attack.name]
        left.finish(cell, "ok")
        told.append(str(left))
    assert told == [
        "at least 1 s left, 4 cells not known yet",
        "at least 2 min left, 2 cells not known yet",
        "about 2 min left", "about 2 min left", "about 10 s left", "",
    ]  # fmt: skip


def test_a_cell_that_does_not_apply_is_no_measure(cells: list[Cell], monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("fedsec.cli.display.time.monotonic", lambda: now)
    controls = [cell for cell in cells if cell.attack.name == "none"]
    left = _TimeLeft([*controls, *controls])
    left.finish(controls[0], "n/a")
    assert str(left) == ""
    now = 30.0
    left.finish(controls[1], "ok")
    assert str(left) == "about 60 s left"


def test_lines_name_the_scenario_where_there_are_several(cells: list[Cell]) -> None:
    stream = io.StringIO()
    lines, one = _Lines(stream), cells[0]
    other = replace(one, scenario=one.scenario.model_copy(update={"name": "other"}))
    lines.started([one, other], [one, other])
    lines.finished(other, "ok")
    assert "ok: other: none vs" in stream.getvalue()
    lines.started([one], [one])
    lines.worker(1).training(one)
    assert stream.getvalue().endswith(f"training: {one.label}\n")


@pytest.mark.parametrize("kind", [*Display, None], ids=str)
def test_every_display_takes_every_message(
    kind: Display | None, cells: list[Cell], capsys: pytest.CaptureFixture[str]
) -> None:
    with make_observer(kind) as observer:
        _play(observer, cells)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert bool(printed.err) == (kind != Display.NONE)
