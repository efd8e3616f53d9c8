"""How often the gate of ci/smoke alarms where nothing changed, and catches a change of twice the tolerance.

Run as a program: `python -m tests.robustness.alarms --out FOLDER --runs 200`. Every run trains the gated cells of
ci/smoke with four seeds of its own; what they measured is appended to a file, so that the same command continues. Then
the runs are judged against a baseline blessed with seeds of its own, and each against the run before it. A change is
put into what a run measured: one gated value is worse by twice its tolerance. Beside the share that is caught stands
the power for that sample: of the same gate on values drawn from a normal distribution with the spread over all seeds.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from fedsec.api import BetterFor
from fedsec.cell.resources import Resources
from fedsec.config.load import load_single
from fedsec.config.schema import Scenario
from fedsec.gate.baseline import Baseline, make
from fedsec.gate.readings import Gated, Member, gated
from fedsec.gate.regression import Change, compare
from fedsec.gate.verdict import Outcome, Verdict, settle
from fedsec.metrics.stats.differences import Measured
from fedsec.plan.tasks import Task, grouped, members
from fedsec.runner.execute import run_group
from fedsec.runner.machine import limited_threads

SMOKE, SEEDS, FIRST = "ci/smoke", 4, 1000
MOST_ALARMS = 18 / 200
"""What 5 of 100 may come to in 200 runs, but for one case in a hundred."""
Run = list[Gated]


@dataclass(slots=True)
class _Report:
    """Keeps results and says nothing."""

    contents: dict[str, dict[str, Any]] = field(default_factory=dict)

    def finish(self, task: Task, content: dict[str, Any]) -> None:
        self.contents[task.key] = {**content, "key": task.key}

    def fail(self, tasks: list[Task], failure: Any) -> None:
        raise RuntimeError(f"{tasks[0].cell.label}: {failure.reason}")

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def scenario_of(place: int) -> Scenario:
    """ci/smoke with the seeds of one run."""
    first = FIRST + SEEDS * place
    return load_single(SMOKE, [f"matrix.seed={list(range(first, first + SEEDS))}"])


def measured(scenario: Scenario, resources: Resources) -> Run:
    """What the gate reads of a run of the gated cells alone."""
    planned = members(scenario)[0]
    keys = tuple(task.key for task in planned.tasks)
    own = [Member(scenario, keys)]
    about = gated(scenario.gate, own, {"cells": []}, [])
    wanted = {(one.group.attack, one.group.defense) for one in about}
    tasks = [task for task in planned.tasks if (task.cell.attack_label, task.cell.defense_label) in wanted]
    report = _Report()
    with tempfile.TemporaryDirectory() as folder:
        for group in grouped(tasks):
            run_group(list(group.tasks), report, resources, Path(folder) / f"{group.key}.safetensors")  # type: ignore[arg-type]
    contents = list(report.contents.values())
    return gated(scenario.gate, own, {"cells": [content["cell"] for content in contents]}, contents)


def collected(file: Path, runs: int) -> list[Run]:
    """The runs of a file, and those that it lacks, each appended to it as it ends."""
    lines = file.read_text().splitlines() if file.exists() else []
    found = [json.loads(line) for line in lines if line.endswith("]")]  # a torn last line is run again
    file.write_text("".join(f"{json.dumps(one)}\n" for one in found))
    with limited_threads(1):
        resources = Resources("cpu")
        for place in range(len(found), runs):
            start = time.process_time()
            run = measured(scenario_of(place), resources)
            found.append([{str(seed): list(value[:6]) for seed, value in one.group.seeds.items()} for one in run])
            with file.open("a") as stream:
                stream.write(f"{json.dumps(found[-1])}\n")
            _say(f"run {place + 1} of {runs}: {time.process_time() - start:.1f} CPU s")
    shape = gated(scenario_of(0).gate, [_member()], {"cells": []}, [])
    return [[_with(one, values) for one, values in zip(shape, run, strict=True)] for run in found]


def verdict_of(run: Run, old: Run) -> Verdict:
    """A run judged against another one's baseline."""
    rules = _member().scenario.gate
    return settle(SMOKE, "", rules, run, _baseline(old), record={"inputs": {}}, members=[_member()])


