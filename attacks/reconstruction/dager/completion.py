"""Low-rank matrices of which only some entries are known: the others follow, while enough are left."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, log
from typing import TYPE_CHECKING, NamedTuple

import torch

from fedsec.maths.threads import one_thread

if TYPE_CHECKING:
    from torch import Tensor

_FIRST = 4
"""Directions to start from; as many again, or half of what there is, are added where they do not suffice."""

_SLOW = 0.7
"""A sweep that lowers the misfit less than to this share of the last one's has no more to give at that rank, unless the
floor is near."""

_STUCK = 0.95
"""The same where a rank is to be ruled out: one that suffices goes on to the floor, if slowly."""

_PATIENCE = 3
"""Sweeps at a rank before its progress is judged."""

_SPARE = 2.0
"""Known entries per unknown of the factors, at least; with fewer, many matrices of that rank fit."""

_RIDGE = 1.0
"""Where a rank is tried again: at first on the diagonals of the normal equations, beside rows of unit norm."""

_AGAIN = 10
"""Sweeps under that ridge before their progress is judged."""

_NEAR = 100.0
"""Misfit in floors below which a rank with too much to spare has only been slow, and a smaller one is tried."""

_HOPELESS = 0.01
"""Misfit above which it is not, whatever the floor."""

_WITHHELD = 0.02
"""Share of the known entries that the fit does not see, to tell one that holds from one that fits by chance."""

_CONDITION = 0.02
"""A row is determined if its known entries hold this share of every unit vector of the row space, squared."""

_SPANNED = 0.95
"""A row space is known if the known entries tell this share of it (MiniLM, top-k: 0.98 to 1 for half of the entries and
four texts, 0.5 to 0.85 for a tenth and one); with less a fit does not grow either."""

_BLOCK = 32
"""Rows that are looked at together: 20 MB at rank 200 and width 384."""

_PASSES = 6
"""Half sweeps that bring rows which the fit was not held to as near to it as the others (measured: 3 leave 1e-6)."""

_SPREAD = (0.7548776662466927, 0.5698402909980532)
"""Multiples of these, less their whole parts, spread evenly over a plane: they choose what is withheld."""

_INNER = 20
"""Conjugate gradient steps per half sweep, at most."""

_TINY = 1e-38
"""Below which fp32 holds no normal number."""

_CLOSE = 1e-4
"""Share of a row's squared gradient at which a half sweep has done enough for it."""


@dataclass(frozen=True, slots=True)
class Completion:
    """A matrix with its unknown entries filled in."""

    values: "Tensor"
    """[rows, width] fp64: known entries as they were given, the others those of the fitted low-rank matrix."""
    rank: int
    """Rank of the fitted matrix."""
    misfit: float
    """Norm of what the fit leaves of the entries that it was held to, over theirs, each row scaled to unit norm."""
    determined: "Tensor"
    """Rows whose known entries tell their part in the fit to about 10 times the misfit, booleans [rows]."""
    error: float
    """Norm of what the fit leaves of a row's entries that it did not see over theirs, median of the rows that it was
    held to and that are determined: near the misfit if it holds elsewhere too, near 1 if it fits by chance; infinite
    where nothing could be withheld, or too little is known of some columns to tell the row space."""


