"""What the benchmarks share: sizes, scripts in processes of their own, and the table at the end of `make bench`.

A benchmark notes in `extra_info`: `ratio` (ours over the other, so smaller is better), `cpu` (the same of CPU seconds,
which hardly depend on what else the machine does), `against` (what the other is),
`target` (what the ratio should stay under; reported, never asserted), or instead of the last `target_seconds` for an
entry whose target is a time. Further comparisons out of the same measurement stand under `also`, in the same form.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).parent / "peers"
QUICK = "FEDSEC_BENCH_QUICK"
"""Set to 1 for tiny sizes: everything is exercised, no figure means anything."""
ROWS = pytest.StashKey[list[tuple[str, dict[str, Any]]]]()
Script = Callable[..., dict[str, Any]]


@dataclass(frozen=True)
class Sizes:
    """What a federation does: `clients` take `steps` of 8 rows of 32 tokens in each of `rounds`."""

    clients: int = 10
    steps: int = 4
    rounds: int = 5
    evaluated: int = 100
    """Rows of the test set."""


@pytest.fixture(scope="session")
def quick() -> bool:
    """Whether sizes are tiny."""
    return os.environ.get(QUICK) == "1"


@pytest.fixture(scope="session")
def sizes(quick: bool) -> Sizes:
    """The federation of issue 3."""
    return Sizes(clients=2, steps=1, rounds=2, evaluated=8) if quick else Sizes()


@pytest.fixture(scope="session")
def script(tmp_path_factory: pytest.TempPathFactory) -> Script:
    """Runs a script of `peers/` in a fresh process and returns what it wrote."""

    def run(
        name: str, work: Sizes, *arguments: str, python: str = sys.executable, limit: float = 1800
    ) -> dict[str, Any]:
        out = tmp_path_factory.mktemp("script") / "out.json"
        sized = [f"--{key}={value}" for key, value in asdict(work).items()]
        command = [python, str(SCRIPTS / name), *sized, f"--out={out}", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
        if done.returncode != 0 or not out.exists():
            pytest.fail(f"{name} ended with {done.returncode}:\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}")
        found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        return found

    return run


@pytest.fixture(autouse=True)
def _tabled(request: pytest.FixtureRequest, quick: bool) -> Iterator[None]:
    """Keep what each benchmark notes, for the table."""
    if "benchmark" not in request.fixturenames:
        yield
        return
    info = request.getfixturevalue("benchmark").extra_info
    yield
    if "ratio" in info:
        if quick:
            info["quick"] = True
        request.config.stash.setdefault(ROWS, []).append((request.node.name, info))


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Every entry with its ratio, what it is against, its target and whether that is met."""
    rows = config.stash.get(ROWS, [])
    if not rows:
        return
    lines = [("entry", "value", "cpu", "target", "met", "against")]
    for name, info in rows:
        lines.append(_line(name.removeprefix("test_"), info))
        lines += [_line(f"  {part['name']}", part) for part in info.get("also", [])]
    widths = [max(len(line[column]) for line in lines) for column in range(5)]
    terminalreporter.section("ratios: ours over the other, smaller is better")
    if any(info.get("quick") for _, info in rows):
        terminalreporter.write_line(f"{QUICK}=1: tiny sizes, no figure below means anything")
    for *cells, against in lines:
        padded = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        terminalreporter.write_line(f"{padded}  {against}")


def _line(name: str, info: dict[str, Any]) -> tuple[str, str, str, str, str, str]:
    if "target_seconds" in info:
        value, target, unit = info["seconds"], info["target_seconds"], " s"
    else:
        value, target, unit = info["ratio"], info.get("target"), ""
    cpu = f"{info['cpu']:.3f}" if "cpu" in info else "-"
    if target is None:
        return name, f"{value:.3f}{unit}", cpu, "-", "-", info["against"]
    met = "yes" if value <= target else "NO"
    return name, f"{value:.3f}{unit}", cpu, f"{target:.3g}{unit}", met, info["against"]
