"""Runs the numeric tests (`-m numeric`) on every set of kernels that changes results here: `make numerics`.

Libraries choose a kernel by what the processor can do, and each rounds its sums in its own way. The variables below
make them choose as on a lesser processor. Whether one does anything depends on the processor, so a few products and
sums are taken first, and variants that give the same bits as an earlier one are passed over.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("maths", "defenses", "privacy", "attacks/reconstruction/dager")
"""Where numeric tests lie, below this folder; others need not be collected."""
VARIANTS: dict[str, dict[str, str]] = {
    "as it is": {},
    "two threads": {"OMP_NUM_THREADS": "2"},
    "torch without vectors": {"ATEN_CPU_CAPABILITY": "default"},
    "torch at AVX2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "oneDNN at SSE4.1": {"ONEDNN_MAX_CPU_ISA": "SSE41"},
    "oneDNN at AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "MKL at its lowest": {"MKL_CBWR": "COMPATIBLE"},
    "MKL at AVX2, same bits": {"MKL_CBWR": "AVX2"},
    "MKL at SSE4.2": {"MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
    "OpenBLAS for Nehalem": {"OPENBLAS_CORETYPE": "Nehalem"},
    "OpenBLAS for Haswell": {"OPENBLAS_CORETYPE": "Haswell"},
}


Noted = tuple[float, float, str]
"""An error, what was promised, and the variant."""


def main() -> int:
    """Run the tests once for each variant, and print the largest error beside each promise."""
    failed: list[str] = []
    worst: dict[str, Noted] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        chosen = _different(dict(zip(VARIANTS, pool.map(_bits, VARIANTS), strict=True)))
        for name, (code, output, noted) in zip(chosen, pool.map(_tested, chosen), strict=True):
            _say(f"{name}: {output.strip().splitlines()[-1]}")
            for bound, promised, error in noted:
                worst[bound] = max(worst.get(bound, (0.0, promised, name)), (error, promised, name))
            if code:
                failed.append(name)
                _say(output)
    _tell(worst)
    if failed:
        _say(f"\nnumeric tests fail with: {', '.join(failed)}")
    return int(bool(failed))


def _different(bits: dict[str, str]) -> list[str]:
    """The variants of which none before gives the same bits."""
    first: dict[str, str] = {}
    for name, digits in bits.items():
        if first.setdefault(digits, name) != name:
            _say(f"{name}: the same bits as {first[digits]}, passed over")
    return list(first.values())


def _bits(name: str) -> str:
    done = _python(str(Path(__file__)), "digest", **VARIANTS[name])
    done.check_returncode()
    return done.stdout


def _tested(name: str) -> tuple[int, str, list[tuple[str, float, float]]]:
    """The tests' exit code, their output, and (bound, promised, error) as often as one was noted."""
    chosen = ("-m", "numeric and not slow and not bench", "-p", "no:cacheprovider", "--hypothesis-seed=0")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "bounds")
        done = _python(
            "-m", "pytest", *chosen, *(f"tests/{name}" for name in FOLDERS), FEDSEC_BOUNDS=str(file), **VARIANTS[name]
        )
        lines = file.read_text().splitlines() if file.exists() else []
    return done.returncode, done.stdout + done.stderr, [json.loads(line) for line in lines]


def _tell(worst: dict[str, Noted]) -> None:
    width = max(map(len, worst), default=0)
    _say(f"\n{'promise':{width}}  promised   largest error   in hand   on")
    for bound, (error, promised, name) in sorted(worst.items()):
        hand = f"{promised / error:.3g}" if error else "all"
        _say(f"{bound:{width}} {promised:9.0e} {error:15.1e} {hand:>9}   {name}")


def digest() -> str:
    """The bits of what these libraries make of a few fixed numbers."""
    import numpy as np
    import torch
    from torch.nn import functional

    draw, found = torch.Generator().manual_seed(0), hashlib.sha256()
    for dtype in (torch.float32, torch.float64):
        rows, other = (
            torch.randn(37, 301, generator=draw, dtype=dtype),
            torch.randn(301, 64, generator=draw, dtype=dtype),
        )
        square = rows[:, :37] + torch.eye(37, dtype=dtype)
        ours = [rows @ other, rows.sum(dim=1), rows.norm(dim=1), rows.softmax(dim=1), rows.exp()]
        ours += [functional.linear(rows, other.T), functional.layer_norm(rows, (301,)), functional.gelu(rows)]
        ours += [torch.linalg.svdvals(rows), torch.linalg.solve(square, square.T), torch.linalg.eigvalsh(rows @ rows.T)]
        theirs = [rows.numpy() @ other.numpy(), np.linalg.svd(rows.numpy())[1], rows.numpy().sum(axis=1)]
        for values in (*(one.numpy() for one in ours), *theirs):
            found.update(values.tobytes())
    large = torch.randn(16, 300_000, generator=draw)  # large enough to be shared among threads
    found.update((large @ large.T).numpy().tobytes() + large.sum().numpy().tobytes())
    return found.hexdigest()


def _python(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1:] == ["digest"]:
        sys.stdout.write(digest())
    else:
        sys.exit(main())
