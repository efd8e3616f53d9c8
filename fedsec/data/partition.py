"""Dealing training rows to clients."""

import numpy as np

from fedsec.errors import FedsecError

MAX_TRIES = 1000


def iid(count: int, clients: int, minimum: int, generator: np.random.Generator) -> list[np.ndarray]:
    """Shuffled rows dealt evenly.

    Args:
        count: rows.
        clients: clients, each of which gets `count // clients` rows or one more.
        minimum: rows that every client has at least.
        generator: shuffles.

    Returns:
        One array of row numbers per client.

    Raises:
        FedsecError: there are fewer than `clients * minimum` rows.
    """
    _check(count, clients, minimum)
    return np.array_split(generator.permutation(count), clients)


def dirichlet(
    labels: np.ndarray, clients: int, alpha: float, minimum: int, generator: np.random.Generator
) -> list[np.ndarray]:
    """Each label's rows shared out to the clients by a draw from Dirichlet(alpha).

    Drawn again until every client has its minimum; if no draw of 1,000 gives that, the last draw's poorest
    clients are topped up from the richest.

    Args:
        labels: label of each row [rows].
        clients: number of clients.
        alpha: concentration, above 0; smaller is more skewed.
        minimum: rows that every client has at least.
        generator: draws.

    Returns:
        One array of row numbers per client, every row exactly once.

    Raises:
        FedsecError: there are fewer than `clients * minimum` rows.

    Source: Hsu et al., "Measuring the Effects of Non-Identical Data Distribution", 2019, section 2, per label as in
        Yurochkin et al., ICML 2019. Deviations: the minimum.
    """
    _check(len(labels), clients, minimum)
    for _ in range(MAX_TRIES):
        parts = _draw(labels, clients, alpha, generator)
        if min(len(part) for part in parts) >= minimum:
            break
    else:
        _top_up(parts, minimum)
    return [generator.permutation(part) for part in parts]


def _check(count: int, clients: int, minimum: int) -> None:
    if count < clients * minimum:
        raise FedsecError(
            f"{count} training rows cannot give {clients} clients at least {minimum} each; "
            "raise data.train, or lower federation.clients or data.partition.minimum"
        )


def _draw(labels: np.ndarray, clients: int, alpha: float, generator: np.random.Generator) -> list[np.ndarray]:
    shares: list[list[np.ndarray]] = [[] for _ in range(clients)]
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        proportions = generator.dirichlet(np.full(clients, alpha))
        cuts = np.round(np.cumsum(proportions)[:-1] * len(rows)).astype(int)
        for share, part in zip(shares, np.split(rows, cuts), strict=True):
            share.append(part)
    return [np.concatenate(share) for share in shares]


def _top_up(parts: list[np.ndarray], minimum: int) -> None:
    for poor in range(len(parts)):
        while len(parts[poor]) < minimum:
            rich = max(range(len(parts)), key=lambda i: len(parts[i]))
            parts[poor] = np.append(parts[poor], parts[rich][-1])
            parts[rich] = parts[rich][:-1]
