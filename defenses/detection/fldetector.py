"""FLDetector: clients whose updates are not what their earlier ones and the model's way led to expect are left out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans

from fedsec.api import Measured, Mixed, RoundContext
from fedsec.maths.rows import Rows

REFERENCES = 20
"""Uniform samples that the gap statistic is held against, as in the official code."""


@dataclass(slots=True, kw_only=True)
class FlDetector:
    """Predicts each client's update from its last one, and drops clients that are surprising for a whole window.

    The prediction is the last update plus H (w_t - w_(t-1)), with H the Hessian of the whole training as L-BFGS has it
    from the last `window` steps of the global model and of the aggregate. A client's score is the distance between its
    update and the prediction, as a share of all clients' distances, averaged over the window. Where the gap statistic
    finds more than one cluster among the scores, 2-means divides them, and the cluster of the higher scores is dropped,
    in this round and in all to come. The others are then watched for a new window.

    Args:
        window: rounds that scores and L-BFGS look back; nobody is dropped before they are over.

    Source: Zhang et al., "FLDetector: Defending Federated Learning Against Model Poisoning Attacks via Detecting
        Malicious Clients", KDD 2022, algorithms 1 to 3; N = 10.
    Deviations: training goes on without the clients that were found, where the paper starts it again; a client that was
        absent keeps its last update.
    """

    window: int = 10
    _last: dict[str, torch.Tensor] = field(default_factory=dict, init=False)
    """Each client's last update [parameters]."""
    _scores: dict[str, list[float]] = field(default_factory=dict, init=False)
    """Each client's shares of the last rounds, the latest last."""
    _steps: list[torch.Tensor] = field(default_factory=list, init=False)
    """Steps of the global model, the latest last [parameters]."""
    _turns: list[torch.Tensor] = field(default_factory=list, init=False)
    """Differences of the aggregates that go with them."""
    _model: torch.Tensor | None = field(default=None, init=False)
    _aggregate: torch.Tensor | None = field(default=None, init=False)
    _found: list[str] = field(default_factory=list, init=False)
    """Clients that are dropped from now on."""

    def mix(self, rows: Rows, context: RoundContext) -> Measured:
        """Return the rows of clients that were not found; none where all were, and the round is skipped.

        Raises:
            ValueError: a row is made of several clients' rows.
        """
        clients, n = _senders(rows, context), len(rows)
        sent = [rows.weighted_sum(torch.eye(n, dtype=torch.float64)[row]) for row in range(n)]
        self._look(clients, sent, context.global_parameters)
        kept = [row for row, client in enumerate(clients) if client not in self._found]
        chosen = torch.eye(n, dtype=torch.float64)[kept]
        if kept:  # without any, the global model stays, and there is no step to learn from
            self._remember(clients, sent, rows.weighted_sum(chosen.mean(dim=0)), context.global_parameters)
        left = max(0, context.declared_malicious - (n - len(kept)))
        return Measured(Mixed(chosen, left), {"kept": len(kept) / n})

    def _look(self, clients: list[str], sent: list[torch.Tensor], model: torch.Tensor) -> None:
        """Score the clients, and find those of the higher scores once the window is over."""
        if self._model is None or not self._steps:
            return
        expected = hessian_times(self._steps, self._turns, model - self._model)  # [parameters]
        watched = [(client, row) for client, row in zip(clients, sent, strict=True) if client not in self._found]
        apart = {
            client: float((self._last[client] + expected - row).double().norm())
            for client, row in watched
            if client in self._last
        }
        total = sum(apart.values())
        for client, distance in apart.items():
            share = distance / total if total > 0 else 1 / len(apart)
            self._scores[client] = [*self._scores.get(client, []), share][-self.window :]
        judged = [client for client in apart if len(self._scores[client]) == self.window]
        if len(judged) < 3:
            return
        scores = np.array([np.mean(self._scores[client]) for client in judged])
        if clusters(scores) > 1:
            self._found += [client for client, bad in zip(judged, _higher(scores), strict=True) if bad]
            self._scores = {}

    def _remember(
        self, clients: list[str], sent: list[torch.Tensor], aggregate: torch.Tensor, model: torch.Tensor
    ) -> None:
        if self._model is not None and self._aggregate is not None:
            self._steps = [*self._steps, model - self._model][-self.window :]
            self._turns = [*self._turns, aggregate - self._aggregate][-self.window :]
        self._model, self._aggregate = model.clone(), aggregate
        self._last |= dict(zip(clients, sent, strict=True))

    def state(self) -> Mapping[str, Any]:
        """Return what it remembers of rounds and clients."""
        return {
            "last": dict(self._last),
            "scores": {client: list(one) for client, one in self._scores.items()},
            "steps": list(self._steps),
            "turns": list(self._turns),
            "model": [] if self._model is None else [self._model],
            "aggregate": [] if self._aggregate is None else [self._aggregate],
            "found": list(self._found),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore it."""
        self._last = {client: one.clone() for client, one in state["last"].items()}
        self._scores = {client: [float(share) for share in one] for client, one in state["scores"].items()}
        self._steps, self._turns = ([one.clone() for one in state[name]] for name in ("steps", "turns"))
        self._model = state["model"][0].clone() if state["model"] else None
        self._aggregate = state["aggregate"][0].clone() if state["aggregate"] else None
        self._found = list(state["found"])


def hessian_times(steps: list[torch.Tensor], turns: list[torch.Tensor], vector: torch.Tensor) -> torch.Tensor:
    """Return H v by L-BFGS [parameters], fp32; v scaled by the last step's curvature where the window is degenerate.

    With S the steps and Y the turns as columns, sigma = <y, s> / <s, s> of the last pair, A = S'Y, D its diagonal and L
    its strictly lower part: H v = sigma v - [Y, sigma S] [[-D, L'], [L, sigma S'S]]^-1 [Y'v; sigma S'v].

    Args:
        steps: s, the latest last [parameters] each.
        turns: y, as many.
        vector: v [parameters].

    Source: Byrd, Nocedal and Schnabel, "Representations of quasi-Newton matrices", Mathematical Programming 1994,
        theorem 2.3.
    Deviations: none.
    """
    s, y = (torch.stack(one).double() for one in (steps, turns))  # [window, parameters]
    v = vector.double()
    square = s[-1] @ s[-1]
    if square == 0:
        return torch.zeros_like(vector)
    sigma = (y[-1] @ s[-1]) / square
    products = s @ y.T  # A
    lower = products.tril(-1)
    middle = torch.cat(
        [
            torch.cat([-products.diagonal().diag(), lower.T], dim=1),
            torch.cat([lower, sigma * (s @ s.T)], dim=1),
        ]
    )
    right = torch.cat([y @ v, sigma * (s @ v)])
    solved = torch.linalg.lstsq(middle, right[:, None], driver="gelsd").solution[:, 0]
    found = sigma * v - solved[: len(s)] @ y - sigma * (solved[len(s) :] @ s)
    return (found if bool(found.isfinite().all()) else sigma * v).float()


def clusters(scores: np.ndarray) -> int:
    """Return how many clusters the gap statistic finds among scores [n].

    Scores are brought to 0..1. Of k clusters, gap(k) is how much smaller the log of the spread within clusters is than
    that of uniform samples; the answer is the first k with gap(k) >= gap(k + 1) - s(k + 1).

    Source: Tibshirani, Walther and Hastie, "Estimating the number of clusters in a data set via the gap statistic",
        JRSS B 2001; as in FLDetector's algorithm 3. Deviations: at most n - 1 clusters are tried, and 5.
    """
    width = float(scores.max() - scores.min())
    if width <= 1e-12 * float(np.abs(scores).max()):
        return 1
    points = ((scores - scores.min()) / width)[:, None]
    most = min(5, len(points) - 1)
    references = np.random.default_rng(0).random(
        (REFERENCES, len(points), 1)
    )  # the method's own draws, always the same
    gaps, errors = [], []
    for count in range(1, most + 1):
        expected = [_log_spread(one, count) for one in references]
        gaps.append(float(np.mean(expected)) - _log_spread(points, count))
        errors.append(float(np.std(expected)) * (1 + 1 / REFERENCES) ** 0.5)
    for count in range(1, most):
        if gaps[count - 1] >= gaps[count] - errors[count]:
            return count
    return most


def _log_spread(points: np.ndarray, count: int) -> float:
    return float(np.log(max(KMeans(count, n_init=3, random_state=0).fit(points).inertia_, 1e-12)))


def _higher(scores: np.ndarray) -> np.ndarray:
    """Return whether each score is in the higher one of two clusters [n]."""
    labels = KMeans(2, n_init=3, random_state=0).fit(scores[:, None]).labels_
    means = [scores[labels == one].mean() for one in (0, 1)]
    higher: np.ndarray = labels == int(np.argmax(means))
    return higher


def _senders(rows: Rows, context: RoundContext) -> list[str]:
    """Return each row's client, since a history belongs to one client."""
    part = rows.mixing != 0
    if bool((part.sum(dim=1) != 1).any()) or bool((part.sum(dim=0) > 1).any()):
        raise ValueError(
            "fldetector keeps a history of each client, and needs rows of one client each: "
            "take filters that average rows (nnm, bucketing) out of the stack"
        )
    return [str(context.clients[place]) for place in part.int().argmax(dim=1).tolist()]
