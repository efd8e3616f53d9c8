"""Dealing training rows to clients."""

from collections.abc import Sequence

import numpy as np

from fedsec.config.schema import Data
from fedsec.errors import FedsecError

MAX_TRIES = 1000


def iid(count: int, clients: int, minimum: int, generator: np.random.Generator) -> list[np.ndarray]:
    """Return shuffled rows in equal parts.

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


def quantity_skew(
    count: int, clients: int, alpha: float, minimum: int, generator: np.random.Generator
) -> list[np.ndarray]:
    """Return shuffled rows in parts whose sizes are a draw from Dirichlet(alpha): they differ in size, not in kind.

    Args:
        count: rows.
        clients: number of clients.
        alpha: concentration, above 0; smaller is more skewed.
        minimum: rows that every client has at least; kept as in `dirichlet`.
        generator: draws.

    Returns:
        One array of row numbers per client, every row exactly once.

    Raises:
        FedsecError: there are fewer than `clients * minimum` rows.

    Source: Li et al., "Federated Learning on Non-IID Data Silos: An Experimental Study", ICDE 2022, quantity skew.
        Deviations: the minimum.
    """
    return dirichlet(np.zeros(count, dtype=np.int64), clients, alpha, minimum, generator)


def by_column(groups: Sequence[str], clients: int, minimum: int, generator: np.random.Generator) -> list[np.ndarray]:
    """Return a partition by group: a client for each group, or several whole groups for a client.

    Groups are dealt in random order, each client getting as many as any other or one more; drawn again until every
    client has its minimum of rows, since moving single rows would tear a group apart.

    Args:
        groups: of each row.
        clients: number of clients, at most the number of groups.
        minimum: rows that every client has at least.
        generator: draws.

    Returns:
        One array of row numbers per client, every row exactly once.

    Raises:
        FedsecError: there are fewer groups than clients, or no draw of 1,000 gives every client its minimum.
    """
    names = {name: place for place, name in enumerate(sorted(set(groups)))}
    of_row = np.array([names[name] for name in groups], dtype=np.int64)  # [rows]
    if len(names) < clients:
        raise FedsecError(
            f"data.partition.column has {len(names)} different values in the {len(groups)} training rows, too few for "
            f"{clients} clients; lower federation.clients, raise data.train or take another column"
        )
    _check(len(groups), clients, minimum)
    for _ in range(MAX_TRIES):
        client_of = np.empty(len(names), dtype=np.int64)
        client_of[generator.permutation(len(names))] = np.arange(len(names)) % clients
        owners = client_of[of_row]  # [rows]
        smallest = int(np.bincount(owners, minlength=clients).min())
        if smallest >= minimum:
            return [generator.permutation(np.flatnonzero(owners == client)) for client in range(clients)]
        if len(names) == clients:  # another draw only changes which client is which
            break
    raise FedsecError(
        f"whole values of data.partition.column leave a client with {smallest} rows, and data.partition.minimum is "
        f"{minimum}; lower it or federation.clients, or raise data.train"
    )


def group_column(data: Data) -> str | None:
    """Return the column whose values partition the rows; None for another partition."""
    return data.partition.column if data.partition.kind == "by-column" else None


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
