"""FoolsGold: clients whose updates are similar over the rounds are taken for sybils and count less."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch

from fedsec.api import Layout, Role, RoundContext
from fedsec.maths.geometry import gram
from fedsec.maths.rows import Rows

LARGEST = 1e38
"""Bound on the entries of a history, so that sums of updates stay finite in fp32."""

SAME = 1e-6
"""Histories whose cosine is closer to 1 than this are equal up to rounding."""


@dataclass(slots=True, kw_only=True)
class FoolsGold:
    """Each row's learning rate falls with the largest cosine between its sender's history and another one's.

    A client's history is the sum of its updates, over the rounds it took part in; its memory is clients x features in
    fp32. A client whose history is zero has weight 0. If all histories are the same, so have all clients, and the
    global model is kept.

    Args:
        features: what is compared: `all` parameters, or `head`, the output layer, which the paper calls indicative.
        geometry: `raw` or `product`, see `fedsec.maths.geometry`; `product` needs all parameters.

    Source: Fung, Yoon and Beschastnikh, "The Limitations of Federated Learning in Sybil Settings", RAID 2020,
        algorithm 1, with confidence kappa = 1, and 0.99 for the largest learning rate before the logit, as in the
        official code.
    Deviations: the weighted sum is divided by the number of rows, so that clients of full trust give the mean (the
        paper adds them up); features are in or out, without the paper's weighting of single features; products of LoRA
        factors are ours.
    """

    features: str = "all"
    geometry: str = "raw"
    _clients: list[str] = field(default_factory=list, init=False)
    _history: torch.Tensor = field(default_factory=lambda: torch.zeros(0, 0), init=False)
    """fp32 [clients, features], in their order."""

    def weights(self, rows: Rows, context: RoundContext) -> torch.Tensor:
        """Return learning rates divided by the number of rows [kept], fp64.

        Raises:
            ValueError: a row is made of several clients' rows, or there is no output layer to compare.
        """
        clients = _senders(rows, context)
        history = self._extended(rows, context, clients)  # [kept, features]
        return learning_rates(_cosines(gram(Rows(history), context, self.geometry))) / len(rows)

    def state(self) -> Mapping[str, Any]:
        """Return the histories."""
        return {"clients": list(self._clients), "history": self._history}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore the histories."""
        self._clients, self._history = list(state["clients"]), state["history"].clone()

    def _extended(self, rows: Rows, context: RoundContext, clients: list[str]) -> torch.Tensor:
        """Return the histories of these clients with their new rows [kept, features]."""
        pieces = _pieces(context.layout, self.features)
        size = sum(stop - start for start, stop in pieces)
        new = [client for client in clients if client not in self._clients]
        if new:
            known = self._history.view(-1, size)
            self._history = torch.cat([known, torch.zeros(len(new), size)])
            self._clients += new
        everybody = clients == self._clients
        places = slice(None) if everybody else torch.tensor([self._clients.index(client) for client in clients])
        for columns, chunk in _chunks_of(rows, pieces):
            self._history[places, columns] = (self._history[places, columns] + chunk).clamp_(-LARGEST, LARGEST)
        return self._history if everybody else self._history[places]


def learning_rates(cosines: torch.Tensor) -> torch.Tensor:
    """Return each client's learning rate, from 0 to 1 [n], fp64: pardoning, rescaling and the logit of algorithm 1.

    Args:
        cosines: between the histories [n, n], fp64; NaN in the line of one that is zero.
    """
    zero = cosines.diagonal().isnan()
    others = cosines.nan_to_num(nan=0.0).fill_diagonal_(0.0)
    most = others.amax(dim=1)  # v; at least 0
    # An honest client that resembles a sybil is pardoned, since the sybil resembles another one more.
    pardon = torch.where(most > most[:, None], most[:, None] / most.clamp_min(1e-300), 1.0)
    rates = (1.0 - (others * pardon).amax(dim=1)).clamp(0.0, 1.0)
    rates = torch.where(zero | (rates < SAME), 0.0, rates)
    if rates.max() == 0:
        return rates
    rates = (rates / rates.max()).clamp_max(0.99)
    return (rates.logit() + 0.5).clamp(0.0, 1.0)


def _cosines(products: torch.Tensor) -> torch.Tensor:
    """Return cosines [n, n]; NaN in the line of a row that is zero, 0 elsewhere in its column."""
    lengths = products.diagonal().clamp_min(0.0).sqrt()
    zero = lengths == 0
    cosines = (products / (lengths[:, None] * lengths).clamp_min(1e-300)).clamp(-1.0, 1.0)
    cosines[:, zero] = 0.0
    cosines[zero] = torch.nan
    return cosines


def _senders(rows: Rows, context: RoundContext) -> list[str]:
    """Return each row's client, since a history belongs to one client."""
    part = rows.mixing != 0
    if bool((part.sum(dim=1) != 1).any()) or bool((part.sum(dim=0) > 1).any()):
        raise ValueError(
            "FoolsGold keeps a history of each client, and needs rows of one client each: "
            "take filters that average rows (nnm, bucketing) out of the stack"
        )
    return [str(context.clients[place]) for place in part.int().argmax(dim=1).tolist()]


def _pieces(layout: Layout, features: str) -> list[tuple[int, int]]:
    """Return where the compared columns begin and end."""
    if features == "all":
        return [(0, layout.size)]
    places = zip(layout.parameters, layout.offsets, strict=True)
    found = [(start, start + prod(info.shape)) for info, start in places if info.role == Role.HEAD]
    if not found:
        raise ValueError("FoolsGold finds no output layer among what is trained: set features to all")
    return found


def _chunks_of(rows: Rows, pieces: list[tuple[int, int]]) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield the place of the rows' next columns among the features, and these columns [kept, some], fp32."""
    start = 0
    for chunk in rows.chunks():
        stop, before = start + chunk.shape[1], 0
        for low, high in pieces:
            first, last = max(low, start), min(high, stop)
            if first < last:
                yield slice(before + first - low, before + last - low), chunk[:, first - start : last - start]
            before += high - low
        start = stop
