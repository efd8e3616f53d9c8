"""Run the benchmarks' federation in Flower's simulation and write what it took. Needs flwr[simulation], not fedsec.

`run_simulation` from Python is the shortest way in 1.41: `flwr run` would start a SuperLink on top of it.
"""

import json
import os
import sys
import time
from argparse import ArgumentParser
from dataclasses import asdict
from importlib import import_module
from itertools import pairwise
from pathlib import Path

os.environ.update(FLWR_TELEMETRY_ENABLED="0", RAY_USAGE_STATS_ENABLED="0", HF_HUB_OFFLINE="1")
os.environ.update(RAY_worker_niceness="0")  # Ray's own is 15: on a busy machine its workers wait for everybody else
sys.path.insert(0, str(Path(__file__).parent))  # where Ray's workers find `flwr_app`

from importlib.metadata import version

from flwr.simulation import run_simulation
from flwr_app import SETTINGS, client_app, server
from plain import add_arguments, work_of


def main() -> None:
    """Write the call's seconds, each round's seconds, and each round's training loss."""
    parser = ArgumentParser()
    add_arguments(parser)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folder", required=True, help="MiniLM's weights and tokenizer")
    parser.add_argument("--cores", type=int, required=True)
    parser.add_argument("--cpus-per-client", type=int, required=True)
    parser.add_argument("--reload", action="store_true")
    arguments = parser.parse_args()
    work = work_of(arguments)
    spent = arguments.out.parent / "spent"
    spent.mkdir()
    os.environ[SETTINGS] = json.dumps(
        {
            "work": asdict(work),
            "data": str(arguments.data),
            "folder": arguments.folder,
            "threads": arguments.cpus_per_client,
            "reload": arguments.reload,
            "spent": str(spent),
        }
    )
    stamps: list[float] = []
    losses: list[float] = []
    for name in ("peft", "transformers"):  # imports that no engine is charged with
        import_module(name)
    began, cpu_began = time.perf_counter(), time.process_time()
    run_simulation(
        server(work, stamps, losses),
        client_app,
        num_supernodes=work.clients,
        backend_config={
            "client_resources": {"num_cpus": arguments.cpus_per_client, "num_gpus": 0.0},
            "init_args": {"num_cpus": arguments.cores, "log_to_driver": False, "include_dashboard": False},
        },
    )
    call = time.perf_counter() - began
    cpu = time.process_time() - cpu_began + sum(float(file.read_text()) for file in spent.iterdir())
    rounds = [after - before for before, after in pairwise(stamps)]
    result = {
        "call": call,
        "cpu": cpu,  # Ray's own processes left out
        "rounds": rounds[1:],  # the first one loads the model in every actor
        "first_round": rounds[0],
        "losses": losses,
        "versions": {name: version(name) for name in ("flwr", "ray", "torch")},
    }
    arguments.out.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
