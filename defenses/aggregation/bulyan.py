"""Bulyan: rows selected by Krum one after the other, then each coordinate's values nearest to the selected's median."""

from dataclasses import dataclass
from functools import partial

import torch

from fedsec.api import RoundContext
from fedsec.maths import coordinates, geometry
from fedsec.maths.rows import Rows

from .krum_scores import best, krum_scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Bulyan:
    """Takes out the best row by Krum n-2f times; per coordinate, averages their n-4f values nearest to the median.

    Scores are computed anew over the rows that are left: over m rows, a score sums the squared distances to the m-f-2
    nearest others, and to one other at least. Down to m = 2f+3 that is Krum with its precondition; the last two of the
    n-2f draws are made from fewer rows. Ties go to the earlier row (with f of 1 or 2 the last draw is one, between the
    closest two), and of two equally near values to the lower.

    Args:
        geometry: of the distances: `raw` between the rows, `product` between the products of LoRA pairs.

    Source: El Mhamdi et al., "The Hidden Vulnerability of Distributed Learning in Byzantium", ICML 2018, section 4,
        with theta = n-2f and beta = theta-2f.
    Deviations: one other row counts in a score even where m-f-2 is 0, as it is in the last draw under f = 1; the paper
        does not say what decides there.
    """

    geometry: str = "raw"

    def vector(self, rows: Rows, context: RoundContext) -> torch.Tensor:
        """Return the mean around the selected rows' median [parameters], fp32."""
        distances = geometry.squared_distances(rows, context, self.geometry)
        f = context.declared_malicious
        return mean_of_selected(rows, select(distances, f, len(rows) - 2 * f), f)


def select(distances: torch.Tensor, f: int, count: int) -> torch.Tensor:
    """`count` different rows, each the best by Krum of those that were left, in that order [count].

    Args:
        distances: squared distances between the rows [n, n], fp64.
        f: how many of the rows are taken to be malicious.
        count: 1..n.
    """
    left = torch.arange(len(distances))  # places in the whole, not among those that are left
    chosen = []
    for _ in range(count):
        among = distances[left][:, left]
        spared = max(-1, min(f, len(left) - 3))  # so that one other row counts at least, where there is one
        first = int(best(krum_scores(among, spared, "blanchard"), 1))
        chosen.append(left[first])
        left = torch.cat([left[:first], left[first + 1 :]])
    return torch.stack(chosen)


def mean_of_selected(rows: Rows, selected: torch.Tensor, f: int) -> torch.Tensor:
    """Per coordinate, the mean of the theta-2f values nearest to the median of the theta selected [parameters], fp32.

    Args:
        rows: the round's rows.
        selected: theta of them, more than 2f.
        f: how many of the rows are taken to be malicious.
    """
    nearest = partial(coordinates.nearest_mean, keep=len(selected) - 2 * f)
    return coordinates.coordinate_wise(rows, nearest, among=selected)
