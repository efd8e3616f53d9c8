"""A round's rows, with the products that distance and angle rules need, in fp64 over chunks."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch

CHUNK = 1 << 18
"""Columns per product: 12 rows of it are 25 MB in fp64, which stays in cache-sized traffic."""

NORM_CAP = 100.0
"""Rows above this many times the median norm are scaled down to it before distances are taken."""


class Rows:
    """The rows of a round as filters and rules see them: combinations of what the clients sent, to read only.

    A row far out of line (above 100 times the median norm) counts as scaled down to that, in distances and in sums
    alike.

    Args:
        matrix: fp32 [clients, parameters]; never changed.
        mixing: fp64 [kept, clients]: each kept row as a combination of rows; None keeps the rows as they are.

    Raises:
        ValueError: mixing has the wrong shape or type, or holds NaN or infinity.
    """

    def __init__(self, matrix: torch.Tensor, mixing: torch.Tensor | None = None) -> None:
        clients = matrix.shape[0]
        if mixing is None:
            mixing = torch.eye(clients, dtype=torch.float64)
        if mixing.ndim != 2 or mixing.shape[1] != clients or mixing.dtype != torch.float64:
            raise ValueError(f"a mixing matrix is fp64 [kept, {clients}], not {mixing.dtype} {list(mixing.shape)}")
        if not bool(mixing.isfinite().all()):
            raise ValueError("a mixing matrix holds finite numbers only")
        self._matrix = matrix
        self.mixing = mixing

    def __len__(self) -> int:
        """Rows that the rule decides on."""
        return self.mixing.shape[0]

    def mixed(self, mixing: torch.Tensor) -> "Rows":
        """These rows combined once more by `mixing` [kept, len(self)], fp64."""
        if mixing.ndim != 2 or mixing.shape[1] != len(self) or mixing.dtype != torch.float64:
            raise ValueError(f"a mixing matrix is fp64 [kept, {len(self)}], not {mixing.dtype} {list(mixing.shape)}")
        rows = Rows(self._matrix, mixing @ self.mixing)
        rows.__dict__["_senders"] = self._senders  # the products do not depend on the mixing
        return rows

    @cached_property
    def _senders(self) -> "_Products":
        return _products(self._matrix)

    def squared_distances(self) -> torch.Tensor:
        """Squared Euclidean distances between the kept rows [kept, kept], fp64, symmetric, zero on the diagonal."""
        senders, mixing, sums = self._senders, self.mixing, self.mixing.sum(dim=1)
        gram = mixing @ senders.centred @ mixing.T
        squares = gram.diagonal()
        distances = squares[:, None] + squares[None, :] - 2 * gram
        # Lines that do not sum to the same (a clipped row, say) differ by a multiple of the centre as well.
        excess = sums[:, None] - sums[None, :]
        along = mixing @ senders.on_centre
        distances += 2 * excess * (along[:, None] - along[None, :]) + excess.square() * senders.centre_square
        # A matrix product need not be symmetric in its last bit, and rules break ties by equality.
        return ((distances + distances.T) / 2).clamp_min_(0.0).fill_diagonal_(0.0)

    def gram(self) -> torch.Tensor:
        """Inner products of the kept rows [kept, kept], fp64, symmetric; for angles and norms."""
        senders, mixing, sums = self._senders, self.mixing, self.mixing.sum(dim=1)
        along = mixing @ senders.on_centre
        gram = mixing @ senders.centred @ mixing.T + sums[:, None] * along[None, :] + along[:, None] * sums[None, :]
        gram += sums[:, None] * sums[None, :] * senders.centre_square
        return (gram + gram.T) / 2

    def chunks(self) -> Iterator[torch.Tensor]:
        """The kept rows, some columns at a time [kept, columns], fp64 copies; for coordinate-wise rules."""
        senders = self.mixing * self._senders.scale
        for start in range(0, self._matrix.shape[1], CHUNK):
            yield senders @ self._matrix[:, start : start + CHUNK].double()

    def weighted_sum(self, weights: torch.Tensor) -> torch.Tensor:
        """The kept rows' weighted sum [parameters], fp32, accumulated in fp64 over chunks.

        Args:
            weights: fp64 [kept].
        """
        return weighted_sum(self._matrix, weights.double() @ self.mixing * self._senders.scale)


def weighted_sum(matrix: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """`weights @ matrix` [columns], fp32, accumulated in fp64 over chunks.

    Args:
        matrix: fp32 [rows, columns].
        weights: fp64 [rows].
    """
    columns = matrix.shape[1]
    result = torch.empty(columns, dtype=torch.float32)
    for start in range(0, columns, CHUNK):
        stop = start + CHUNK
        result[start:stop] = weights @ matrix[:, start:stop].double()
    return result


@dataclass(frozen=True, slots=True)
class _Products:
    """Inner products of the senders' capped rows, as far as any rule needs them."""

    scale: torch.Tensor
    """Factor that caps each row [clients]; 1 for all but outliers."""
    centred: torch.Tensor
    """Of the rows less the centre [clients, clients], fp64."""
    on_centre: torch.Tensor
    """Of the rows less the centre, with the centre [clients], fp64."""
    centre_square: torch.Tensor
    """Of the centre with itself, fp64 scalar."""


def _products(matrix: torch.Tensor) -> _Products:
    """One pass for the norms, one for the products, centred on the row of median norm.

    Centring on the mean would let one row at 1e3 ruin the distances among honest rows of spread 1e-3.
    """
    clients, parameters = matrix.shape
    norms = _squared_norms(matrix).sqrt()  # [clients]
    centre = int(norms.argsort()[(clients - 1) // 2])
    cap = NORM_CAP * norms[centre] if norms[centre] > 0 else norms.max()  # a median of 0 says nothing
    scale = torch.where(norms > cap, cap / norms.clamp_min(1e-300), 1.0)
    centred = torch.zeros(clients, clients, dtype=torch.float64)
    on_centre, square = torch.zeros(clients, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for start in range(0, parameters, CHUNK):
        chunk = matrix[:, start : start + CHUNK].double() * scale[:, None]  # [clients, chunk]
        middle = chunk[centre].clone()
        chunk -= middle
        centred.addmm_(chunk, chunk.T)
        on_centre.addmv_(chunk, middle)
        square += middle.dot(middle)
    return _Products(scale, centred, on_centre, square)


def _squared_norms(matrix: torch.Tensor) -> torch.Tensor:
    """fp64 [rows], so that 1e30 does not overflow."""
    total = torch.zeros(matrix.shape[0], dtype=torch.float64)
    for start in range(0, matrix.shape[1], CHUNK):
        total += matrix[:, start : start + CHUNK].double().square_().sum(dim=1)
    return total
