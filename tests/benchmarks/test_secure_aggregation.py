"""What secure and homomorphic aggregation cost in bytes and CPU seconds. Run by `make bench`."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
import tenseal as ts
import torch

from fedsec.api import ExchangeContext, Layout, TrainingSettings
from fedsec.defenses.secure_aggregation.homomorphic.he_bfv import HEBFV
from fedsec.defenses.secure_aggregation.homomorphic.he_ckks import HECKKS
from fedsec.defenses.secure_aggregation.homomorphic.seal import public_lock, seal_values
from fedsec.defenses.secure_aggregation.secagg.secagg import SecAgg
from fedsec.defenses.secure_aggregation.secagg.secagg_plus import SecAggPlus
from fedsec.maths.fixed_point import FixedPoint
from fedsec.privacy.keystream import KeyStream, secure
from fedsec.wire.protocol import InProcessWire

pytestmark = pytest.mark.bench
PEERS_PYTHON = "FEDSEC_PEERS_PYTHON"
LOCAL = Path(__file__).parents[2] / ".venv-peers" / "bin" / "python"
MILLION, LORA = 1_000_000, 74_498
"""Parameters: a round number, and minilm's LoRA factors of rank 8."""


def _play(plugin: Any, clients: int, size: int) -> InProcessWire:
    """One round of small random updates, with keys of the operating system; what it took stands on the wire."""
    wire = InProcessWire(secrets=secure, lasting=secure, seeded=False)
    rows = torch.randn(clients, size, generator=torch.Generator().manual_seed(0)).mul_(1e-3)
    context = ExchangeContext(
        round=1,
        clients=tuple(range(clients)),
        examples=(1,) * clients,
        declared_malicious=0,
        layout=Layout((), (), size),
        training=TrainingSettings(
            update="delta", optimizer="sgd", learning_rate=1.0, local_steps=1, batch_size=1, rounds=10
        ),
        global_parameters=torch.zeros(0),
        generator=torch.Generator(),
        wire=wire,
        secrets=wire.secrets,
        lasting=wire.lasting,
        seeded=False,
    )
    done = plugin.exchange(rows, torch.full((clients,), 1 / clients, dtype=torch.float64), context).value
    assert done.skipped is None
    assert float((done.vector - rows.mean(dim=0)).abs().max()) < 1e-3
    return wire


def cpu_of(work: Callable[[], Any]) -> tuple[Any, float]:
    """What comes of work, and the CPU seconds that it took."""
    began = time.process_time()
    found = work()
    return found, time.process_time() - began


@pytest.fixture(scope="module")
def nvflare() -> tuple[float, float]:
    """Bytes per parameter and CPU seconds per million parameters of NVFlare's default parameters, through TenSEAL."""
    context = ts.context(
        ts.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 40, 40], encryption_type=ts.ENCRYPTION_TYPE.SYMMETRIC
    )
    context.global_scale = 2**40
    values = np.random.default_rng(0).normal(0, 1e-3, 40 * 4096)
    sealed, seconds = cpu_of(lambda: ts.ckks_vector(context, values))
    return len(sealed.serialize()) / len(values), seconds * MILLION / len(values)


