"""How often an audit refutes DP-SGD that is broken, and what it shows of the one that is right.

Run as a program: `python -m tests.robustness.audits --runs 20`. Every run trains a small classifier in 20 clients with
a promise of epsilon 1 and 6000 canaries, once with the shipped `dp-sgd` and once with each variant of
`broken_privacy`; its seed is its number. Texts are random words, so that nothing has to be downloaded.
"""

import argparse
import json
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fedsec.cell.resources import Resources
from fedsec.cell.score import score
from fedsec.cell.training import train
from fedsec.config.load import load_single
from fedsec.plan.cells import Cell, expand
from fedsec.runner.machine import limited_threads

from .broken_privacy import RIGHT, VARIANTS, broken, ledger_of

CLIENTS, ROWS, EPSILON, CANARIES, ROUNDS = 20, 256, 1.0, 6000, 20
WORDS = ("pain", "knee", "lung", "skin", "fever", "night", "cough", "sleep")


class Shown(NamedTuple):
    """What one audit shows."""

    bound: float
    ceiling: float
    normal: float
    """If the noise is Gaussian."""
    promised: float
    refuted: bool


@cache
def resources() -> Resources:
    """Corpora that all runs share."""
    return Resources()


def texts(folder: Path, clients: int = CLIENTS) -> Path:
    """Random words with the class of the first, in a file."""
    draw, file = np.random.default_rng(0), folder / "words.jsonl"
    rows = [draw.integers(len(WORDS), size=6) for _ in range(clients * ROWS * 10 // 9 + 200)]  # a tenth is held out
    lines = [json.dumps({"text": " ".join(WORDS[i] for i in row), "label": int(row[0])}) for row in rows]
    file.write_text("\n".join(lines))
    return file


def cell(variant: str, seed: int, data: Path, *, clients: int = CLIENTS, canaries: int = CANARIES) -> Cell:
    """The cell of an audit of one variant."""
    content: dict[str, Any] = {
        "schema": 1,
        "name": "tests/audit",
        "summary": "Is the promise kept?",
        "model": {"name": "tiny-bert", "tuning": {"kind": "head"}, "layers": 1, "width": 384, "dropout": False},
        "data": {
            "path": str(data),
            "train": clients * ROWS,
            "test": 100,
            "max_tokens": 8,
            "canaries": {"count": canaries},
        },
        "federation": {
            "clients": clients,
            "rounds": ROUNDS,
            "batch_size": ROWS // 2,
            "sampling": "poisson",
            "optimizer": "sgd",
            "learning_rate": 0.5,
            "update": "gradient",
            "evaluate_every": ROUNDS,
        },
        "threat": {"attack_rounds": "all"},
        "matrix": {"attack": ["canary-direction"], "defense": [{"name": variant, "epsilon": EPSILON}], "seed": [seed]},
    }
    labels = ("canary-direction", variant)
    found = (one for one in expand(load_single(content, ())) if one.attack.name == labels[0] and one.defense)
    return next(one for one in found if one.defense[0].name == labels[1])


def audit(one: Cell) -> Shown:
    """Train and audit a cell."""
    with ledger_of(one.defense[0].name):
        trained = train(one, frozenset(one.rounds), resources(), lambda _: None)
    metrics = score(one, trained)["cell"]["metrics"]
    verdict = metrics["audit/refuted"]
    names = ("audit/epsilon-lower-bound", "audit/ceiling", "audit/epsilon-lower-bound-gdp")
    return Shown(*(metrics[name]["value"] for name in names), verdict["detail"]["promised"], verdict["value"] > 0)


def main() -> None:
    """Audit every variant in every run, and say what came of it."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--runs", type=int, default=20)
    options.add_argument("--first", type=int, default=0, help="the first seed")
    given = options.parse_args()
    found: dict[str, list[Shown]] = {name: [] for name in VARIANTS}
    with tempfile.TemporaryDirectory() as folder, broken(), limited_threads(1):
        data = texts(Path(folder))
        for seed in range(given.first, given.first + given.runs):
            for name in VARIANTS:
                found[name].append(audit(cell(name, seed, data)))
                _say(f"seed {seed} {name}: {found[name][-1]}")
    for name, shown in found.items():
        bounds, normal = (np.array([getattr(one, field) for one in shown]) for field in ("bound", "normal"))
        _say(
            f"{name}: refuted in {sum(one.refuted for one in shown)} of {len(shown)} runs; promised "
            f"{shown[0].promised:.3f}; bound {np.median(bounds):.2f} ({bounds.min():.2f} to {bounds.max():.2f}), "
            f"ceiling {shown[0].ceiling:.2f}; if Gaussian {np.median(normal):.2f} ({normal.min():.2f} to "
            f"{normal.max():.2f})"
        )
    right = [one.bound for one in found[RIGHT]]
    _say(f"the right one: {sum(EPSILON / 4 <= one <= EPSILON for one in right)} of {len(right)} bounds lie in [.25, 1]")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
