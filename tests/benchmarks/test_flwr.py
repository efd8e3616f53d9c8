"""The same federation in Flower's simulation. Run by `make bench` after `make bench-peers`, never by the tests."""

import os
from dataclasses import asdict
from functools import partial
from pathlib import Path
from runpy import run_path
from statistics import median
from typing import Any

import pytest

pytestmark = pytest.mark.bench
PEERS_PYTHON = "FEDSEC_PEERS_PYTHON"
LOCAL = Path(__file__).parents[2] / ".venv-peers" / "bin" / "python"
TARGET = 1 / 1.5
REPEATS = 3
LEAST_FALL = 0.5
"""Every engine's training loss falls at least by this fraction of the largest fall."""


@pytest.fixture(scope="module")
def peers_python() -> str:
    """An interpreter with flwr[simulation]; not ours, since their requirements exclude each other."""
    chosen = Path(os.environ.get(PEERS_PYTHON) or LOCAL)
    if not chosen.exists():
        pytest.skip(f"no interpreter with flwr: run make bench-peers, or set {PEERS_PYTHON}")
    return str(chosen)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, sizes: Any) -> tuple[str, ...]:
    """Arguments that name the corpus and the weights, the same for every engine."""
    minilm = pytest.importorskip("fedsec.models.minilm")
    folder = tmp_path_factory.mktemp("corpus")
    _write_corpus(folder, sizes)
    return f"--data={folder}", f"--folder={minilm.folder()}"


def test_federation_against_flower(
    benchmark: Any, script: Any, sizes: Any, quick: bool, peers_python: str, inputs: tuple[str, ...]
) -> None:
    """Whole calls in fresh processes, in turn: bare loop, fedsec, Flower; the median over repetitions.

    A call is `train` or `run_simulation`: model load, tokenising, every round; for Flower also the start of Ray and
    its actors. Starting the process and importing torch count for nobody but Flower's actors. The second line leaves
    all start-up aside: the rounds after the first, in which Flower's actors load their model.

    Flower runs in the faster of its two sensible settings on this machine, found by one trial each: one client at a
    time on all cores, or as many as there are cores on one each. It keeps model and batches in its actors.
    """
    cores = len(os.sched_getaffinity(0))
    flower = partial(script, "flwr_run.py", sizes, *inputs, f"--cores={cores}", python=peers_python)
    trials = {cpus: flower(f"--cpus-per-client={cpus}") for cpus in sorted({1, cores})}
    cpus = min(trials, key=lambda each: trials[each]["call"])
    ours = partial(script, "whole.py", sizes, *inputs, "--engine=fedsec")
    found: dict[str, list[dict[str, Any]]] = {"bare": [], "fedsec": [], "flower": []}
    for number in range(1 if quick else REPEATS):
        found["bare"].append(script("whole.py", sizes, *inputs, "--engine=bare"))
        found["fedsec"].append(ours() if number else benchmark.pedantic(ours, rounds=1))
        found["flower"].append(flower(f"--cpus-per-client={cpus}"))
    reload = flower(f"--cpus-per-client={cpus}", "--reload")
    call = {engine: median(one["call"] for one in runs) for engine, runs in found.items()}
    cpu = {engine: median(one["cpu"] for one in runs) for engine, runs in found.items()}
    rounds = {engine: median(_per_round(one) for one in runs) for engine, runs in found.items()}
    versions = found["flower"][0]["versions"]
    benchmark.extra_info.update(
        ratio=call["fedsec"] / call["flower"],
        cpu=cpu["fedsec"] / cpu["flower"],
        against=f"flwr {versions['flwr']} (ray {versions['ray']}), whole call, {cpus} cpus per client of {cores}: "
        f"{call['flower']:.1f} s, fedsec {call['fedsec']:.1f} s, bare loop {call['bare']:.1f} s",
        target=TARGET,
        call_seconds=call,
        round_seconds=rounds,
        trial_call_seconds={str(each): trial["call"] for each, trial in trials.items()},
        losses={engine: runs[0]["losses"] for engine, runs in found.items()},
        threads=found["fedsec"][0]["threads"],
        also=[
            _also("rounds alone", rounds, "fedsec", "flower", f"{rounds['flower']:.2f} s per round", target=TARGET),
            {
                **_also("fedsec over the bare loop", call, "fedsec", "bare", "whole call"),
                "cpu": cpu["fedsec"] / cpu["bare"],
            },
            {
                **_also("flower over the bare loop", call, "flower", "bare", "whole call"),
                "cpu": cpu["flower"] / cpu["bare"],
            },
            _also("flower over the bare loop, rounds alone", rounds, "flower", "bare", "per round"),
            {
                "name": "flower that loads the model for every message",
                "ratio": call["fedsec"] / reload["call"],
                "against": f"whole call {reload['call']:.1f} s, for information: as FlowerTune's client app does",
            },
        ],
    )
    # Heads and client rows are drawn differently, so losses agree roughly: every engine trained, on the same task.
    falls = {engine: runs[0]["losses"][0] - runs[0]["losses"][-1] for engine, runs in found.items()}
    assert quick or min(falls.values()) > LEAST_FALL * max(falls.values()), falls


def _per_round(run: dict[str, Any]) -> float:
    return median(run["rounds"])


def _also(
    name: str, seconds: dict[str, float], ours: str, other: str, against: str, target: float | None = None
) -> dict[str, Any]:
    return {"name": name, "ratio": seconds[ours] / seconds[other], "against": f"{other}: {against}", "target": target}


def _write_corpus(folder: Path, sizes: Any) -> None:
    """The corpus of `peers/plain.py`, which is no module that tests could import."""
    plain = run_path(str(Path(__file__).parent / "peers" / "plain.py"), run_name="plain")
    plain["write_corpus"](plain["Work"](**asdict(sizes)), folder)
