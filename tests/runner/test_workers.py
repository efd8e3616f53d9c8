"""Cells in worker processes: the same results, and plug-ins that kill, silence or fill the process they run in."""

import atexit
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fedsec import registry
from fedsec.api import DefenseCard
from fedsec.config.load import load_scenario
from fedsec.config.schema import Scenario
from fedsec.errors import FedsecError
from fedsec.plan.cells import Cell
from fedsec.plan.tasks import Member, Task
from fedsec.report.scorecard import without_timings
from fedsec.result import RunResult, run
from fedsec.runner import scenario as runner
from fedsec.runner import workers
from fedsec.runner.observer import Observer
from fedsec.store.rundir import RunDirectory

from ..prepared import Command

pytestmark = pytest.mark.usefixtures("prepared_workers")
HOSTILE = """
import os, signal, sys, time
from fedsec.attacks.byzantine.sign_flip import SignFlip

class Hostile(SignFlip):
    def __init__(self, how):
        super().__init__(scale=1.0)
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif how == "leave":
            os._exit(3)
        elif how == "exit":
            sys.exit(0)
        elif how == "print":
            print("{}", flush=True)
            os.write(1, b'{"is": "done", "whole": true}\\n')
            assert sys.stdin.read() == "" and os.read(0, 1) == b""
        elif how == "fill":
            ballast = b"x" * 3_000_000_000
            time.sleep(300)  # held until the bound is noticed
            raise RuntimeError(f"{len(ballast)} bytes were let through")
"""
CARDS = """
from dataclasses import replace
from fedsec.api import Parameter, Provenance
from fedsec.attacks.byzantine.cards import CARDS as BUILT_IN

how = Parameter(name="how", default="kill", summary="what it does", provenance=Provenance.GUESS)
sign_flip = next(card for card in BUILT_IN if card.name == "sign-flip")
CARDS = (replace(sign_flip, name="hostile", target="fedsec_hostile_test.plugin:Hostile", parameters=(how,)),)
"""


@cache
def _notes() -> Path:
    """A small file, which a worker reads in no time."""
    rows = [
        {"text": f"patient {i} has {'pain' if i % 2 else 'fever'} since day {i}", "label": i % 2} for i in range(40)
    ]
    file = Path(tempfile.mkdtemp(prefix="fedsec-test-")) / "notes.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    atexit.register(shutil.rmtree, file.parent)
    return file