@pytest.mark.parametrize(
    ("plugin", "clients", "most_bytes", "times_fewer"),
    [
        (HEBFV(keys="shared"), 3, 7.7, 5.0),
        (HEBFV(keys="shared", fields=2, range=1.0), 16, 4.0, 5.0),
        (HEBFV(keys="authority"), 3, 15.3, 3.5),
        (HEBFV(keys="authority", fields=2, range=1.0), 12, 8.0, 3.5),
        (HECKKS(keys="shared"), 3, 7.7, 5.0),
        (HECKKS(keys="authority"), 3, 15.3, 3.5),
    ],
    ids=["bfv-shared", "bfv-shared-2", "bfv-authority", "bfv-authority-2", "ckks-shared", "ckks-authority"],
)
def test_homomorphic_aggregation_beside_nvflares_parameters(
    benchmark: Any, plugin: Any, clients: int, most_bytes: float, times_fewer: float, nvflare: tuple[float, float]
) -> None:
    size = 50 * 4096
    wire = benchmark.pedantic(lambda: _play(plugin, clients, size), rounds=1)
    kept = plugin._kept
    lock = kept.pair.lock() if plugin.keys == "shared" else public_lock(kept.scheme, kept.pair.public)
    values = np.zeros(-(-size // getattr(plugin, "fields", 1)), dtype=np.int64)
    _, spent = cpu_of(lambda: seal_values(kept.scheme, lock, values))
    sent, seconds = wire.most_sent / size, spent * MILLION / size
    benchmark.extra_info.update(
        ratio=seconds / nvflare[1],
        against=f"NVFlare's CKKS: {nvflare[1]:.2f} CPU s and {nvflare[0]:.1f} B per parameter to encrypt; "
        f"{seconds:.2f} CPU s and {sent:.2f} B up, {wire.most_received / size:.2f} B down here",
        target=0.5 if plugin.keys == "shared" else 1.0,
        bytes_up=sent,
        most_bytes=most_bytes,
        fewer=nvflare[0] / sent,
        least_fewer=times_fewer,
        party_seconds=wire.party_seconds,
    )
    assert sent < most_bytes
    assert nvflare[0] / sent > times_fewer


@pytest.mark.parametrize(
    ("plugin", "clients", "size"),
    [(SecAgg(), 12, LORA), (SecAgg(), 50, MILLION), (SecAggPlus(neighbours=20), 50, MILLION)],
    ids=["12-lora", "50-million", "50-million-graph"],
)
def test_masks_beside_the_update_itself(benchmark: Any, plugin: Any, clients: int, size: int) -> None:
    """A client's whole part, beside the least that it can be: as many key streams of its length as it has masks."""
    wire = benchmark.pedantic(lambda: _play(plugin, clients, size), rounds=1)
    masks = min(clients - 1, getattr(plugin, "neighbours", clients)) + 1
    total = np.zeros(size, dtype=np.uint32)
    _, floor = cpu_of(lambda: [KeyStream(bytes(32)).add_to(total) for _ in range(masks)])
    client = wire.party_seconds["client"]
    benchmark.extra_info.update(
        ratio=client / floor,
        against=f"{masks} AES streams: {floor * 1e3:.1f} ms of CPU; a client {client * 1e3:.1f} ms, the server "
        f"{wire.party_seconds['server'] * 1e3:.1f} ms, {wire.most_sent / 4 / size:.4f} times fp32 up",
        upload=wire.most_sent / 4 / size,
    )
    assert wire.most_sent < 1.04 * 4 * size


@dataclass(frozen=True)
class Masked:
    """A round of secure aggregation as `peers/secagg_flwr.py` takes it."""

    clients: int
    shares: int
    threshold: int
    columns: int


@pytest.mark.parametrize("neighbours", [49, 20])
def test_a_client_beside_flowers(benchmark: Any, script: Any, quick: bool, neighbours: int) -> None:
    """A client's CPU seconds in all stages, its update's encoding included, at as many neighbours and shares."""
    chosen = Path(os.environ.get(PEERS_PYTHON) or LOCAL)
    if not chosen.exists():
        pytest.skip(f"no interpreter with flwr: run make bench-peers, or set {PEERS_PYTHON}")
    clients, size = (5, 5000) if quick else (50, MILLION)
    near = min(neighbours, clients - 1)
    plugin = SecAgg() if near == clients - 1 else SecAggPlus(neighbours=near)
    round_ = Masked(clients, near + 1, 2 * (near + 1) // 3 + 1, size)
    number, row = FixedPoint(range=8.0, terms=clients, modulus=1 << 32), torch.randn(size).mul_(1e-3)
    ours, theirs = [], []
    for turn in range(1 if quick else 3):
        play = partial(_play, plugin, clients, size)
        wire = play() if turn else benchmark.pedantic(play, rounds=1)
        _, encoding = cpu_of(lambda: number.encode(row).values.astype("uint32"))
        ours.append(wire.party_seconds["client"] + encoding)
        theirs.append(script("secagg_flwr.py", round_, python=str(chosen)))
    spent = [sum(one["seconds"].values()) for one in theirs]
    stages = ", ".join(f"{stage} {seconds * 1e3:.0f}" for stage, seconds in theirs[-1]["seconds"].items())
    benchmark.extra_info.update(
        ratio=median(a / b for a, b in zip(ours, spent, strict=True)),
        against=f"SecAgg+ of flwr {theirs[-1]['version']}, {clients} clients, {near} neighbours, {size} parameters: "
        f"{median(spent) * 1e3:.0f} ms of CPU a client ({stages}), here {median(ours) * 1e3:.0f} ms",
        target=1 / 3,
    )