def main() -> None:
    """Collect and judge; print figures."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--runs", type=int, default=200)
    options.add_argument("--draws", type=int, default=400, help="of each power")
    given = options.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    runs = collected(given.out / "runs.jsonl", given.runs + 1)
    blessed, later = runs[0], runs[1:]
    for name, pairs in (
        ("against one baseline", [(run, blessed) for run in later]),
        ("each against the run before it", list(zip(later, runs, strict=False))),
    ):
        alarms = sum(verdict_of(run, old).outcome >= Outcome.FAILED for run, old in pairs)
        _say(f"{name}: {alarms} of {len(pairs)} runs alarmed; at most {MOST_ALARMS * len(pairs):.1f} may")
    for place, one in enumerate(blessed):
        if one.rule.tolerance is None:
            continue
        pairs = [(_worse(run, place), old) for run, old in zip(later, runs, strict=False)]
        caught = np.mean([_caught(run, old, place) for run, old in pairs])
        drawn = list(_drawn(runs, given.draws))
        power = np.mean([_caught(_worse(run, place), old, place) for run, old in drawn])
        _say(
            f"{one.group.label}: a change of {2 * one.rule.tolerance:g} caught in {caught:.3f} of {len(pairs)} runs, "
            f"power {power:.3f} (from {len(drawn)} draws)"
        )


def _worse(run: Run, place: int) -> Run:
    """A run in which one gated value is worse by twice its tolerance."""
    one = run[place]
    sign = -1 if one.group.better_for == BetterFor.DEFENDER else 1
    by = sign * 2 * (one.rule.tolerance or 0.0)
    seeds = {seed: _moved(value, by) for seed, value in one.group.seeds.items()}
    changed = replace(one, group=replace(one.group, seeds=seeds))
    return [*run[:place], changed, *run[place + 1 :]]


def _moved(value: Measured, by: float) -> Measured:
    def within(number: float) -> float:
        return min(1.0, max(0.0, number + by)) if value.fraction else number + by

    ends = [None if end is None else within(end) for end in (value.low, value.high)]
    return value._replace(value=within(value.value), low=ends[0], high=ends[1])


def _caught(run: Run, old: Run, place: int) -> bool:
    """Whether the comparison with the baseline fails it; hard limits aside, which no power is about."""
    tested = [number for number, one in enumerate(run) if one.rule.tolerance is not None]
    found = compare([(run[number].rule, run[number].group, old[number].group) for number in tested])
    return found[tested.index(place)].change == Change.WORSE


def _drawn(runs: Sequence[Run], count: int) -> Iterator[tuple[Run, Run]]:
    """Pairs of runs like those that ran: seeds about the mean of all, with their spread and their mean interval."""
    generator = np.random.default_rng(0)
    pools = [[value for run in runs for value in run[place].group.seeds.values()] for place in range(len(runs[0]))]
    for _ in range(count):
        yield _draw(runs[0], pools, generator), _draw(runs[0], pools, generator)


def _draw(like: Run, pools: Sequence[Sequence[Measured]], generator: np.random.Generator) -> Run:
    """One run; its seeds are no other's, so that nothing is paired."""
    first = int(generator.integers(2**31))
    found = []
    for one, pool in zip(like, pools, strict=True):
        values = np.array([value.value for value in pool])
        drawn = generator.normal(values.mean(), values.std(ddof=1), SEEDS)
        halves = [(value.value - value.low, value.high - value.value) for value in pool if None not in value[1:3]]  # type: ignore[operator]
        low, high = np.mean(halves, axis=0) if halves else (None, None)
        seeds = {
            first + seed: pool[0]._replace(
                value=float(value),
                low=None if low is None else float(value - low),
                high=None if high is None else float(value + high),
            )
            for seed, value in enumerate(drawn)
        }
        found.append(replace(one, group=replace(one.group, seeds=seeds)))
    return found


@cache
def _member() -> Member:
    scenario = scenario_of(0)
    return Member(scenario, tuple(task.key for task in members(scenario)[0].tasks))


def _baseline(run: Run) -> Baseline:
    return make(SMOKE, {"inputs": {}}, [_member()], run)


def _with(one: Gated, values: Mapping[str, Sequence[Any]]) -> Gated:
    """A group with what was collected for it."""
    seeds = {int(seed): Measured(*numbers) for seed, numbers in values.items()}
    return Gated(one.rule, one.place, replace(one.group, seeds=seeds), (), ())


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
