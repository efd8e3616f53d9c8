"""The cores, memory and devices that a run may use. Imports no torch until it is used."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fedsec.errors import FedsecError

SHARE_OF_MEMORY = 0.8
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Machine:
    """How a run uses the machine.

    Results depend on `threads` in their last bits, and never on `workers`: so the number of threads never follows
    from that of workers.
    """

    workers: int | None = 1
    """Number of worker processes; with 1 the cells run in this process. None: one per `threads` usable cores."""
    threads: int = 1
    """Number of threads for the numerics of each worker."""
    memory: int | None = None
    """Bytes that all workers together may use; None: 80 % of what is free. A number is enforced with 1 worker too,
    which is then a process of its own."""
    device: str = "auto"
    """`cpu`, `cuda`, or `auto`: cuda where there is one."""

    def __post_init__(self) -> None:
        if self.workers is not None and not 1 <= self.workers <= 1024:
            raise FedsecError(f"workers is {self.workers}; give 1 to 1024, or leave it out for one per core")
        if not 1 <= self.threads <= 1024:
            raise FedsecError(f"threads is {self.threads}; give 1 to 1024")

    def count(self, groups: int, device: str = "cpu") -> int:
        """Return the number of workers for this many groups of cells; one where they would share a GPU, unless set."""
        one_per_core = max(1, cores() // self.threads) if device == "cpu" else 1
        return max(1, min(one_per_core if self.workers is None else self.workers, groups))

    def processes(self, workers: int, device: str = "cpu") -> int:
        """Return the number of processes that train one federation's clients side by side, for this many workers.

        With several threads there is one: a forked copy of a process whose libraries hold threads may hang.
        """
        return max(1, cores() // workers) if device == "cpu" and self.threads == 1 else 1

    @property
    def bound(self) -> int:
        """Return the bytes that all workers together may use."""
        return self.memory if self.memory is not None else int(SHARE_OF_MEMORY * available_memory())


def cores() -> int:
    """Return the number of cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


def parse_memory(text: str | int | None) -> int | None:
    """Return the bytes of `8GB`, `500 MiB` or a plain number; FedsecError for anything else."""
    if text is None or isinstance(text, int):
        found = text
    else:
        match = re.fullmatch(r"\s*([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([a-z]{0,3})\s*", text.lower())
        unit = _UNITS.get(match.group(2)) if match else None
        found = int(float(match.group(1)) * unit) if match and unit else 0
    if found is not None and found < 1:
        raise FedsecError(f"memory is '{text}'; give bytes or a size such as 8GB or 500MiB")
    return found


def available_memory() -> int:
    """Return the bytes that are still available: what the system reports, within the limits of control groups."""
    return max(1, min([_system_memory(), *_group_limits()]))


def used_memory(process: int) -> int:
    """Return the bytes that a process has for itself; 0 where the system does not report them.

    Pages of mapped files (libraries, weights) are left out: workers share them, and the system takes them back
    when memory is short.
    """
    try:
        fields = Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()
        return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def resolve_device(wanted: str) -> str:
    """Return `cpu` or `cuda`; FedsecError if cuda is requested and absent."""
    if wanted == "cpu" or (wanted == "auto" and not any(Path("/dev").glob("nvidia[0-9]*"))):
        return "cpu"  # said without torch, which takes seconds to load
    if wanted not in ("auto", "cuda"):
        raise FedsecError(f"device is '{wanted}'; give auto, cpu or cuda")
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        raise FedsecError("device cuda is asked for, and torch finds none here. Use --device cpu, or see fedsec doctor")
    return "cpu"


def thread_variables(threads: int) -> dict[str, str]:
    """Return the environment of a process whose libraries use that many threads.

    Threads that wait for others sleep, unless the environment says otherwise: on busy cores they would spend several
    times the CPU time of the work itself on looking whether it is done.
    """
    waits = {"OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "passive")}
    return {**dict.fromkeys(_THREAD_VARIABLES, str(threads)), "TOKENIZERS_PARALLELISM": "false", **waits}


def thread_variables_set(threads: int) -> None:
    """Limit libraries that are not loaded yet to that many threads, in this process and its children."""
    os.environ.update(thread_variables(threads))


@contextmanager
def limited_threads(threads: int) -> Iterator[None]:
    """Limit torch, numpy and scipy to `threads` threads within the block."""
    import numpy  # noqa: F401  (their libraries must be loaded to be limited)
    import scipy.linalg  # noqa: F401
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    with threadpool_limits(limits=threads, user_api="blas"):
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def _system_memory() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found = next(line for line in lines if line.startswith("MemAvailable:"))
        return int(found.split()[1]) * 1024
    except (OSError, ValueError, IndexError, StopIteration):
        try:
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        except (OSError, ValueError):
            return 8 * 2**30  # a system that says nothing


def _group_limits(root: Path = Path("/sys/fs/cgroup"), groups: Path = Path("/proc/self/cgroup")) -> list[int]:
    """What each control group around this process leaves, version 2 and version 1; page cache counts as free."""
    try:
        lines = groups.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, kinds, where = line.split(":", 2) if line.count(":") >= 2 else ("", "-", "")
        if kinds not in ("", "memory"):
            continue
        top = root / kinds if kinds else root
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if kinds else ("memory.max", "memory.current")
        folder = top / where.lstrip("/")
        for place in (folder, *folder.parents):
            if place.is_relative_to(top):
                limit, used = (_number(place / name) for name in names)
                if limit is not None and used is not None:
                    found.append(max(0, limit - used + _inactive_file(place / "memory.stat")))
    return found


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):  # absent, or `max`
        return None


def _inactive_file(path: Path) -> int:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("inactive_file ")), 0)
