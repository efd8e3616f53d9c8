"""CUBE: a client keeps the main cluster of each class's rows, as the model that learnt from all of them sees them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import torch
from sklearn.cluster import HDBSCAN

from fedsec.api import ClientView, Measured, Sample


@dataclass(slots=True, kw_only=True)
class Cube:
    """Trains on all rows, clusters the last hidden states of each class, and trains on the largest clusters alone.

    It cleans what a client was given by others, once for the rows that it holds. A malicious client does without it,
    unless the scenario sets `threat.obeys_client_defenses`: then clients are honest, and their rows are poisoned.

    Args:
        components: principal components of the hidden states that are clustered.
        min_samples: rows around one that make it part of a dense region, and of the smallest cluster.
        share: of a class's rows that this number is at most, from 0 to 1.
        steps: local steps on all rows before; 0: one pass over them.

    Source: Cui et al., "A Unified Evaluation of Textual Backdoor Learning: Frameworks and Benchmarks" (OpenBackdoor),
        NeurIPS 2022, section 5 (cluster, keep the largest cluster of each class, train again); 10 dimensions and 100
        rows as in its code.
    Deviations: principal components in the place of UMAP; classes are clustered one by one; `min_samples` is bounded by
        a share of a class's rows, since a client may hold fewer than 100; without any cluster all rows stay.
    """

    components: int = 10
    min_samples: int = 100
    share: float = 0.1
    steps: int = 0
    _digest: str = field(default="", init=False)
    """Of the rows that were clustered."""
    _kept: tuple[int, ...] = field(default=(), init=False)
    """Places of those that stay."""

    def on_data(self, samples: tuple[Sample, ...], view: ClientView) -> Measured:
        """Return the rows in the largest cluster of each class, in their order; the share that stays is measured.

        Raises:
            ValueError: the client cannot train outside the protocol.
        """
        seen = sha256(repr([(one.text, one.label) for one in samples]).encode()).hexdigest()
        if seen != self._digest:
            self._digest, self._kept = seen, tuple(self._clean(samples, view))
        kept = tuple(samples[place] for place in self._kept)
        return Measured(kept, {"rows-kept": len(kept) / len(samples)})

    def _clean(self, samples: Sequence[Sample], view: ClientView) -> list[int]:
        if view.train is None or view.represent is None:
            raise ValueError("cube trains on a client's rows: run it in a federation")
        steps = self.steps or -(-len(samples) // view.training.batch_size)
        learnt = view.train(samples, view.global_parameters, steps=steps, generator=view.generator)
        hidden = view.represent(samples, learnt).double()  # [samples, width]
        kept: list[int] = []
        for label in sorted({one.label for one in samples}):
            own = [place for place, one in enumerate(samples) if one.label == label]
            least = min(self.min_samples, max(2, int(self.share * len(own))))
            kept += [own[place] for place in largest_cluster(hidden[own], self.components, least)]
        return sorted(kept)

    def state(self) -> Mapping[str, Any]:
        """Return which rows were clustered, and which stay."""
        return {"digest": self._digest, "kept": list(self._kept)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore that."""
        self._digest, self._kept = str(state["digest"]), tuple(int(place) for place in state["kept"])


def largest_cluster(points: torch.Tensor, components: int, least: int) -> list[int]:
    """Return the places of the points in the largest cluster, in their order; all of them where there is none.

    Args:
        points: fp64 [n, width].
        components: principal components that are looked at.
        least: points of the smallest cluster, and of a dense region.
    """
    n = len(points)
    if n < 2 * least or n < 4:
        return list(range(n))
    centred = points - points.mean(dim=0)
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    reduced = centred @ axes[:components].T  # [n, components]
    found = HDBSCAN(min_cluster_size=max(2, least), min_samples=min(least, n), copy=True).fit(reduced.numpy())
    labels = found.labels_.tolist()
    sizes = {label: labels.count(label) for label in set(labels) - {-1}}
    if not sizes:
        return list(range(n))
    main = min(sizes, key=lambda label: (-sizes[label], label))
    return [place for place, label in enumerate(labels) if label == main]
