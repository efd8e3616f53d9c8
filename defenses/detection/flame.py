"""FLAME: local models that lie apart are left out, other updates are cut to the median norm, and noise is added."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from sklearn.cluster import HDBSCAN

from fedsec.api import Measured, Mixed, RoundContext
from fedsec.maths.geometry import weight_step
from fedsec.maths.rows import Rows

NEAREST = 2
"""A point itself and one other: the official library's `min_samples=1`, which does not count the point itself."""


@dataclass(slots=True, kw_only=True)
class Flame:
    """Clusters the local models by the angles between them, keeps the majority's cluster, clips, and adds noise.

    HDBSCAN wants a cluster of more than half of the rows, and calls the others outliers; where it finds none, all rows
    stay. The bound is the median norm of all rows, the outliers' too, and the noise has `noise` times that for its
    standard deviation.

    Args:
        noise: standard deviation of the noise on the aggregate, in median norms.

    Source: Nguyen et al., "FLAME: Taming Backdoors in Federated Learning", USENIX Security 2022, algorithm 1 and
        section 4.3; noise (lambda) of 0.001.
    Deviations: angles are computed in fp64 from inner products, since local models differ from each other by little.
    """

    noise: float = 0.001
    _bound: float = field(default=0.0, init=False)
    """The median norm of this round's rows."""

    def mix(self, rows: Rows, context: RoundContext) -> Measured:
        """Return the rows of the majority's cluster, none longer than the median norm."""
        norms = rows.squared_norms().sqrt()
        self._bound = float(norms.quantile(0.5))
        kept = majority(_distances(rows, context))
        scale = (self._bound / norms.clamp_min(1e-300)).clamp_max(1.0)
        left = max(0, context.declared_malicious - (len(rows) - len(kept)))
        mixed = Mixed(scale.diag()[torch.tensor(kept)], left)
        return Measured(mixed, {"kept": len(kept) / len(rows), "clipping-bound": self._bound})

    def on_aggregate(self, vector: torch.Tensor, context: RoundContext) -> torch.Tensor:
        """Return the aggregate with noise [parameters]."""
        return vector + self.noise * self._bound * torch.randn(vector.shape, generator=context.generator)

    def state(self) -> Mapping[str, Any]:
        """Return this round's bound."""
        return {"bound": self._bound}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore it."""
        self._bound = float(state["bound"])


def majority(distances: torch.Tensor) -> list[int]:
    """Return the rows in the cluster of more than half of them, in their order; all of them where there is none.

    Args:
        distances: fp64 [n, n].
    """
    n = len(distances)
    if n < 3 or float(distances.max()) == 0.0:
        return list(range(n))
    found = HDBSCAN(
        metric="precomputed",
        min_cluster_size=n // 2 + 1,
        min_samples=NEAREST,
        allow_single_cluster=True,
        copy=True,
    ).fit((distances / distances.max()).numpy())
    kept = [row for row, label in enumerate(found.labels_.tolist()) if label == 0]
    return kept or list(range(n))


def _distances(rows: Rows, context: RoundContext) -> torch.Tensor:
    """Return 1 - cos of the angle between any two local models [kept, kept], fp64.

    A local model is the global one G and the step s u that its update u is of it. Of models a and b of norms |a|, |b|,
    1 - cos = (|a - b|^2 - (|a| - |b|)^2) / (2 |a| |b|), which loses nothing where they are close.
    """
    step, start = weight_step(context.training), context.global_parameters
    squares = rows.squared_norms() * step**2  # |s u|^2
    along = rows.along(start) * step  # <s u, G>
    of_start = torch.linalg.vector_norm(start, dtype=torch.float64).square()
    norms = (of_start + 2 * along + squares).clamp_min(0.0).sqrt()  # |G + s u|
    # |a| - |b| from what differs, and not from the two norms, which are nearly the same.
    sums = (norms[:, None] + norms[None, :]).clamp_min(1e-300)
    apart = ((2 * along + squares)[:, None] - (2 * along + squares)[None, :]) / sums
    distances = rows.squared_distances() * step**2 - apart.square()
    angles = distances / (2 * norms[:, None] * norms[None, :]).clamp_min(1e-300)
    found: torch.Tensor = ((angles + angles.T) / 2).clamp(0.0, 2.0).fill_diagonal_(0.0)
    return found
