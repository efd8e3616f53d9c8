"""What more clients cost in memory. Run by `make bench`, never by the tests."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.bench
TARGET, MANY = 1.3, 10
MIB = 2**20


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_peak_memory_of_100_clients_against_10(benchmark: Any, script: Any, sizes: Any) -> None:
    """Peak resident memory of two processes, each with MiniLM, LoRA and a cohort of all clients, over two rounds.

    All of it counts: Python, torch, the model, the corpus. Two steps per client are enough: what a step needs does
    not depend on how many there are.
    """
    few = replace(sizes, steps=min(2, sizes.steps), rounds=2)
    many = replace(few, clients=MANY * few.clients)
    small = script("memory.py", few)
    large = benchmark.pedantic(script, args=("memory.py", many), rounds=1)
    rows = 4 * many.clients * large["parameters"]
    benchmark.extra_info.update(
        ratio=large["peak"] / small["peak"],
        against=f"the same with {few.clients} clients ({small['peak'] / MIB:.0f} MiB); "
        f"{many.clients} clients took {large['peak'] / MIB:.0f} MiB, their rows {rows / MIB:.0f} MiB",
        target=TARGET,
        peak_bytes=large["peak"],
        peak_bytes_of_few=small["peak"],
    )


LARGEST_ANONYMOUS = 3e9
KEEPING = 0.05


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
def test_anonymous_memory_while_every_round_of_full_tuning_is_observed(
    benchmark: Any, script: Any, sizes: Any, quick: bool
) -> None:
    """Ten clients train all of MiniLM for ten rounds, each of which an attack reads afterwards.

    A round's updates are 0.9 GB; kept in memory, three of them took 5.3 GB.
    """
    work = replace(sizes, steps=1, rounds=2 if quick else 10)
    found = benchmark.pedantic(script, args=("observing.py", work, "--kind=full"), rounds=1)
    assert found["rounds"] == work.rounds
    benchmark.extra_info.update(
        ratio=found["peak"] / LARGEST_ANONYMOUS,
        against=f"3 GB; it held {found['peak'] / MIB:.0f} MiB beside what is mapped from files",
        target=1.0,
        peak_bytes=found["peak"],
    )


def test_what_keeping_every_round_of_lora_costs(benchmark: Any, script: Any, sizes: Any, quick: bool) -> None:
    """Two hundred rounds, each kept on disk: the time that takes beside the training's."""
    work = replace(sizes, steps=1, rounds=2 if quick else 200)
    found = benchmark.pedantic(script, args=("observing.py", work, "--kind=lora"), rounds=1)
    benchmark.extra_info.update(
        ratio=found["keeping"] / found["training"],
        against=f"the training alone ({found['training']:.0f} s); keeping {found['rounds']} rounds took "
        f"{found['keeping']:.1f} s",
        target=KEEPING,
    )
