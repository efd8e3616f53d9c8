"""Aggregation rules against byzfl, Flower and their floors. Run by `make bench`, never by the tests.

What is compared with byzfl and Flower needs the environment of `make bench-peers`; the floors do not. See
peers/aggregation.py for what is measured.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pytest

pytestmark = pytest.mark.bench
PEERS_PYTHON = "FEDSEC_PEERS_PYTHON"
LOCAL = Path(__file__).parents[2] / ".venv-peers" / "bin" / "python"
SAME = 1e-3
"""Relative difference of outputs at most: of a million coordinates, one or two lie so near a tie that fp32 decides."""
BY_DISTANCES = (
    *("krum", "multi-krum", "geometric-median", "centered-clipping", "mda", "foolsgold", "fltrust"),
    *("nnm+krum", "arc+krum", "bucketing+krum", "clipping+krum"),
)
BY_COORDINATES = ("median", "trimmed-mean", "meamed")
BYZFL = {
    "krum": ("Krum", 1 / 5),
    "multi-krum": ("MultiKrum", 1 / 5),
    "geometric-median": ("GeometricMedian", 1 / 5),
    "centered-clipping": ("CenteredClipping", 1 / 1.3),
    "nnm+krum": ("NNM+Krum", 1 / 25),
    "median": ("Median", 1 / 5),
    "trimmed-mean": ("TrMean", 1 / 5),
    "meamed": ("Meamed", 1 / 8),
}
"""Ours, byzfl's steps, and what the ratio should stay under."""
FLOWER = {
    "krum": ("krum", 1 / 3),
    "multi-krum": ("multi-krum", 1 / 3),
    "bulyan": ("bulyan", 1 / 5),
    "bulyan-one-pass": ("bulyan", 1 / 5),
}
"""The same for Flower, whose Bulyan is the one-pass variant."""
Measure = Callable[..., dict[str, Any]]


@dataclass(frozen=True)
class Instance:
    """Rows of a round."""

    rows: int = 50
    columns: int = 1_000_000
    declared: int = 10
    repeats: int = 7
    threads: int = 2


@pytest.fixture(scope="module")
def size(quick: bool) -> Instance:
    """That of issue 5."""
    cores = len(os.sched_getaffinity(0))
    return Instance(11, 500, 2, 2, min(2, cores)) if quick else Instance(threads=min(2, cores))


@pytest.fixture(scope="module")
def peers_python() -> str:
    """An interpreter with byzfl, flwr and fedsec."""
    chosen = Path(os.environ.get(PEERS_PYTHON) or LOCAL)
    if not chosen.exists():
        pytest.skip(f"no interpreter with byzfl and flwr: run make bench-peers, or set {PEERS_PYTHON}")
    return str(chosen)


@pytest.fixture
def compare(benchmark: Any, script: Any, size: Instance, monkeypatch: pytest.MonkeyPatch) -> Measure:
    """Runs one comparison and notes its ratio."""
    for library in ("OMP", "OPENBLAS"):  # numpy reads them as it starts
        monkeypatch.setenv(f"{library}_NUM_THREADS", str(size.threads))

    def run(
        name: str, other: str, against: str, target: float | None, *options: str, python: str = sys.executable
    ) -> dict[str, Any]:
        arguments = ("aggregation.py", size, f"--ours={name}", f"--other={other}", *options)
        found: dict[str, Any] = benchmark.pedantic(script, args=arguments, kwargs={"python": python}, rounds=1)
        seconds, cpu, versions = found["seconds"], found["cpu"], found["versions"]
        first, *others = [form for form in seconds if form != "ours"]
        shape = f"n={size.rows}, d={size.columns:.0e}, f={size.declared}, {size.threads} threads"
        benchmark.extra_info.update(
            **_entry(seconds, cpu, first, f"{against.format(**versions)}, {shape}"),
            target=target,
            seconds=seconds,
            difference=found["difference"],
            versions=versions,
            also=[{"name": f"on {form}", **_entry(seconds, cpu, form, "for information")} for form in others],
        )
        return found

    return run


def _entry(seconds: dict[str, list[float]], cpu: dict[str, list[float]], form: str, against: str) -> dict[str, Any]:
    """The median over repetitions, each of which is ours and then the other in its forms."""
    ours, other = median(seconds["ours"]), median(seconds[form])
    return {
        "ratio": _ratio(seconds, form),
        "cpu": _ratio(cpu, form),
        "against": f"{against}: {other:.3f} s, fedsec {ours:.3f} s",
    }


def _ratio(taken: dict[str, list[float]], form: str) -> float:
    return median(a / b for a, b in zip(taken["ours"], taken[form], strict=True))


@pytest.mark.parametrize("name", BY_DISTANCES)
def test_rule_against_one_product(compare: Measure, name: str) -> None:
    compare(name, "floor:gram", "one plain fp32 Gram product and one weighted sum", 2.0)


@pytest.mark.parametrize("name", [*BY_COORDINATES, "bulyan"])
def test_rule_against_one_sort(compare: Measure, name: str) -> None:
    compare(name, "floor:sort", "sorting the transposed chunks", None)


@pytest.mark.parametrize("kind", ["opposed", "huge"])
@pytest.mark.parametrize(
    "name", ["krum", "geometric-median", "centered-clipping", "mda", "nnm+krum", "trimmed-mean", "meamed", "bulyan"]
)
def test_hostile_rows_against_random_ones(compare: Measure, name: str, kind: str) -> None:
    """What colluders can make the server spend."""
    compare(name, "ours:", f"the same rule on random rows; here f rows are {kind}", None, f"--kind={kind}")


@pytest.mark.parametrize("name", BYZFL)
def test_rule_against_byzfl(compare: Measure, peers_python: str, name: str) -> None:
    """Each with its own defaults but for the neighbours of Krum; on tensors, as byzfl's own training, and on arrays.

    Sorting, and what is bound by memory, is faster there on numpy arrays: see the second line.
    """
    theirs, target = BYZFL[name]
    parameters = json.dumps({"neighbours": "allouah"} if "krum" in name else {})
    against, options = f"byzfl {{byzfl}} {theirs}", (f"--parameters={parameters}",)
    found = compare(name, f"byzfl:{theirs}", against, target, *options, python=peers_python)
    assert name not in BY_COORDINATES or found["difference"] < SAME


@pytest.mark.parametrize("name", FLOWER)
def test_rule_against_flower(compare: Measure, peers_python: str, name: str) -> None:
    """Flower's newer strategies, which are its faster ones, on arrays in memory; reading records is not counted."""
    theirs, target = FLOWER[name]
    compare(name, f"flwr:{theirs}", f"flwr {{flwr}} {theirs}", target, python=peers_python)
