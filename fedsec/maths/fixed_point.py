"""Fixed-point numbers: updates as whole numbers of a common step, whose sums are exact where no field can overflow."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fedsec.maths.blocks import ENTRIES

if TYPE_CHECKING:
    from torch import Tensor


class Encoded(NamedTuple):
    """An update as whole numbers."""

    values: np.ndarray
    """int64 [parameters], from -levels to levels."""
    saturated: int
    """Entries that lay outside the range, or were no number, and so do not stand for what they were."""


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """Whole numbers of a step, such that the sum of a round's updates is exact modulo `modulus`.

    A value saturates at +-range and is rounded to a whole number of steps, at most `levels` of them in magnitude. The
    sum of at most `terms` such numbers is at most `terms * levels` in magnitude, and by the choice of `levels` that is
    at most `(modulus - 1) / 2`. So the sum is the only number of its residue class between -modulus/2 and modulus/2:
    nothing overflows, whatever values are encoded. Whoever puts in a number that `encode` does not give chooses the sum
    anew: modulo `modulus` it can be anything, and the mean of `terms` updates anything within +-range.

    Args:
        range: the largest magnitude that is represented, above 0.
        terms: the most updates that are added up, at least 1.
        modulus: of the sums, at most 2^62.
        bits: the most bits of a number's magnitude; more than 31 are never used.

    Raises:
        ValueError: a setting is out of range, or the modulus leaves that many updates no level at all.
    """

    range: float
    terms: int
    modulus: int
    bits: int = 31

    def __post_init__(self) -> None:
        """Refuse fields in which sums would overflow."""
        if not (0 < self.range < float("inf") and self.terms >= 1 and 2 < self.modulus <= 1 << 62 and self.bits >= 1):
            raise ValueError("range is above 0, terms and bits at least 1, and the modulus from 3 to 2^62")
        if self.levels < 1:
            raise ValueError(
                f"sums of {self.terms} updates overflow modulo {self.modulus}: use fewer clients or a larger field"
            )

    @property
    def levels(self) -> int:
        """Return the largest magnitude of a number, in steps."""
        return min((self.modulus - 1) // 2 // self.terms, (1 << min(self.bits, 31)) - 1)

    @property
    def step(self) -> float:
        """Return the value of 1; an update is represented within half of it, and a sum within `terms` halves."""
        return self.range / self.levels

    def encode(self, vector: "Tensor", weight: float = 1.0) -> Encoded:
        """Return an update's numbers.

        Args:
            vector: fp32 [parameters]; what is no number counts as 0, and is counted as saturated.
            weight: from 0 to 1, by which it is multiplied once its values are within the range.

        Raises:
            ValueError: the weight is out of range.
        """
        if not 0.0 <= weight <= 1.0:
            raise ValueError(f"a weight is from 0 to 1, not {weight}")
        source = vector.detach().numpy()
        values, saturated = np.empty(len(source), dtype=np.int64), 0
        for start in range_of(len(source)):
            part = source[start : start + ENTRIES].astype(np.float64)
            inside = np.abs(part) <= self.range
            if not inside.all():  # also where it is no number
                saturated += int(np.count_nonzero(~inside))
                part = np.nan_to_num(np.clip(part, -self.range, self.range), nan=0.0)
            np.rint(part * (weight / self.step), out=part)
            values[start : start + ENTRIES] = np.clip(part, -self.levels, self.levels)
        return Encoded(values, saturated)

    def centred(self, residues: np.ndarray) -> np.ndarray:
        """Return the sums between -modulus/2 and modulus/2 [parameters], int64, of their residues modulo `modulus`.

        Args:
            residues: whole numbers from 0 to modulus - 1 [parameters].
        """
        found = residues.astype(np.int64)
        found[found > (self.modulus - 1) // 2] -= self.modulus
        return found

    def decode(self, total: np.ndarray, divisor: float) -> "Tensor":
        """Return what a sum stands for, divided by the sum of the weights in it [parameters], fp32.

        Args:
            total: int64 [parameters].
            divisor: above 0.
        """
        import torch

        return torch.from_numpy((total * (self.step / divisor)).astype(np.float32))


def range_of(length: int) -> range:
    """Return where the blocks of a vector of that length start."""
    return range(0, length, ENTRIES)
