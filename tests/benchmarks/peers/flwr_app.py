"""The benchmarks' federation as a Flower app: message API of flwr 1.41, FedAvg, LoRA trainables only.

Written as someone would who wants speed: the model and the collated batches stay in the actor from message to
message, only what is trained is sent, and nothing is evaluated. `reload` builds the model for every message instead,
as FlowerTune's client app does.
"""

import json
import os
import time
from functools import cache
from pathlib import Path
from typing import Any

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from plain import Batch, Work, client_batches, pretrained, train_client, trainables, tuned
from torch import nn

SETTINGS = "FEDSEC_BENCH_FLWR"
"""Environment variable with the settings of client actors, as JSON; actors inherit it."""

client_app = ClientApp()


def settings() -> dict[str, Any]:
    """What `flwr_run` set."""
    found: dict[str, Any] = json.loads(os.environ[SETTINGS])
    return found


@cache
def _batches() -> list[list[Batch]]:
    """Every client's batches, collated once per actor."""
    from transformers import AutoTokenizer

    chosen = settings()
    lines = (Path(chosen["data"]) / "train.jsonl").read_text(encoding="utf-8").splitlines()
    tokenizer = AutoTokenizer.from_pretrained(chosen["folder"])
    return client_batches([json.loads(line) for line in lines], tokenizer, Work(**chosen["work"]))


def load() -> nn.Module:
    """The model as every party starts from it."""
    torch.set_num_threads(settings()["threads"])
    return tuned(pretrained(settings()["folder"])[0], "lora")


_resident = cache(load)


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """A client's local training."""
    model = load() if settings()["reload"] else _resident()
    parameters = trainables(model)
    received = message.content["arrays"].to_torch_state_dict()
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(received[name])
    batches = _batches()[int(context.node_config["partition-id"])]
    loss = train_client(model, list(parameters.values()), batches)
    arrays = ArrayRecord({name: p.detach() for name, p in parameters.items()})
    (Path(settings()["spent"]) / str(os.getpid())).write_text(str(time.process_time()))
    examples = sum(len(batch.labels) for batch in batches)
    metrics = MetricRecord({"train_loss": float(loss), "num-examples": examples})
    return Message(content=RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)


def server(work: Work, stamps: list[float], losses: list[float]) -> ServerApp:
    """A server app that notes when each round is over, and each round's training loss."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=work.clients, min_available_nodes=work.clients)
        arrays = ArrayRecord({name: p.detach() for name, p in trainables(load()).items()})

        def note(number: int, arrays: ArrayRecord) -> None:
            stamps.append(time.perf_counter())

        result = strategy.start(grid, initial_arrays=arrays, num_rounds=work.rounds, evaluate_fn=note)
        losses.extend(float(found["train_loss"]) for _, found in sorted(result.train_metrics_clientapp.items()))

    return app
