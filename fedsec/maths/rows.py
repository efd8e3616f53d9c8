"""A round's rows, with the products that distance and angle rules need, in fp64 over chunks."""

from functools import cached_property

import torch

CHUNK = 1 << 18
"""Columns per product: 12 rows of it are 25 MB in fp64, which stays in cache-sized traffic."""

NORM_CAP = 100.0
"""Rows above this many times the median norm are scaled down to it before distances are taken."""


class Rows:
    """The rows of a round as rules see them: mixtures of what the clients sent.

    Args:
        matrix: fp32 [clients, parameters]; never changed.
        mixing: fp64 [kept, clients], every line sums to 1; None keeps the rows as they are.

    Raises:
        ValueError: mixing has the wrong shape or type, or a line that does not sum to 1.
    """

    def __init__(self, matrix: torch.Tensor, mixing: torch.Tensor | None = None) -> None:
        clients = matrix.shape[0]
        if mixing is None:
            mixing = torch.eye(clients, dtype=torch.float64)
        if mixing.ndim != 2 or mixing.shape[1] != clients or mixing.dtype != torch.float64:
            raise ValueError(f"a mixing matrix is fp64 [kept, {clients}], not {mixing.dtype} {list(mixing.shape)}")
        if not bool(((mixing.sum(dim=1) - 1).abs() <= 1e-9).all()):
            raise ValueError("each line of a mixing matrix sums to 1: a kept row is an average of rows")
        self.matrix = matrix
        self.mixing = mixing

    def __len__(self) -> int:
        """Rows that the rule decides on."""
        return self.mixing.shape[0]

    def mixed(self, mixing: torch.Tensor) -> "Rows":
        """These rows mixed once more by `mixing` [kept, len(self)]."""
        return Rows(self.matrix, mixing @ self.mixing)

    @cached_property
    def _gram_of_senders(self) -> torch.Tensor:
        """Gram matrix of the capped rows, centred on the row of median norm [clients, clients], fp64.

        Centring on the mean would let one row at 1e3 ruin the distances among honest rows of spread 1e-3.
        """
        norms = self._squared_norms().sqrt()  # [clients]
        centre = int(norms.argsort()[(len(norms) - 1) // 2])
        cap = NORM_CAP * norms[centre] if norms[centre] > 0 else norms.max()  # a median of 0 says nothing
        scale = torch.where(norms > cap, cap / norms.clamp_min(1e-300), 1.0)
        clients, parameters = self.matrix.shape
        gram = torch.zeros(clients, clients, dtype=torch.float64)
        for start in range(0, parameters, CHUNK):
            chunk = self.matrix[:, start : start + CHUNK].double() * scale[:, None]  # [clients, chunk]
            chunk -= chunk[centre].clone()
            gram.addmm_(chunk, chunk.T)
        return gram

    def _squared_norms(self) -> torch.Tensor:
        """fp64 [clients], so that 1e30 does not overflow."""
        total = torch.zeros(self.matrix.shape[0], dtype=torch.float64)
        for start in range(0, self.matrix.shape[1], CHUNK):
            total += self.matrix[:, start : start + CHUNK].double().square_().sum(dim=1)
        return total

    def squared_distances(self) -> torch.Tensor:
        """Squared Euclidean distances between the kept rows [kept, kept], fp64, symmetric, zero on the diagonal."""
        gram = self.mixing @ self._gram_of_senders @ self.mixing.T
        squares = gram.diagonal()
        distances = (squares[:, None] + squares[None, :] - 2 * gram).clamp_min_(0.0)
        # A matrix product need not be symmetric in its last bit, and rules break ties by equality.
        return ((distances + distances.T) / 2).fill_diagonal_(0.0)

    def weighted_sum(self, weights: torch.Tensor) -> torch.Tensor:
        """The kept rows' weighted sum [parameters], fp32, accumulated in fp64 over chunks.

        Args:
            weights: fp64 [kept].
        """
        senders = weights.double() @ self.mixing  # [clients]
        parameters = self.matrix.shape[1]
        result = torch.empty(parameters, dtype=torch.float32)
        for start in range(0, parameters, CHUNK):
            stop = start + CHUNK
            result[start:stop] = senders @ self.matrix[:, start:stop].double()
        return result
