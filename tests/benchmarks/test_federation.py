"""What a whole federation costs beside the training that it runs. Run by `make bench`, never by the tests."""

from statistics import median
from typing import Any

import pytest

pytestmark = pytest.mark.bench
LARGEST_LOSS_DIFFERENCE = 1e-3
TARGETS = {"minilm": 1.05, "tiny-bert": 1.25}
REPEATS = {"minilm": 1, "tiny-bert": 5}
"""Federations that rounds are taken from: a round of tiny-bert is too short for five of them to be a measurement."""


@pytest.mark.parametrize(("model", "kind"), [("minilm", "lora"), ("tiny-bert", "lora"), ("tiny-bert", "full")])
def test_federation_against_a_bare_loop(benchmark: Any, script: Any, sizes: Any, model: str, kind: str) -> None:
    """The median over rounds of (federation round) / (bare loop on the same batches); see peers/rounds.py.

    The federation's part holds sampling, batches, local training, the wire's check, aggregation and the server's
    step. The floor holds the clients' local steps alone: batches collated beforehand, a fresh fused AdamW per client.
    Neither holds an evaluation. Evaluation and everything else is in the second line: the whole call, which loads
    the model, tokenises and evaluates 100 rows before the first round and after every round.
    """
    arguments = (f"--model={model}", f"--kind={kind}", f"--repeats={REPEATS[model]}")
    found = benchmark.pedantic(script, args=("rounds.py", sizes, *arguments), rounds=1)
    pairs = found["pairs"]
    floor = median(pair["floor"] for pair in pairs)
    shape = f"{sizes.clients} clients, {sizes.steps} steps of 8x32, {sizes.rounds} rounds, {found['threads']} threads"
    benchmark.extra_info.update(
        ratio=median(pair["ours"] / pair["floor"] for pair in pairs),
        against=f"the local steps alone in a bare PyTorch loop, no evaluation ({shape})",
        target=TARGETS[model],
        seconds_per_round=median(pair["ours"] for pair in pairs),
        floor_seconds_per_round=floor,
        ratios=[pair["ours"] / pair["floor"] for pair in pairs],
        loss_difference=found["loss_difference"],
        also=[
            {
                "name": "against FedAvg by hand",
                "ratio": median(pair["ours"] / pair["floor_with_averaging"] for pair in pairs),
                "cpu": median(pair["cpu"] / pair["cpu_floor_with_averaging"] for pair in pairs),
                "against": "the bare loop with its averaging of weights",
            },
            {
                "name": "whole call",
                "ratio": found["whole_call"] / (sizes.rounds * floor),
                "against": f"the same floor; ours loads, tokenises and evaluates {sizes.evaluated} rows every round",
            },
        ],
    )
    # Both did the same: from the same weights over the same batches, every round's training loss agrees.
    assert found["loss_difference"] < LARGEST_LOSS_DIFFERENCE
