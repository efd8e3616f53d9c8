"""Runs as a folder holds them, made by hand: what the gate reads, without any training."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fedsec.config.dump import dump_text
from fedsec.config.load import load_scenario
from fedsec.gate.baseline import dumped
from fedsec.gate.judge import Looked, look
from fedsec.plan.cells import expand
from fedsec.result import read
from fedsec.store.rundir import RunDirectory

from ..report.support import not_run, round_of, trained

ROWS = 200
RULES: list[dict[str, Any]] = [
    {"metric": "utility/accuracy", "attack": "none", "defense": "none", "min": 0.5, "tolerance": 0.05},
    {"metric": "utility/accuracy", "attack": "sign-flip(scale=10)", "defense": "krum", "min": 0.5, "tolerance": 0.05},
    {"metric": "krum/clip-fraction", "attack": "sign-flip", "defense": "krum", "max": 0.9, "tolerance": 0.02},
    {"metric": "cost/upload-bytes", "attack": "none", "defense": "krum", "tolerance": 0},
]
SCENARIO: dict[str, Any] = {
    "schema": 1,
    "name": "tests/gate",
    "summary": "Does the gate see what it should?",
    "model": {"name": "tiny-bert"},
    "data": {"name": "clinic-notes", "train": 60, "test": 30},
    "federation": {"clients": 6, "rounds": 2, "learning_rate": 0.1},
    "threat": {"malicious": 1},
    "matrix": {"attack": [{"name": "sign-flip", "scale": 10}], "defense": ["krum"], "seed": [0, 1, 2, 3, 4]},
    "gate": RULES,
}
PACKAGES = {"fedsec": "0.1.0", "torch": "2.13.0"}
Right = Callable[[str, str, int], float | None]
"""The share of right answers of (attack, defense, seed), by labels; None for a cell that failed."""


def usual(attack: str, defense: str, seed: int) -> float:
    """A model that krum costs little and protects."""
    worse = {"none": 0.0, "krum": 0.02}[defense] + (0.6 if attack != "none" and defense == "none" else 0.0)
    return 0.8 - worse + 0.01 * (seed % 3)


def made(
    folder: Path,
    right: Right = usual,
    *,
    clip: float = 0.5,
    scenario: Mapping[str, Any] | None = None,
    head: Mapping[str, Any] | None = None,
    **record: Any,
) -> Path:
    """A run's folder with a cell for everything that is planned, unless `right` has none.

    Args:
        folder: where it lies.
        right: see `Right`.
        clip: what krum is made to have measured.
        scenario: sections to replace.
        head: fields of all cells.
        record: fields of record.json.
    """
    loaded: Any = load_scenario({**SCENARIO, **(scenario or {})})
    run = RunDirectory(folder / loaded.name / "0123456789abcdef")
    keys = []
    for place, cell in enumerate(expand(loaded)):
        keys.append(f"{place:016x}")
        labels = (cell.attack_label, cell.defense_label, cell.seed)
        fields: dict[str, Any] = {
            "attack": labels[0],
            "defense": labels[1],
            "seed": cell.seed,
            "position": None if labels[0] == "none" else "client",
            "attack_params": dict(cell.attack.params),
            "defense_stack": [part.model_dump() for part in cell.defense],
            "settings": cell.settings,
            **(head or {}),
        }
        share = right(*labels)
        if share is None:
            content = not_run("error", "RuntimeError: out of memory", **fields)
        else:
            hits = round(share * ROWS)
            measured = {"defense 0 krum/clip-fraction": clip + 0.001 * (cell.seed % 2)} if labels[1] == "krum" else {}
            rounds = [round_of(number, measurements=measured) for number in (1, 2)]
            content = trained("1" * hits + "0" * (ROWS - hits), rounds=rounds, **fields)
        run.write_cell(keys[-1], content, private=False)
    run.write_text("scenario.resolved.yaml", dump_text(loaded, run.path))
    about = {"scenario": loaded.name, "summary": loaded.summary, "cells": keys, "inputs": {"data": "d", "weights": "w"}}
    run.write_record({**about, "packages": PACKAGES, "device": "cpu", **record})
    return run.path


def looked_at(run: Path) -> Looked:
    """A run with its rules."""
    result, record = read(run)
    return look(result.path, record, result.scorecard, result.cells)


def blessed(run: Path, file: Path) -> Path:
    """A run's baseline in a file."""
    file.write_text(dumped(looked_at(run).baseline()))
    return file


def drawn(mean: float, generator: np.random.Generator) -> Right:
    """Cells whose share of right answers is drawn about a mean."""
    return lambda attack, defense, seed: float(generator.binomial(ROWS, mean)) / ROWS