def complete(
    values: "Tensor",
    known: "Tensor",
    *,
    floor: float = 3e-7,
    sweeps: int = 150,
    seconds_left: Callable[[], float] = lambda: inf,
) -> Completion:
    """Fill in the unknown entries of a matrix of unknown low rank.

    The fit grows: directions that explain most of what is left are added until the known entries are matched to their
    own rounding, then as many taken away as can be spared, since a direction too many is made up where nothing is
    known. Where the floor is not reached, the matrix is not of low rank or the known entries do not determine it; the
    misfit says so. Where few entries are known, other matrices may fit them as well: the error on withheld ones says
    so.

    Args:
        values: [rows, width]; what stands where `known` is false does not matter.
        known: booleans [rows, width].
        floor: misfit at which the known entries count as matched: fp32 rounding leaves about 6e-8.
        sweeps: alternations between the two factors, at most, to grow, and as many again to take directions away.
        seconds_left: for more of them; with none left the fit stays as it is, with its misfit.

    Source: alternating least squares with a growing rank: Jain, Netrapalli and Sanghavi, "Low-rank Matrix Completion
        using Alternating Minimization", STOC 2013, algorithm 1; Wen, Yin and Zhang, LMaFit, Math. Prog. Comp. 2012,
        section 2.3 (rank estimation); a ridge that goes: Hastie, Mazumder, Lee and Zadeh, "Matrix Completion and
        Low-Rank SVD via Fast Alternating Least Squares", JMLR 16, 2015, section 4.
    Deviations: rows are scaled to unit norm (their space stays), and count while twice as many of their entries as the
        rank are known; ranks are spared by bisection, then one by one under a ridge; least squares by conjugate
        gradients in fp32, as corrections to an fp64 fit; a fiftieth of the known entries is withheld to test the fit.
    """
    given = values.double().masked_fill(~known, 0.0)
    norms = given.norm(dim=1)
    used = norms > 0.0
    target, seen = given[used] / norms[used, None], known[used]
    fit = _Fit(target, seen, _withheld(known)[used], floor, sweeps, seconds_left)
    with one_thread():
        state = fit.spare(fit.grow())
        product, told, error = fit.rows(state), fit.determined(state), fit.error(state)
    filled = given.clone()
    filled[used] = torch.where(seen, given[used], product * norms[used, None])
    determined = torch.zeros_like(used)
    determined[used] = told
    return Completion(filled, state.rank, state.misfit, determined, error)


def _withheld(known: "Tensor") -> "Tensor":
    """The known entries that a fit does not see, booleans of the same shape; the same for the same shape and mask.

    Source: the two-dimensional Kronecker sequence of the plastic number (Roberts, 2018).
    """
    rows, columns = (
        torch.arange(count, dtype=torch.float64, device=known.device) * step
        for count, step in zip(known.shape, _SPREAD, strict=True)
    )
    return known & ((rows[:, None] + columns).frac() < _WITHHELD)


class _State(NamedTuple):
    """Where sweeps at one rank ended."""

    product: "Tensor"
    """The fitted matrix [rows, width]."""
    rank: int
    misfit: float


class _Mask(NamedTuple):
    """Entries that a fit is held to."""

    exact: "Tensor"
    """0 or 1, fp64 [rows, width]."""
    sharp: "tuple[Tensor, Tensor]"
    """The same in fp32, and its transpose [width, rows]."""

    @classmethod
    def of(cls, entries: "Tensor") -> "_Mask":
        """Of booleans [rows, width]."""
        return cls(entries.double(), (entries.float(), entries.T.float().contiguous()))


