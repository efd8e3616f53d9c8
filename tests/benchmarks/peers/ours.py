"""The benchmarks' federation as a fedsec scenario."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from plain import LEARNING_RATE, RANK, ROWS, TOKENS, Work

from fedsec import load_scenario
from fedsec.cell.resources import Resources
from fedsec.cell.training import Trained, train
from fedsec.federation.process_pool import ProcessPool
from fedsec.plan.cells import Cell, expand


def cell(work: Work, *, model: str, kind: str, data: Path, rounds: int | None = None, evaluate_every: int = 1) -> Cell:
    """The only cell of a scenario without attack and defense that does `work`, for `rounds` if given.

    Args:
        work: what it does.
        model: a registered model's name.
        kind: of tuning.
        data: folder that `plain.write_corpus` filled.
        rounds: another number of rounds.
        evaluate_every: rounds between evaluations; the last round is always evaluated.
    """
    tuning: dict[str, Any] = {"kind": kind, "rank": RANK} if kind == "lora" else {"kind": kind}
    scenario = {
        "schema": 1,
        "name": "benchmark/overhead",
        "summary": "What does the engine cost beside the training that it runs?",
        "model": {"name": model, "task": "sequence-classification", "tuning": tuning, "dropout": False},
        "data": {"path": str(data), "max_tokens": TOKENS, "partition": {"kind": "iid"}},
        "federation": {
            "clients": work.clients,
            "rounds": work.rounds if rounds is None else rounds,
            "local_steps": work.steps,
            "batch_size": ROWS,
            "optimizer": "adamw",
            "learning_rate": LEARNING_RATE,
            "update": "delta",
            "evaluate_every": evaluate_every,
        },
        "matrix": {"attack": ["none"], "defense": ["none"], "seed": [0]},
    }
    (only,) = expand(load_scenario(scenario))
    return only


def run(chosen: Cell, on_round: Callable[[Any], None] = lambda _: None, processes: int = 1) -> Trained:
    """Train the cell's federation: corpus, model, every round, evaluation.

    Args:
        chosen: the cell.
        on_round: called after every round.
        processes: processes that train clients side by side.
    """
    return train(chosen, frozenset(), Resources(processes=ProcessPool(processes)), on_round)
