"""he-ckks: updates are encrypted as numbers with a small error, and so is their sum."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import floor, log2, sqrt
from typing import Any

import numpy as np
import torch

from fedsec.api import ExchangeContext, Measured
from fedsec.privacy.keystream import KeyStream

from .play import Keys, play
from .seal import CKKS, DEGREE, MODULUS_BITS

_LARGEST_SCALE = 49
"""Bits of the largest scale: fp64 encodes no finer."""
_FRESH = {"authority": sqrt(10.5 * (4 * DEGREE / 3 + 1)), "shared": sqrt(10.5)}
"""Standard deviation of a coefficient's error in a fresh ciphertext: by a public key two products of a centred binomial
error (variance 10.5 in SEAL) and a ternary polynomial (a third of its coefficients are 0), and one such error, which is
all that there is by the secret key."""


def scale_bits(range_: float, clients: int) -> int:
    """Return the finest scale at which the sum of so many updates stays below half of the modulus, one bit to spare.

    Raises:
        ValueError: no scale of at least 2^22 does.
    """
    found = min(_LARGEST_SCALE, floor(MODULUS_BITS - 2 - log2(sqrt(2) * range_ * clients)))
    if found < 22:
        raise ValueError(
            f"sums of {clients} updates within +-{range_:g} overflow: use a smaller range or fewer of them"
        )
    return found


def error_of(bits: int, clients: int, keys: str = "authority") -> float:
    """Return the standard deviation of an entry's error in a sum of fresh ciphertexts.

    Args:
        bits: of the scale.
        clients: in the sum.
        keys: `authority`: they are encrypted by a public key; `shared`: by the secret one.
    """
    return sqrt(clients) * _FRESH[keys] * sqrt(DEGREE / 2) / 2.0**bits


@dataclass(frozen=True, slots=True, kw_only=True)
class HECKKS:
    """Clients encrypt updates by CKKS; the server adds ciphertexts, and never sees a sum.

    Args:
        keys: `authority`: one party has the secret key, and decrypts what enough clients signed; `shared`: every client
            has it, in half the bytes up, and reads along with a server that it colludes with.
        flooding: bits of statistical security of the noise that is added to the decrypted sum, by the authority or by
            all clients alike, before anybody without the key has what comes of it: a CKKS sum's error tells of the key;
            0 adds none.
        range: the largest magnitude of an entry; what lies outside saturates at it.
        threshold: the fraction of a round's clients of which more have to be in a sum that is decrypted.
        encrypted: the share of the parameters that is encrypted: the first whole tensors that fit into it. The others'
            updates cross in the clear, where they are not bounded by `range` either.

    Source: Cheon et al., "Homomorphic Encryption for Arithmetic of Approximate Numbers", ASIACRYPT 2017, in SEAL 4.1
        (degree 4096, a modulus of 56 bits); flooding: Li et al., "Securing Approximate Homomorphic Encryption Using
        Differential Privacy", CRYPTO 2022, theorem 3.
    Deviations: entries are packed two to a slot, as complex numbers; sums are divided after decryption, so that no
        level is spent; the authority adds the signed ciphertexts up itself.
    """

    keys: str = "authority"
    flooding: int = 30
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
        scheme, bits = self._kept.scheme, scale_bits(self.range, len(rows))
        if not isinstance(scheme, CKKS):
            scheme = self._kept.start(CKKS(bits), context)
        scheme.scale = 2.0**bits
        hidden = context.layout.first(self.encrypted)
        found = play(
            rows,
            weights,
            context,
            self._encoded,
            self._kept,
            shared=self.keys == "shared",
            fraction=self.threshold,
            values=hidden,
            hidden=hidden,
        )

        def flooded(total: np.ndarray) -> np.ndarray:
            if not self.flooding:
                return total
            rounds = max(1, context.training.rounds)
            size = error_of(bits, len(found.clients), self.keys) * sqrt(24 * rounds) * 2.0 ** (self.flooding / 2)
            noisy: np.ndarray = total + size * normal(found.noise(), len(total))
            return noisy

        return found.measured(_decoded, flooded)

    def _encoded(self, row: torch.Tensor, share: float) -> tuple[np.ndarray, int]:
        values = row.double().numpy()
        outside = int(np.count_nonzero(~(np.abs(values) <= self.range)))
        return np.nan_to_num(np.clip(values, -self.range, self.range), nan=0.0) * share, outside


def _decoded(total: np.ndarray, divisor: float) -> torch.Tensor:
    return torch.from_numpy((total / divisor).astype(np.float32))


def normal(draw: KeyStream, count: int) -> np.ndarray:
    """Return standard normal numbers of a key stream [count], fp64: Box and Muller, 1958."""
    uniform = (draw.words(2 * count).astype(np.float64) + 0.5) / 2.0**32
    found: np.ndarray = np.sqrt(-2.0 * np.log(uniform[:count])) * np.cos(2.0 * np.pi * uniform[count:])
    return found
