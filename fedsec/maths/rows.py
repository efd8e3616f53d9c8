"""A round's updates as rows of a matrix, with the products that rules based on distances or angles need."""

from collections.abc import Iterator
from functools import cached_property

import torch

from fedsec.maths.fp64_blocks import fp64_blocks
from fedsec.maths.products import Products, beside_vector, capped_by, products
from fedsec.maths.threads import over_columns

CHUNK = 1 << 13
"""Columns of the kept rows that are made at a time."""


class Rows:
    """A round's updates as filters and aggregation rules see them, one row each; they are read, never changed.

    After a filter, a kept row is a combination of the clients' updates, with the coefficients `mixing` [kept, clients],
    fp64. A row above 100 times the median norm is scaled down to that, in distances and sums alike; only `chunks` of
    rows that no filter mixed yields it as it was sent.

    Args:
        matrix: fp32 [clients, parameters], finite; never changed. It may be a file mapped into memory, since it is read
            block by block.
        mixing: fp64 [kept, clients]: each kept row as a combination of rows; None keeps the rows as they are.

    Raises:
        ValueError: mixing has the wrong shape or type, or holds NaN or infinity.
    """

    def __init__(self, matrix: torch.Tensor, mixing: torch.Tensor | None = None) -> None:
        self._start((matrix,), mixing)

    def _start(self, sources: tuple[torch.Tensor, ...], mixing: torch.Tensor | None) -> None:
        count = sum(len(source) for source in sources)
        self._plain = mixing is None
        """Whether the kept rows are the updates as sent."""
        if mixing is None:
            mixing = torch.eye(count, dtype=torch.float64)
        if mixing.ndim != 2 or mixing.shape[1] != count or mixing.dtype != torch.float64:
            raise ValueError(f"a mixing matrix is fp64 [kept, {count}], not {mixing.dtype} {list(mixing.shape)}")
        if not bool(mixing.isfinite().all()):
            raise ValueError("a mixing matrix holds finite numbers only")
        self._sources = sources
        self._base: Rows | None = None
        """The rows that `beside` extended."""
        self._made = mixing
        """Coefficients of the sources [kept, sources], fp64."""
        self.mixing = mixing
        """Coefficients of the updates that the round began with [kept, clients], fp64."""

    def __len__(self) -> int:
        """Return the number of kept rows."""
        return self.mixing.shape[0]

    def mixed(self, mixing: torch.Tensor) -> "Rows":
        """Return these rows combined once more by `mixing` [kept, len(self)], fp64."""
        if mixing.ndim != 2 or mixing.shape[1] != len(self) or mixing.dtype != torch.float64:
            raise ValueError(f"a mixing matrix is fp64 [kept, {len(self)}], not {mixing.dtype} {list(mixing.shape)}")
        rows = _of(self._sources, mixing @ self._made)
        rows._base, rows.mixing = self._base, mixing @ self.mixing
        rows.__dict__["_senders"] = self._senders  # they do not depend on the mixing
        return rows

    def beside(self, vectors: torch.Tensor) -> "Rows":
        """Return these rows followed by `vectors` [more, parameters], fp32, such as an earlier aggregate.

        The vectors neither count towards the median norm nor are scaled down themselves.
        """
        more = torch.eye(len(vectors), dtype=torch.float64)
        rows = _of((*self._sources, vectors), None if self._plain else torch.block_diag(self._made, more))
        rows._base, rows.mixing = self if self._base is None else self._base, torch.block_diag(self.mixing, more)
        return rows

    def as_sent(self) -> "Rows":
        """Return the same rows as if the round had begun with them."""
        rows = _of(self._sources, None if self._plain else self._made)
        rows._base = self._base
        if "_senders" in self.__dict__:
            rows.__dict__["_senders"] = self._senders
        return rows

    @cached_property
    def _senders(self) -> Products:
        if self._base is None:
            return products(self._sources)
        own = len(self._base._sources[0])
        found = products(self._sources, beside=sum(map(len, self._sources)) - own)
        # Products among the senders alone are part of these.
        self._base.__dict__.setdefault("_senders", found.among(own))
        return found

    @cached_property
    def _norms(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the scale of each sender's row and its squared norm after scaling [senders], fp64.

        Products are not computed for this unless they are known already.
        """
        if self._base is None and "_senders" not in self.__dict__:
            return capped_by(beside_vector(self._sources, None)[0])
        return self._senders.scale, self._senders.squares

    def squared_norms(self) -> torch.Tensor:
        """Return squared Euclidean norms of the kept rows [kept], fp64."""
        return self._norms[1].clone() if self._plain else self.gram().diagonal().clamp_min(0.0)

    def squared_distances(self) -> torch.Tensor:
        """Return squared Euclidean distances between kept rows [kept, kept], fp64, symmetric, with a zero diagonal."""
        senders, mixing = self._senders, self._made
        if self._plain:
            return senders.distances.clone()
        # |sum_i d_i x_i|^2 = (sum_i d_i) sum_i d_i |x_i|^2 - d' D d / 2, for the difference d of two lines.
        between = mixing @ senders.distances @ mixing.T
        own, sums, along = between.diagonal(), mixing.sum(dim=1), mixing @ senders.squares
        found = between - (own[:, None] + own) / 2
        found += (sums[:, None] - sums) * (along[:, None] - along)  # of lines that do not sum to the same
        # A matrix product need not be symmetric in its last bit, and rules break ties by equality.
        return ((found + found.T) / 2).clamp_min_(0.0).fill_diagonal_(0.0)

    def gram(self) -> torch.Tensor:
        """Return inner products of the kept rows [kept, kept], fp64, symmetric, for angles and norms."""
        senders, mixing = self._senders, self._made
        sums, along = mixing.sum(dim=1), mixing @ senders.squares
        found = (sums * along[:, None] + sums[:, None] * along - mixing @ senders.distances @ mixing.T) / 2
        return (found + found.T) / 2

    def chunks(self, columns: int = CHUNK) -> Iterator[torch.Tensor]:
        """Yield the kept rows, some columns at a time [kept, columns], fp32, read-only, for coordinate-wise rules.

        Rows that no filter mixed are as they were sent, without scaling.
        """
        total = self._sources[0].shape[1]
        for start in range(0, total, columns):
            stop = min(start + columns, total)
            if self._plain and len(self._sources) == 1:
                yield self._sources[0][:, start:stop]
            else:
                yield self.part(start, stop).float()

    def part(self, start: int, stop: int) -> torch.Tensor:
        """Return the kept rows' columns from `start` to before `stop` [kept, stop - start], fp64."""
        blocks = [source[:, start:stop].double() for source in self._sources]
        block = blocks[0] if len(blocks) == 1 else torch.cat(blocks)
        return (self._made * self._norms[0]).to(block.device) @ block

    def along(self, vector: torch.Tensor) -> torch.Tensor:
        """Return inner products of the kept rows with a vector [kept], fp64, accurate for rows of any norm.

        Their norms are taken in the same pass where they are not known yet.

        Args:
            vector: fp32 [parameters].
        """
        squares, found = beside_vector(self._sources, vector)
        if self._base is None and "_senders" not in self.__dict__ and "_norms" not in self.__dict__:
            self.__dict__["_norms"] = capped_by(squares)
        return self._made @ (found * self._norms[0])

    def weighted_sum(self, weights: torch.Tensor) -> torch.Tensor:
        """Return the weighted sum of the kept rows [parameters], fp32, accumulated in fp64 over chunks.

        Args:
            weights: fp64 [kept].
        """
        of_senders = weights.double() @ self._made * self._norms[0]
        if len(self._sources) == 1:
            return weighted_sum(self._sources[0], of_senders)
        parts = of_senders.split([len(source) for source in self._sources])
        sums = [weighted_sum(source, own).double() for source, own in zip(self._sources, parts, strict=True)]
        return torch.stack(sums).sum(dim=0).float()


def _of(sources: tuple[torch.Tensor, ...], mixing: torch.Tensor | None) -> Rows:
    rows = Rows.__new__(Rows)
    rows._start(sources, mixing)
    return rows


def weighted_sum(matrix: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return `weights @ matrix` [columns], fp32, accumulated in fp64 block by block.

    Rows of weight 0 are not read where they are the majority; selecting the others costs as much as reading as many.

    Args:
        matrix: fp32 [rows, columns].
        weights: fp64 [rows].
    """
    columns, device = matrix.shape[1], matrix.device
    heavy = weights.nonzero()[:, 0]
    some = 2 * len(heavy) < len(matrix)
    weights = (weights[heavy] if some else weights).to(device)
    part = (matrix, heavy.to(device) if some else None)
    result = torch.zeros(columns, dtype=torch.float32, device=device)

    def of_columns(first: int, last: int) -> None:
        for place, block in fp64_blocks([part], first, last):
            result[place] = weights @ block

    if len(heavy):
        over_columns(columns, of_columns, len(weights))
    return result
