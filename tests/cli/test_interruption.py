"""A run that is interrupted or killed, as a user meets it, and the same command afterwards."""

import json
import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from fedsec.report.scorecard import without_timings

from ..prepared import Command

SMALL = (
    "model={name: tiny-bert, width: 16, layers: 1, dropout: false, tuning: {kind: full}}",
    "data.train=240",
    "data.test=30",
    "federation.rounds=15",
    "federation.local_steps=1",
    "federation.sampling=poisson",
    "matrix.seed=[0, 1]",
    "matrix.attack=[none]",
    "matrix.defense=[none, {name: dp-sgd, epsilon: 0, noise_multiplier: 1.0}]",
)
ARGUMENTS = [
    "run",
    "quick/byzantine",
    "--display",
    "plain",
    "--json",
    *(a for value in SMALL for a in ("--set", value)),
]


def _fedsec(out: Path, workers: int = 1) -> Command:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return Command(*ARGUMENTS, "--out", str(out), "--workers", str(workers), env=environment)


def _stopped_in_the_middle(out: Path, number: signal.Signals) -> tuple[int, str]:
    """Exit code and the rest of stderr of a run that gets a signal when its first cell is done."""
    process = _fedsec(out)
    try:
        while not (line := process.stderr.readline()).startswith("[1/"):
            assert line, "the run ended before it was stopped"
        process.send_signal(number)
        _, rest = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, rest


def _finished(out: Path, workers: int = 1) -> dict[str, object]:
    process = _fedsec(out, workers)
    printed, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    return without_timings(json.loads(printed))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The scorecard of a run that nothing stopped; of the cells with noise it states an epsilon."""
    found = _finished(tmp_path_factory.mktemp("runs"))
    stated = [cell["guarantee"]["epsilon"] for cell in found["cells"] if cell["guarantee"]]  # type: ignore[attr-defined]
    assert len(stated) == 2
    assert all(0 < epsilon < 100 for epsilon in stated)
    return found


def test_ctrl_c_says_how_to_go_on_and_that_is_true(tmp_path: Path, undisturbed: dict[str, object]) -> None:
    code, said = _stopped_in_the_middle(tmp_path, signal.SIGINT)
    assert code == 130
    assert said.endswith("\nInterrupted. The same command continues where it left off.\n")
    assert "Traceback" not in said
    done = list(tmp_path.glob("quick/byzantine/*/cells/*.json"))
    assert 0 < len(done) < 4
    assert _finished(tmp_path) == undisturbed
    (record,) = tmp_path.glob("quick/byzantine/*/record.json")
    assert len(json.loads(record.read_text())["resumed"]) == 1


def test_a_run_killed_at_random_moments_ends_as_an_undisturbed_one(
    tmp_path: Path, undisturbed: dict[str, object]
) -> None:
    _killed_and_resumed(tmp_path, undisturbed, times=3, seed=0)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_run_killed_twenty_times_ends_as_an_undisturbed_one(tmp_path: Path, undisturbed: dict[str, object]) -> None:
    _killed_and_resumed(tmp_path, undisturbed, times=20, seed=1)


def _killed_and_resumed(out: Path, undisturbed: dict[str, object], times: int, seed: int) -> None:
    """Kill the run or one of its workers at a random moment, the same command again, and so on; then let it end."""
    generator = random.Random(seed)  # noqa: S311
    files: dict[Path, tuple[int, int]] = {}
    for turn in range(times):
        process = _fedsec(out, workers=1 + turn % 2)
        time.sleep(generator.uniform(0.1, 4.0))  # a run takes about 3 s
        workers = _children(process.pid)
        victim = generator.choice([process.pid, *workers])
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        if victim != process.pid:
            time.sleep(generator.uniform(0.0, 2.0))
        process.kill()
        process.communicate()
        _unchanged(files)
        for file in out.glob("quick/byzantine/*/cells/*.json"):
            if json.loads(file.read_text())["cell"]["status"] == "ok":
                files[file] = (file.stat().st_ino, file.stat().st_mtime_ns)
    assert _finished(out, workers=2) == undisturbed
    _unchanged(files)
    (log,) = out.glob("quick/byzantine/*/events.jsonl")
    events = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
    done = [event["key"] for event in events if event["event"] == "cell" and event["status"] == "ok"]
    assert len(done) == len(set(done)), "a finished cell ran again"


def _unchanged(files: dict[Path, tuple[int, int]]) -> None:
    for file, (inode, written) in files.items():
        assert (file.stat().st_ino, file.stat().st_mtime_ns) == (inode, written), "a finished cell was written again"


def _children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if stat.read_text().rpartition(")")[2].split()[1] == str(parent):
                found.append(int(stat.parent.name))
    return sorted(found)
