"""Who takes part in a round, and which rows a client trains on: drawn from the seeds alone, so known beforehand."""

from collections.abc import Collection, Sequence

import numpy as np

from fedsec.api import TrainingSettings
from fedsec.seeds import SeedTree

SERVER = -1
"""The number under which the server's own rows are drawn."""


def cohort_of(
    number: int, seeds: SeedTree, *, clients: int, size: int, pinned: Collection[int], sampling: str
) -> list[int]:
    """The clients of a round, in ascending order.

    Args:
        number: of the round.
        seeds: the seed tree.
        clients: how many there are.
        size: of the cohort; on average, under Poisson sampling.
        pinned: clients that are in every round.
        sampling: `fixed` or `poisson`.
    """
    generator = seeds.numpy("cohort", round_number=number)
    others = [client for client in range(clients) if client not in pinned]
    if sampling == "poisson":
        rate = (size - len(pinned)) / max(1, len(others))
        drawn = generator.random(len(others)) < rate
        return sorted([*pinned, *(client for client, taken in zip(others, drawn, strict=True) if taken)])
    chosen = generator.choice(others, size=size - len(pinned), replace=False)
    return sorted([*pinned, *(int(client) for client in chosen)])


def batch_rows(
    number: int, client: int, rows: np.ndarray, training: TrainingSettings, seeds: SeedTree
) -> list[np.ndarray]:
    """Row numbers of each local step; no row comes twice in a batch.

    Fixed batches: the rows in random order, reshuffled when too few are left. Poisson batches: each row by a coin of
    its own for each step, so that a batch may hold any number of rows, none included.

    Args:
        number: of the round.
        client: the client, or `SERVER`.
        rows: what it holds.
        training: batch size, steps and kind of sampling.
        seeds: the seed tree.
    """
    steps, size = training.local_steps, min(training.batch_size, len(rows))
    generator = seeds.numpy("batches", round_number=number, client=client)
    if training.sampling == "poisson":
        return [rows[generator.random(len(rows)) < sampling_rate(len(rows), training)] for _ in range(steps)]
    per_pass = len(rows) // size
    orders = [generator.permutation(rows) for _ in range(-(-steps // per_pass))]
    return [orders[step // per_pass][step % per_pass * size : (step % per_pass + 1) * size] for step in range(steps)]


def drawn_rows(
    rounds: int,
    cohort: int,
    rows: Sequence[np.ndarray],
    trusted: np.ndarray,
    training: TrainingSettings,
    seeds: SeedTree,
    pinned: Collection[int],
) -> np.ndarray:
    """The rows that honest training takes in any round, and the server's, in ascending order [rows drawn].

    Args:
        rounds: how many there are.
        cohort: clients in a round.
        rows: row numbers that each client holds.
        trusted: row numbers that the server holds.
        training: batch size, steps and kind of sampling.
        seeds: the seed tree.
        pinned: clients that are in every round.
    """
    found = [trusted]
    for number in range(1, rounds + 1):
        clients = cohort_of(number, seeds, clients=len(rows), size=cohort, pinned=pinned, sampling=training.sampling)
        for client in clients:
            if len(rows[client]):
                found += batch_rows(number, client, rows[client], training, seeds)
    return np.unique(np.concatenate(found)).astype(np.int64)


def sampling_rate(rows: int, training: TrainingSettings) -> float:
    """The share of a client's rows that a batch holds on average: the probability of each under Poisson sampling."""
    return min(1.0, training.batch_size / max(1, rows))
