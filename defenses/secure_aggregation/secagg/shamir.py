"""Shamir's secret sharing: any `threshold` shares give a secret back, and fewer say nothing about it.

Source: Shamir, "How to share a secret", CACM 1979.
Deviations: none; the field is that of the first prime above 2^256, so that every 32 bytes are a secret.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

from fedsec.privacy.keystream import KeyStream

PRIME = (1 << 256) + 297
SECRET_BYTES, SHARE_BYTES = 32, 33


def share(secret: bytes, holders: Sequence[int], threshold: int, draw: KeyStream) -> dict[int, int]:
    """Return one share for each holder, from 0 to PRIME - 1.

    Args:
        secret: 32 bytes.
        holders: numbers from 0, each once; the share of holder h is the polynomial's value at h + 1.
        threshold: shares that give the secret back, from 1 to the number of holders.
        draw: gives the polynomial's coefficients.

    Raises:
        ValueError: the secret, the holders or the threshold are out of range.
    """
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a secret has {SECRET_BYTES} bytes, not {len(secret)}")
    if len(set(holders)) != len(holders) or any(not 0 <= holder < PRIME - 1 for holder in holders):
        raise ValueError("holders are different numbers from 0")
    if not 1 <= threshold <= len(holders):
        raise ValueError(f"{len(holders)} holders cannot have a threshold of {threshold}")
    coefficients = [draw.below(PRIME) for _ in range(threshold - 1)] + [int.from_bytes(secret, "little")]
    shares = {}
    for holder in holders:
        value = 0
        for coefficient in coefficients:  # Horner, from the highest power
            value = (value * (holder + 1) + coefficient) % PRIME
        shares[holder] = value
    return shares


def recover(shares: Mapping[int, int], threshold: int) -> bytes:
    """Return the secret of which at least `threshold` shares are given; of more, those of the lowest holders are used.

    Args:
        shares: by holder.
        threshold: with which the secret was shared.

    Raises:
        ValueError: there are fewer shares, or they are not of one secret of 32 bytes.
    """
    if len(shares) < threshold:
        raise ValueError(f"{len(shares)} shares do not give back a secret shared with a threshold of {threshold}")
    used = tuple(sorted(shares)[:threshold])
    value = sum(shares[holder] * weight for holder, weight in zip(used, _at_zero(used), strict=True)) % PRIME
    if value >> (8 * SECRET_BYTES):
        raise ValueError("these are not shares of one secret")
    return value.to_bytes(SECRET_BYTES, "little")


@lru_cache(maxsize=256)
def _at_zero(holders: tuple[int, ...]) -> tuple[int, ...]:
    """Return the weights by which the shares of these holders sum to the polynomial's value at 0."""
    weights = []
    for own in holders:
        over, under = 1, 1
        for other in holders:
            if other != own:
                over = over * (other + 1) % PRIME
                under = under * (other - own) % PRIME
        weights.append(over * pow(under, -1, PRIME) % PRIME)
    return tuple(weights)
