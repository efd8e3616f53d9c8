"""Each quick scenario, whole: with one worker and with two, and killed twenty times over, always the same scorecard."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fedsec.config.load import load_scenario
from fedsec.config.shipped import shipped
from fedsec.config.suite import members_of
from fedsec.data.named import folder_of
from fedsec.report.scorecard import without_timings

KILLS = 20
EARLIEST, LATEST = 5.0, 15.0
"""Seconds after the start of a run; loading everything takes some five of them."""
QUICK = [name for name, _ in shipped() if name.startswith("quick/") and not name.startswith("quick/all/")]
"""Those of quick/all are run with it."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def _start(name: str, out: Path, workers: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "fedsec.cli.main", "run", name, "--display", "none", "--json"]
    return subprocess.Popen(
        [*command, "--out", str(out), "--workers", str(workers)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )


def _finished(name: str, out: Path, workers: int) -> str:
    printed, said = (process := _start(name, out, workers)).communicate(timeout=1800)
    assert process.returncode == 0, said
    return json.dumps(without_timings(json.loads(printed)), sort_keys=True)


@pytest.fixture(scope="module", params=QUICK)
def undisturbed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A scenario's name and its scorecard with one worker, timings aside."""
    for data in {str(member.data.name) for member in members_of(load_scenario(request.param))} - {"clinic-notes"}:
        if not (folder_of(data) or Path("absent")).is_dir():
            pytest.skip(f"{request.param} reads {data}, which is not in $FEDSEC_DATA")
    return request.param, _finished(request.param, tmp_path_factory.mktemp("one"), 1)


def test_two_workers_give_the_same_bytes(undisturbed: tuple[str, str], tmp_path: Path) -> None:
    name, expected = undisturbed
    assert _finished(name, tmp_path, 2) == expected


def test_killed_twenty_times_and_resumed_it_gives_the_same_bytes(undisturbed: tuple[str, str], tmp_path: Path) -> None:
    name, expected = undisturbed
    generator, written = random.Random(0), dict[Path, Any]()  # noqa: S311 - moments, no secret
    for turn in range(KILLS):
        process = _start(name, tmp_path, 1 + turn % 2)
        # The later the turn the earlier the kill, so that work is left for all of them.
        time.sleep(generator.uniform(EARLIEST, LATEST if turn < KILLS // 2 else EARLIEST + 3))
        ended = process.poll() is not None
        process.kill()
        process.communicate()
        assert not ended, f"the run ended after {turn} kills: raise the work or kill earlier"
        _unchanged(written)
        for file in tmp_path.glob(f"{name}/*/cells/*.json"):
            if json.loads(file.read_text())["cell"]["status"] != "error":
                written[file] = (file.stat().st_ino, file.stat().st_mtime_ns)
    assert _finished(name, tmp_path, 2) == expected
    _unchanged(written)
    (log,) = tmp_path.glob(f"{name}/*/events.jsonl")
    events = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
    done = [event["key"] for event in events if event["event"] == "cell" and event["status"] != "error"]
    assert len(done) == len(set(done)), "a finished cell ran again"


def _unchanged(written: dict[Path, Any]) -> None:
    for file, before in written.items():
        assert (file.stat().st_ino, file.stat().st_mtime_ns) == before, "a finished cell was written again"
