"""he-bfv: updates are encrypted as whole numbers, and their sum is exact."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from fedsec.api import ExchangeContext, Measured
from fedsec.maths.fixed_point import FixedPoint

from .play import Keys, play
from .seal import BFV

_ONE_FIELD, _TWO_FIELDS = 30, {"shared": 44, "authority": 38}
"""Bits of the plaintext modulus: what leaves a noise budget of at least 3 bits for sums of 16 and 12 clients, where two
fields share a slot, and of thousands where one has it alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HEBFV:
    """Clients encrypt fixed-point updates by BFV; the server adds ciphertexts, and never sees a sum.

    Args:
        keys: `authority`: one party has the secret key, and decrypts what enough clients signed; `shared`: every client
            has it, in half the bytes up, and reads along with a server that it colludes with.
        fields: entries in a slot; two take half the bytes and leave fewer bits for each.
        range: the largest magnitude of an entry; what lies outside saturates at it.
        threshold: the fraction of a round's clients of which more have to be in a sum that is decrypted.
        encrypted: the share of the parameters that is encrypted: the first whole tensors that fit into it. The others'
            updates cross in the clear, where they are not bounded by `range` either.

    Source: Fan and Vercauteren, "Somewhat Practical Fully Homomorphic Encryption", IACR 2012/144, in SEAL 4.1 (degree
        4096, a modulus of 54 bits); batching: Smart and Vercauteren, 2014.
    Deviations: two signed fields in a slot; the authority adds the signed ciphertexts up itself.
    """

    keys: str = "authority"
    fields: int = 1
    range: float = 8.0
    threshold: float = 0.5
    encrypted: float = 1.0
    _kept: Keys = field(default_factory=Keys, init=False, repr=False, compare=False)

    def state(self) -> Mapping[str, Any]:
        """Return what is counted over rounds, without any key."""
        return self._kept.state()

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Count on from an earlier state."""
        self._kept.load_state(state)

    def exchange(self, rows: torch.Tensor, weights: torch.Tensor, context: ExchangeContext) -> Measured:
        """Return the weighted mean of the clients whose updates were decrypted together."""
        scheme = self._kept.scheme
        if not isinstance(scheme, BFV):
            scheme = self._kept.start(BFV(_ONE_FIELD if self.fields == 1 else _TWO_FIELDS[self.keys]), context)
        modulus = scheme.modulus if self.fields == 1 else 1 << ((scheme.modulus.bit_length() - 2) // 2 + 1)
        number = FixedPoint(range=self.range, terms=len(rows), modulus=modulus)
        hidden = context.layout.first(self.encrypted)
        found = play(
            rows,
            weights,
            context,
            lambda row, share: _encoded(number, row, share, self.fields),
            self._kept,
            shared=self.keys == "shared",
            fraction=self.threshold,
            values=-(-hidden // self.fields),
            hidden=hidden,
        )
        return found.measured(lambda t, divisor: number.decode(unpacked(t, hidden, self.fields, modulus), divisor))


def _encoded(number: FixedPoint, row: torch.Tensor, share: float, fields: int) -> tuple[np.ndarray, int]:
    encoded = number.encode(row, share)
    return packed(encoded.values, fields, number.modulus), encoded.saturated


def packed(values: np.ndarray, fields: int, modulus: int) -> np.ndarray:
    """Return whole numbers one or two to a slot, int64; the second half of them lies `modulus` times higher."""
    if fields == 1:
        return values
    low, high = values[: -(-len(values) // 2)], values[-(-len(values) // 2) :]
    together = low.copy()
    together[: len(high)] += high * modulus
    return together


def unpacked(total: np.ndarray, length: int, fields: int, modulus: int) -> np.ndarray:
    """Return the sums of whole numbers from slots that were added up [length], int64.

    Each sum of lower fields is below modulus / 2 in magnitude, so that it is the slot's centred residue.
    """
    if fields == 1:
        return total
    low = (total + modulus // 2) % modulus - modulus // 2
    high = (total - low) // modulus
    return np.concatenate([low, high[: length - len(low)]])
