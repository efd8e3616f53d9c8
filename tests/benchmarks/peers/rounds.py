"""Rounds of a fedsec federation between rounds of the bare loop, in one process.

A round of the federation is everything between two calls of its `on_round`: sampling, batches and their collation,
local training, the check at the wire, aggregation, the server's step, the round's summary. Rounds that end in an
evaluation are not among those compared. After each round the bare loop trains on the very batches that the
federation has just used. Each round is compared with the mean of the bare rounds right before and right after it,
so that a drift of the machine cancels out.
"""

import json
import time
from argparse import ArgumentParser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from ours import cell, run
from plain import BareLoop, Work, add_arguments, pretrained, tuned, work_of, write_corpus

from fedsec.cell.training import Trained
from fedsec.models.local import LocalTrainer


class Spy:
    """Notes what local training is given: references only, which costs nothing that could be measured."""

    def __init__(self) -> None:
        self.batches: list[Any] = []
        """Each client's batches since the last call of `take`."""
        self.start: torch.Tensor | None = None
        """The very first trainables [parameters]."""

    def install(self) -> None:
        """Stand between the round loop and `LocalTrainer.update`."""
        original = LocalTrainer.update

        def update(trainer: LocalTrainer, start: torch.Tensor, batches: Any, *others: Any, **named: Any) -> Any:
            if self.start is None:
                self.start = start.clone()
            self.batches.append(batches)
            return original(trainer, start, batches, *others, **named)

        LocalTrainer.update = update  # type: ignore[method-assign, assignment, unused-ignore]

    def take(self) -> list[Any]:
        """The batches of one round."""
        if not self.batches:
            raise RuntimeError("the round loop no longer trains through LocalTrainer.update; adapt this benchmark")
        taken, self.batches = self.batches, []
        return taken


def main() -> None:
    """Write pairs of round times, and the time of a whole federation with evaluation after every round."""
    parser = ArgumentParser()
    add_arguments(parser)
    parser.add_argument("--model", choices=("minilm", "tiny-bert"), required=True)
    parser.add_argument("--kind", choices=("lora", "full"), required=True)
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    work = work_of(arguments)
    with TemporaryDirectory() as folder:
        write_corpus(work, Path(folder))
        chosen = {"model": arguments.model, "kind": arguments.kind, "data": Path(folder)}
        spy = Spy()
        spy.install()
        warm = run(cell(work, rounds=1, **chosen))
        bare = _bare(warm, spy, arguments.model, arguments.kind)
        pairs, losses = [], []
        for _ in range(arguments.repeats):
            found, losses = _interleaved(work, bare, spy, chosen)
            pairs += found
        evaluated = cell(work, **chosen)
        began = time.perf_counter()
        run(evaluated)
        whole = time.perf_counter() - began
    difference = max(abs(a - b) / b for a, b in zip(losses, bare.losses, strict=True))
    result = {"pairs": pairs, "whole_call": whole, "loss_difference": difference, "threads": torch.get_num_threads()}
    arguments.out.write_text(json.dumps(result))


def _bare(trained: Trained, spy: Spy, model: str, kind: str) -> BareLoop:
    """The bare loop on a plain model of the same architecture, from the same weights."""
    from transformers import AutoModelForSequenceClassification

    if model == "minilm":
        from fedsec.models.minilm import folder

        module, _ = pretrained(str(folder()))
    else:
        module = AutoModelForSequenceClassification.from_config(trained.model.module.config)
    plain = tuned(module, kind)
    assert spy.start is not None
    trained.model.load(spy.start)
    plain.load_state_dict(trained.model.module.state_dict())
    bare = BareLoop(plain)
    bare.round(spy.take()[:1])
    return bare


def _interleaved(
    work: Work, bare: BareLoop, spy: Spy, chosen: dict[str, Any]
) -> tuple[list[dict[str, float]], list[float]]:
    """Seconds of each federation round and of its floor; the first and the last round are left out."""
    ours: list[float] = []
    cpu: list[tuple[float, float]] = []
    floor: list[tuple[float, float]] = []
    losses: list[float] = []
    resumed, cpu_resumed = 0.0, 0.0
    bare.restart()

    def on_round(progress: Any) -> None:
        nonlocal resumed, cpu_resumed
        ours.append(time.perf_counter() - resumed)
        cpu_ours = time.process_time()
        losses.append(progress.loss)
        floor.append(bare.round(spy.take()))
        cpu.append((cpu_ours - cpu_resumed, time.process_time() - cpu_ours))
        resumed, cpu_resumed = time.perf_counter(), time.process_time()

    rounds = work.rounds + 2
    run(cell(work, rounds=rounds, evaluate_every=rounds, **chosen), on_round)
    pairs = []
    for number in range(1, work.rounds + 1):
        before, after = floor[number - 1], floor[number]
        pairs.append(
            {
                "ours": ours[number],
                "floor": (before[0] + after[0]) / 2,
                "floor_with_averaging": (before[1] + after[1]) / 2,
                "cpu": cpu[number][0],
                "cpu_floor_with_averaging": (cpu[number - 1][1] + cpu[number][1]) / 2,
            }
        )
    return pairs, losses


if __name__ == "__main__":
    main()
