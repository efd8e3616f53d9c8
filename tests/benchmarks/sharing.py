"""What sharing saves a suite: its CPU seconds beside those of its cells one by one, each in a process of its own.

    python tests/benchmarks/sharing.py quick/all [--set PATH=VALUE ...]

Both run with one worker of one thread. A cell by itself trains, attacks and scores once, without its controls, which
other cells bring; cells that do not apply cost nothing on either side. The scorecard that is made of the cells one by
one has to be that of the suite, timings aside. CPU seconds are user and system time of all processes, the start of
Python included.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

_ALONE = """
import json, sys
from pathlib import Path
from fedsec.cell.resources import Resources
from fedsec.config.load import load_scenario
from fedsec.federation.process_pool import ProcessPool
from fedsec.plan.tasks import tasks_of
from fedsec.runner.execute import run_group
from fedsec.runner.machine import limited_threads

name, overrides, key, target = json.loads(sys.argv[1])
task = next(task for task in tasks_of(load_scenario(name, overrides)) if task.key == key)

class Report:
    def finish(self, task, content):
        Path(target).write_text(json.dumps({"key": key, **content}))
    def fail(self, tasks, failure):
        raise SystemExit(failure.details)
    def __getattr__(self, _):
        return lambda *_: None

with limited_threads(1):
    run_group([task], Report(), Resources("cpu", ProcessPool(1)), Path(target).with_suffix(".safetensors"))
"""


def main() -> None:
    """Print the CPU seconds of both ways, their ratio, and whether the scorecards agree."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(_measure(given.name, given.overrides, Path(folder)), indent=1))  # noqa: T201


def _measure(name: str, overrides: list[str], folder: Path) -> dict[str, Any]:
    from fedsec.config.load import load_scenario
    from fedsec.plan.tasks import members
    from fedsec.report.scorecard import build, without_timings
    from fedsec.result import rebuild
    from fedsec.runner.scenario import run_directory

    sets = [word for one in overrides for word in ("--set", one)]
    command = ["-m", "fedsec.cli.main", "run", name, "--out", str(folder), "--workers", "1", "--display", "none", *sets]
    together = _cpu(command)
    suite = load_scenario(name, overrides)
    shared = rebuild(run_directory(suite, folder).path)
    seconds: dict[str, float] = {}
    contents: list[dict[str, Any]] = []
    cells = {content["key"]: content for content in shared.cells}
    for member in members(suite):
        for task in member.tasks:
            content = cells[task.key]
            if content["cell"]["status"] != "n/a":
                target = folder / f"{task.key}.json"
                if task.key not in seconds:
                    seconds[task.key] = _cpu(["-c", _ALONE, json.dumps([name, overrides, task.key, str(target)])])
                content = json.loads(target.read_text())
            row = {**content["cell"], "scenario": member.scenario.name}
            contents.append({**content, "cell": row})
    again = without_timings(build(suite.name, shared.path.name, contents))
    expected = {key: value for key, value in without_timings(shared.scorecard).items() if key in again}
    one_by_one = sum(seconds.values())
    return {
        "suite": name,
        "together_cpu_seconds": round(together, 1),
        "one_by_one_cpu_seconds": round(one_by_one, 1),
        "ratio": round(one_by_one / together, 2),
        "cells": len(seconds),
        "same_scorecard": json.dumps(again, sort_keys=True) == json.dumps(expected, sort_keys=True),
    }


def _cpu(arguments: list[str]) -> float:
    """User and system seconds of a Python process and of those that it starts."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise SystemExit(f"ended with exit code {done.returncode}: {arguments[:6]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