class _Fit:
    """Alternating least squares on the known entries of `target` [rows, width], those that are withheld left out.

    A row with hardly more of them than the rank takes any direction along, so that the fit makes some up to match it:
    rows count while they have entries enough for the rank.
    """

    def __init__(
        self,
        target: "Tensor",
        known: "Tensor",
        withheld: "Tensor",
        floor: float,
        sweeps: int,
        seconds_left: Callable[[], float],
    ) -> None:
        self._seconds_left = seconds_left
        self._target, self._known, self._withheld = target, known, withheld
        self._seen, self._floor, self._sweeps = known & ~withheld, floor, sweeps
        self._counts = self._seen.sum(dim=1)  # [rows]
        self._most = self._highest()
        self._least, self._left = 0, sweeps

    def _highest(self) -> int:
        """The highest rank of which the known entries tell as many unknowns as they should."""
        rows, width = self._target.shape
        for rank in range(1, min(rows, width) + 1):
            counts = self._counts[self._counts >= _SPARE * rank]
            if float(counts.sum()) < _SPARE * rank * (len(counts) + width):
                return rank - 1
        return min(rows, width)

    def _held_to(self, rank: int) -> _Mask:
        """What a fit of that rank is held to."""
        return _Mask.of(self._seen & (self._counts >= _SPARE * rank)[:, None])

    def grow(self) -> _State:
        """Sweeps at a rank that suffices, or at the highest that the known entries allow or tell columns of."""
        state = _State(torch.zeros_like(self._target), 0, 1.0)
        while self._left > 0 and state.misfit > self._floor and state.rank < self._most:
            if _share(self._told(state, across=True)) < _SPANNED:
                break
            self._least = state.rank
            count = min(max(_FIRST, state.rank // 4), self._most - state.rank)
            rest = (self._target - state.product) * self._held_to(state.rank + count).exact
            right = torch.cat([_directions(state.product, state.rank), _directions(rest, count)], dim=1)
            state = self._settle(torch.linalg.qr(right).Q, state.product, _SLOW)
        return state

    def spare(self, state: _State) -> _State:
        """The smallest rank that still matches the known entries; `state` itself if none does."""
        if state.misfit > max(min(_NEAR * self._floor, _HOPELESS), self._floor):
            return state
        self._left, least = self._sweeps, self._least
        while (state := self._bisected(state, least)).rank > 1:
            smaller = self._spared(state, state.rank - 1, patience=_AGAIN, ridge=_RIDGE)
            if smaller is None:
                break
            state, least = smaller, 0  # alternations without a ridge had stopped short of a fit that is there
        return state

    def rows(self, state: _State) -> "Tensor":
        """Each row's best fit in the row space of a fit, withheld entries included [rows, width]."""
        right, product, everything = _directions(state.product, state.rank), state.product, _Mask.of(self._known)
        for _ in range(_PASSES):
            product = self._half(product, right, everything)
        return product

    def determined(self, state: _State) -> "Tensor":
        """Rows whose known entries tell every part of a fit's row space, booleans [rows]."""
        return self._told(state, across=False).all(dim=1)

    def error(self, state: _State) -> float:
        """Median over rows of the norm of what a fit leaves of withheld entries over theirs; see `Completion`."""
        columns = self._told(state, across=True)
        if _share(columns) < _SPANNED:
            return float("inf")
        rows = self.determined(state) & (self._counts >= _SPARE * state.rank)
        unseen = self._withheld & rows[:, None] & columns.all(dim=1)
        sizes = (self._target * unseen).norm(dim=1)  # [rows]
        left = ((self._target - state.product) * unseen).norm(dim=1)[sizes > 0.0] / sizes[sizes > 0.0]
        return float(left.median()) if len(left) else float("inf")

    def _told(self, state: _State, *, across: bool) -> "Tensor":
        """Which directions of a fit's row space each row's known entries tell [rows, rank]; across, the columns'."""
        product, known = (state.product.T, self._known.T) if across else (state.product, self._known)
        right = _directions(product, state.rank)
        masks = known.split(_BLOCK)
        held = torch.cat([torch.linalg.eigvalsh((right * mask[:, :, None]).mT @ right) for mask in masks])
        return held >= _CONDITION

    def _bisected(self, state: _State, least: int) -> _State:
        """The smallest rank above `least` that still matches the known entries."""
        while state.rank - least > 1:
            middle = (least + state.rank) // 2
            smaller = self._spared(state, middle)
            if smaller is None:
                least = middle
            else:
                state = smaller
        return state

    def _spared(self, state: _State, rank: int, *, patience: int = _PATIENCE, ridge: float = 0.0) -> _State | None:
        """A fit of smaller rank that does: it matches what is known or, only slow, tells better what it did not see."""
        smaller = self._reduced(state, rank, patience=patience, ridge=ridge)
        if smaller.misfit <= self._floor:
            return smaller
        slow = smaller.misfit <= max(min(_NEAR * self._floor, _HOPELESS), self._floor)
        if not slow or self.error(smaller) >= self.error(state):
            return None
        return self._reduced(smaller, rank, patience=_AGAIN)

    def _reduced(self, state: _State, rank: int, *, patience: int = _PATIENCE, ridge: float = 0.0) -> _State:
        """Sweeps at a smaller rank, from the strongest directions of a fit."""
        right = _directions(state.product, rank)
        return self._settle(right, state.product @ right @ right.T, _STUCK, patience=patience, ridge=ridge)

    def _settle(
        self, right: "Tensor", product: "Tensor", slow: float, *, patience: int = _PATIENCE, ridge: float = 0.0
    ) -> _State:
        """Sweeps until one lowers the misfit to no less than `slow` times the last one's, at a pace that leads nowhere.

        Args:
            right: orthonormal right factor to start from [width, rank].
            product: the fit so far [rows, width], in the span of `right`.
            slow: see above.
            patience: sweeps before progress is judged.
            ridge: of the first sweep; half of it in the second, and so on.
        """
        misfits: list[float] = []
        mask = self._held_to(right.shape[1])
        product = product * mask.exact.any(dim=1, keepdim=True)
        norm = max(float((self._target * mask.exact).norm()), 1e-300)
        while len(misfits) < patience or misfits[-1] < slow * misfits[-2] or self._arrives(misfits):
            product = self._half(product, right, mask, ridge)
            left = torch.linalg.qr(product @ right).Q
            product = self._half(product.T, left, mask, ridge, across=True).T
            ridge /= 2
            misfits.append(float(((self._target - product) * mask.exact).norm()) / norm)
            self._left = self._left - 1 if self._seconds_left() > 0.0 else 0
            if misfits[-1] <= self._floor or self._left <= 0:
                break
            right = torch.linalg.qr(product.T @ left).Q
        return _State(product, right.shape[1], misfits[-1])

    def _arrives(self, misfits: Sequence[float]) -> bool:
        """Whether the pace of the last two sweeps leads to the floor within half of the sweeps that are left."""
        pace = log(misfits[-2] / misfits[-1]) if misfits[-1] < misfits[-2] else 0.0
        return pace * self._left / 2 > log(misfits[-1] / self._floor)

    def _half(
        self, product: "Tensor", basis: "Tensor", mask: _Mask, ridge: float = 0.0, *, across: bool = False
    ) -> "Tensor":
        """The rows' combinations of the columns of `basis` [width, rank] that fit their known entries [rows, width].

        Conjugate gradients on all rows' normal equations at once, from the fit so far: two matrix products a step,
        where forming the equations takes as many as the rank. `ridge` stands on their diagonals.
        """
        target, exact = (self._target.T, mask.exact.T) if across else (self._target, mask.exact)
        solution = product @ basis
        rest = (((target - solution @ basis.T) * exact) @ basis - ridge * solution).float()  # [rows, rank]
        return (solution + _conjugate_gradients(rest, basis.float(), mask.sharp[across], ridge)) @ basis.T


def _share(told: "Tensor") -> float:
    """The share that is true of booleans; all of none."""
    return float(told.double().mean()) if told.numel() else 1.0


def _conjugate_gradients(rest: "Tensor", basis: "Tensor", mask: "Tensor", ridge: float) -> "Tensor":
    """About the x [rows, rank] for which ((x basis^T) * mask) basis + ridge x is `rest`.

    In fp32, as a correction needs no more.

    Args:
        rest: [rows, rank].
        basis: orthonormal columns [width, rank].
        mask: which entries are known, 0 or 1 [rows, width].
        ridge: 0 or more.
    """
    solution, direction, size = torch.zeros_like(rest), rest.clone(), rest.square().sum(dim=1)
    enough, spread = _CLOSE * size, torch.empty_like(mask)
    for _ in range(_INNER):
        torch.mm(direction, basis.T, out=spread).mul_(mask)
        image = spread @ basis + ridge * direction
        length = size / (direction * image).sum(dim=1).clamp_min(_TINY)
        length = length.masked_fill(size <= enough, 0.0)[:, None]
        solution += length * direction
        rest = rest - length * image
        after = rest.square().sum(dim=1)
        direction = rest + (after / size.clamp_min(_TINY))[:, None] * direction
        size = after
        if bool((size <= enough).all()):
            break
    return solution


def _directions(matrix: "Tensor", count: int) -> "Tensor":
    """The strongest `count` directions of a matrix's row space [width, count]; below 1e-8 of the strongest, any."""
    return torch.linalg.eigh(matrix.T @ matrix).eigenvectors[:, -count:].flip(1) if count else matrix.T[:, :0]
