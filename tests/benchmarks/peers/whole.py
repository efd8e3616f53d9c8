"""The whole federation in a process of its own, by fedsec or by the bare loop: model load, tokenising and all rounds.

Starting Python and importing torch are not counted, for any engine.
"""

import json
import time
from argparse import ArgumentParser, Namespace
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from typing import Any

import torch
from plain import BareLoop, Work, add_arguments, client_batches, pretrained, tuned, work_of


def main() -> None:
    """Write the call's seconds, each round's seconds, and each round's training loss."""
    parser = ArgumentParser()
    add_arguments(parser)
    parser.add_argument("--engine", choices=("fedsec", "bare"), required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folder", required=True, help="MiniLM's weights and tokenizer")
    arguments = parser.parse_args()
    work = work_of(arguments)
    for name in ("peft", "transformers"):  # imports that no engine is charged with
        import_module(name)
    began = _cpu()
    result = _fedsec(work, arguments.data) if arguments.engine == "fedsec" else _bare(work, arguments)
    result["cpu"] = _cpu() - began
    arguments.out.write_text(json.dumps({**result, "threads": torch.get_num_threads()}))


def _cpu() -> float:
    """CPU seconds of this process and of those that it has ended."""
    both = (getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in both)


def _fedsec(work: Work, data: Path) -> dict[str, object]:
    """As `fedsec run` does it: clients side by side on all cores, each computed by one thread."""
    from ours import cell, run

    from fedsec.runner.machine import cores, limited_threads

    stamps, losses = [], []

    def on_round(progress: Any) -> None:
        stamps.append(time.perf_counter())
        losses.append(progress.loss)

    began = time.perf_counter()
    with limited_threads(1):
        run(cell(work, model="minilm", kind="lora", data=data, evaluate_every=work.rounds), on_round, processes=cores())
    return {"call": time.perf_counter() - began, "rounds": _between(stamps), "losses": losses}


def _bare(work: Work, arguments: Namespace) -> dict[str, object]:
    began = time.perf_counter()
    model, tokenizer = pretrained(arguments.folder)
    lines = (arguments.data / "train.jsonl").read_text(encoding="utf-8").splitlines()
    clients = client_batches([json.loads(line) for line in lines], tokenizer, work)
    bare = BareLoop(tuned(model, "lora"))
    first, *rounds = [bare.round(clients)[1] for _ in range(work.rounds)]
    return {"call": time.perf_counter() - began, "rounds": rounds, "first_round": first, "losses": bare.losses}


def _between(stamps: list[float]) -> list[float]:
    """Seconds of every round but the first, whose start nobody outside can see."""
    return [after - before for before, after in pairwise(stamps)]


if __name__ == "__main__":
    main()
