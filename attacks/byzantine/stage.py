"""The rehearsal of crafted vectors: a round like the next one, passed through the server's filters and rule."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch

from fedsec.api import ColluderView, Rehearsal
from fedsec.maths.rows import Rows

from .known_rows import knows_others, mean_and_deviation, norms


class Harm(NamedTuple):
    """The effect on the aggregate F, relative to the honest mean mu."""

    distance: float
    """|F - mu|."""
    against: float
    """<mu - F, mu> / |mu|: how much of the step along mu is lost; more than |mu| is a step back."""


class Stage:
    """The known honest rows with sigma and sign(mu) sigma, of which every crafted row is a combination.

    Products of these rows are taken once; a rule that returns weights then costs no pass over the parameters.

    Args:
        rows: fp32 [known, parameters], at least one, finite.
        view: a colluder's.
        rehearse: its `rehearse`.
    """

    def __init__(self, rows: torch.Tensor, view: ColluderView, rehearse: Callable[[Rows], Rehearsal]) -> None:
        self._rehearse, known = rehearse, len(rows)
        self.mean, self.deviation = mean_and_deviation(rows)  # mu and sigma [parameters], fp64
        sizes = norms(rows).sort().values
        self.typical = float(sizes[(known - 1) // 2] or sizes[-1])
        """Median norm of the known rows, or their largest if it is 0."""
        self.opposed = self.mean.sign() * self.deviation
        """sigma, in every coordinate on mu's side of 0 [parameters], fp64."""
        size = float(self.deviation.norm())
        # As long as a typical row, they never count as far out of line.
        self._unit = size / self.typical if size > 0 else 1.0
        beside = torch.stack([self.deviation, self.opposed]) / self._unit
        self.base = Rows(torch.cat([rows, beside.float()]))  # [known + 2, parameters]
        self._gram = self.base.gram()
        self._mean_of = torch.full((known + 2,), 1 / known, dtype=torch.float64)  # mu, of the base rows
        self._mean_of[known:] = 0.0
        self._plain = _honest(view, known)
        self.clients, self.colluders = len(self._plain), len(view.colluders)

    def crafted(self, of_mean: float, of_deviation: float = 0.0, of_opposed: float = 0.0) -> torch.Tensor:
        """Return the crafted vector [parameters], fp32; see `mixing`."""
        return (of_mean * self.mean + of_deviation * self.deviation + of_opposed * self.opposed).float()

    def mixing(self, of_mean: float, of_deviation: float = 0.0, of_opposed: float = 0.0) -> torch.Tensor:
        """Return the round's rows as combinations of the base rows [cohort, known + 2], fp64, equal for all colluders.

        Args:
            of_mean: factor of mu in the crafted vector.
            of_deviation: factor of sigma in it.
            of_opposed: factor of sign(mu) sigma in it.
        """
        crafted = of_mean * self._mean_of
        crafted[-2], crafted[-1] = of_deviation * self._unit, of_opposed * self._unit
        return torch.where(self._plain.any(dim=1, keepdim=True), self._plain, crafted)

    def harm(self, of_mean: float, of_deviation: float = 0.0, of_opposed: float = 0.0) -> Harm:
        """Return the effect on F of sending that vector; where the round would be skipped, F is 0."""
        mixing = self.mixing(of_mean, of_deviation, of_opposed)
        found = self._rehearse(self.base.mixed(mixing))
        if found.vector is not None:
            moved = found.vector.double() - self.mean  # [parameters]
            square, along, size = moved @ moved, moved @ self.mean, self.mean.norm()
        else:
            share = -self._mean_of if found.weights is None else found.weights @ mixing - self._mean_of  # [known + 2]
            square, along = share @ self._gram @ share, share @ self._gram @ self._mean_of
            size = (self._mean_of @ self._gram @ self._mean_of).clamp_min(0.0).sqrt()
        return Harm(math.sqrt(max(float(square), 0.0)), -float(along) / float(size) if size > 0 else 0.0)


def _honest(view: ColluderView, known: int) -> torch.Tensor:
    """Return the honest rows in the round's order [cohort, known + 2], with zeros at the colluders' places.

    Of others unknown, the colluders' own honest rows stand for them in turn. A client's place is its id where
    all clients take part; elsewhere the colluders do not know their places, and they come last.
    """
    colluders, cohort = len(view.colluders), view.training.cohort
    honest = known if knows_others(view) or cohort == 0 else max(cohort - colluders, 0)
    size = honest + colluders
    by_id = max(view.colluders) < size
    crafted = set(view.colluders if by_id else range(honest, size))
    others = [place for place in range(size) if place not in crafted]
    plain = torch.zeros(size, known + 2, dtype=torch.float64)
    plain[others, [place % known for place in range(honest)]] = 1.0
    return plain
