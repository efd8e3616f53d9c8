"""A run that is interrupted or killed, as a user meets it, and the same command afterwards."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fedsec.report.scorecard import without_timings

SMALL = (
    "model={name: tiny-bert, width: 16, layers: 1, dropout: false, tuning: {kind: full}}",
    "data.train=240",
    "data.test=30",
    "federation.rounds=15",
    "federation.local_steps=2",
    "matrix.seed=[0, 1, 2, 3]",
    "matrix.attack=[none]",
    "matrix.defense=[none]",
)
ARGUMENTS = [
    "run",
    "quick/byzantine",
    "--display",
    "plain",
    "--json",
    *(a for value in SMALL for a in ("--set", value)),
]


def _fedsec(out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "fedsec.cli.main", *ARGUMENTS, "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell may have it ignored
    )


def _stopped_in_the_middle(out: Path, number: signal.Signals) -> tuple[int, str]:
    """Exit code and the rest of stderr of a run that gets a signal when its first cell is done."""
    process = _fedsec(out)
    assert process.stderr is not None
    try:
        while not (line := process.stderr.readline()).startswith("[1/"):
            assert line, "the run ended before it was stopped"
        process.send_signal(number)
        _, rest = process.communicate(timeout=120)
    finally:
        process.kill()
    return process.returncode, rest


def _finished(out: Path) -> dict[str, object]:
    process = _fedsec(out)
    printed, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    return without_timings(json.loads(printed))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The scorecard of a run that nothing stopped."""
    return _finished(tmp_path_factory.mktemp("runs"))


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


def test_a_killed_run_that_is_resumed_ends_as_an_undisturbed_one(
    tmp_path: Path, undisturbed: dict[str, object]
) -> None:
    code, _ = _stopped_in_the_middle(tmp_path, signal.SIGTERM)
    assert code == -signal.SIGTERM
    assert 0 < len(list(tmp_path.glob("quick/byzantine/*/cells/*.json"))) < 4
    assert _finished(tmp_path) == undisturbed