def _scenario(*attacks: Any, **changes: Any) -> Scenario:
    content: dict[str, Any] = {
        "schema": 1,
        "name": "test/workers",
        "summary": "A question?",
        "model": {"name": "tiny-bert", "width": 16, "layers": 1, "dropout": True, "tuning": {"kind": "full"}},
        "data": {"path": str(_notes())},
        "federation": {
            "clients": 5,
            "rounds": 2,
            "batch_size": 1,
            "learning_rate": 0.1,
            "optimizer": "sgd",
            "update": "gradient",
        },
        "threat": {"malicious": 1, "attack_rounds": "last"},  # what a defense made of the model before
        "matrix": {"attack": list(attacks) or ["none"], "defense": ["none"]},
    }
    for path, value in changes.items():
        section, _, key = path.partition("__")
        content[section] = {**content[section], key: value} if key else value
    return load_scenario(content)


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed third-party package, found through its entry point here and in workers."""
    packages = tmp_path / "packages"
    package, info = packages / "fedsec_hostile_test", packages / "fedsec_hostile_test-1.0.dist-info"
    for folder in (package, info):
        folder.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "plugin.py").write_text(HOSTILE)
    (package / "cards.py").write_text(CARDS)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fedsec-hostile-test\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fedsec.attacks]\nhostile = fedsec_hostile_test.cards:CARDS\n")
    monkeypatch.syspath_prepend(str(packages))
    registry.attacks.cache_clear()
    yield
    registry.attacks.cache_clear()


class _Listens(Observer):
    def __init__(self) -> None:
        self.notices: list[str] = []
        self.workers: set[int] = set()
        self.told: list[str] = []

    def worker(self, number: int) -> Observer:
        self.workers.add(number)
        return self

    def round(self, progress: Any) -> None:
        self.told.append(f"round {progress.round}")

    def finished(self, cell: Cell, status: str) -> None:
        self.told.append(status)

    def notice(self, text: str) -> None:
        self.notices.append(text)


def _ended(result: RunResult) -> dict[str, tuple[str, str]]:
    cells = result.scorecard["cells"]
    return {cell["attack_params"].get("how", cell["attack"]): (cell["status"], cell["reason"] or "") for cell in cells}


def _bytes(result: RunResult) -> str:
    return json.dumps(without_timings(result.scorecard))


def test_two_workers_give_the_bytes_of_one(tmp_path: Path) -> None:
    scenario = _scenario("embedding-algebra", "sign-flip", matrix__defense=["krum"], matrix__seed=[0, 1])
    alone = run(scenario, tmp_path / "1")
    listens = _Listens()
    both = run(scenario, tmp_path / "2", listens, workers=2)
    assert both.complete
    assert _bytes(alone) == _bytes(both)
    assert listens.workers == {1, 2}
    (notice,) = listens.notices  # both workers load the data, and it is told once
    assert " of 2 classes: '" in notice
    assert sorted(listens.told) == sorted(["ok"] * 12 + ["round 1", "round 2"] * 8)
    record = json.loads((both.path / "record.json").read_text())
    assert (record["workers"], record["threads"], record["device"]) == (2, 1, "cpu")
    assert not list(both.path.glob("worker-*")), "empty logs are removed"


def test_a_worker_that_dies_costs_its_cells_and_the_run_goes_on(tmp_path: Path, hostile: None) -> None:
    ways = [{"name": "hostile", "how": how} for how in ("kill", "leave", "exit", "print")]
    listens = _Listens()
    result = run(_scenario(*ways), tmp_path / "runs", listens, workers=2)
    ended = _ended(result)
    assert ended["none"][0] == ended["print"][0] == "ok", "what a plug-in prints or reads reaches no pipe of ours"
    assert ended["kill"][0] == ended["leave"][0] == ended["exit"][0] == "error"
    assert "signal 9 (SIGKILL); out of memory?" in ended["kill"][1]
    assert "exit code 3" in ended["leave"][1]
    assert ended["exit"][1].startswith("SystemExit at fedsec_hostile_test.plugin:")
    assert len([notice for notice in listens.notices if not notice.startswith("data: ")]) == 2
    logs = list(result.path.glob("worker-*.log"))
    assert all(log.stat().st_mode & 0o077 == 0 for log in logs)


@pytest.mark.parametrize(
    ("code", "said"),
    [(-11, "signal 11 (SIGSEGV)"), (-9, "out of memory?"), (3, "exit code 3"), (-60, "signal 60 (unknown)")],
)
def test_how_a_worker_ended_is_said_in_words(code: int, said: str) -> None:
    assert said in workers._death(code)


def test_sys_exit_in_this_process_is_an_error_cell_too(tmp_path: Path, hostile: None) -> None:
    result = run(_scenario({"name": "hostile", "how": "exit"}), tmp_path / "runs")
    assert _ended(result)["none"][0] == "ok"
    assert _ended(result)["exit"][1].startswith("SystemExit at fedsec_hostile_test.plugin:")


def test_a_group_that_needs_too_much_memory_is_an_error_and_the_others_run(tmp_path: Path, hostile: None) -> None:
    listens = _Listens()
    scenario = _scenario({"name": "hostile", "how": "fill"}, {"name": "hostile", "how": "none"})
    result = run(scenario, tmp_path / "runs", listens, workers=2, memory="2GB")
    ended = _ended(result)
    assert ended["fill"][0] == "error"
    assert "needs more than the 2.00 GB that a run may use here: " in ended["fill"][1]
    assert ended["none"][0] == "ok"
    assert any("stopped for memory" in notice for notice in listens.notices)


def test_a_bound_below_what_anything_needs_says_so(tmp_path: Path) -> None:
    result = run(_scenario(), tmp_path, memory="50MB")
    assert [cell["status"] for cell in result.scorecard["cells"]] == ["error"]
    assert "Raise --memory" in result.scorecard["cells"][0]["reason"]


def test_a_plug_in_of_the_calling_program_is_missed_with_a_clear_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card: DefenseCard = replace(registry.defenses().get("krum"), name="by-hand")
    monkeypatch.setitem(registry.defenses()._cards, card.name, card)
    scenario = _scenario(matrix__defense=["by-hand"])
    with pytest.raises(FedsecError, match=r"by-hand.*with 1 worker only"):
        run(scenario, tmp_path, workers=2)
    assert run(scenario, tmp_path).complete


def test_sources_that_change_under_a_run_make_no_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = runner.distinct

    def stale(planned: Iterable[Member]) -> list[Task]:
        return [replace(task, key="0" * 15 + str(task.index)) for task in original(planned)]

    monkeypatch.setattr(runner, "distinct", stale)
    with pytest.raises(FedsecError, match="changed while the run was under way"):
        run(_scenario("none", "sign-flip"), tmp_path, workers=2)
    assert not list(tmp_path.rglob("cells/*.json"))


def test_one_run_at_a_time(tmp_path: Path) -> None:
    scenario = _scenario()
    directory = runner.run_directory(scenario, tmp_path)
    assert not directory.locked()
    code = (
        "import sys, pathlib; from fedsec.store.rundir import RunDirectory\n"
        "with RunDirectory(pathlib.Path(sys.argv[1])).lock():\n"
        "    print('locked', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(directory.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        assert directory.locked()
        with pytest.raises(FedsecError, match=rf"being run by another process \(process {other.pid}\).*--out"):
            run(scenario, tmp_path)
        other.kill()
    assert not directory.locked(), "the lock of a dead process is none"
    assert run(scenario, tmp_path).complete
    assert RunDirectory(directory.path).locked() is False


def _children(parent: int) -> set[int]:
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent and fields[0] != "Z":
            found.add(int(stat.parent.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill"])
def test_nothing_is_left_running(number: signal.Signals, tmp_path: Path) -> None:
    scenario = {
        "federation.rounds": 2000,
        "matrix.attack": ["none"],
        "matrix.defense": ["none"],
        "matrix.seed": [0, 1],
        "federation.local_steps": 10,
    }
    arguments = [part for path, value in scenario.items() for part in ("--set", f"{path}={value}")]
    model = "model={name: tiny-bert, width: 32, dropout: false, tuning: {kind: full}}"
    command = ["run", "quick/byzantine", *arguments, "--set", model, "--out", str(tmp_path)]
    command += ["--workers", "2", "--display", "plain"]
    if number == signal.SIGINT:
        process: subprocess.Popen[str] | Command = Command(*command)
    else:  # once with processes that all start as a user's do
        program = [sys.executable, "-m", "fedsec.cli.main"]
        process = subprocess.Popen([*program, *command], stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        for _ in range(2):
            while not (line := process.stderr.readline()).startswith("training:"):
                assert line, "the run ended before it was stopped"
        children = _children(process.pid)
        assert len(children) == 2
        process.send_signal(number)
        process.communicate(timeout=20)
        assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGKILL)
    finally:
        process.kill()
    end = time.monotonic() + 10
    while any(_alive(worker) for worker in children):
        assert time.monotonic() < end, "a worker outlives its parent"
        time.sleep(0.05)


def _alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
