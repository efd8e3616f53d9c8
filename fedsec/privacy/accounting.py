"""What a history of Gaussian mechanisms on sampled batches comes to, by the accountants of opacus.

`prv` (numerical composition of privacy loss variables; Gopi et al., NeurIPS 2021) is what a guarantee states, an upper
bound within `PRV_ERROR` of the truth; `rdp` (Mironov et al., 2019) stands beside it, looser and of other code.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from math import inf, isfinite
from typing import Any, NamedTuple

PRV_ERROR = 0.01
"""Error of epsilon that the PRV accountant computes to."""
TOLERANCE = 0.01
"""A calibrated epsilon lies at most this far, in parts of itself, below its target, and never above."""
_LARGEST_NOISE = 1e6
_LEAST_NOISE = 1e-2
"""Below it, a step's epsilon is in the thousands: no guarantee that anybody would state."""


class Spent(NamedTuple):
    """The same mechanism, several times."""

    noise_multiplier: float
    """Standard deviation over the sum's sensitivity."""
    sampling_rate: float
    """Probability that a record takes part, each by a coin of its own."""
    steps: int


def epsilon_of(history: Sequence[Spent], delta: float, accountant: str = "prv") -> float:
    """The epsilon at which a history is (epsilon, delta)-differentially private; infinite where none is known.

    Args:
        history: what was spent, in any order; add/remove one record.
        delta: above 0 and below 1.
        accountant: `prv` or `rdp`.

    Raises:
        ValueError: another accountant, or a delta or a rate that is none.
    """
    if not 0 < delta < 1:
        raise ValueError(f"delta is above 0 and below 1, not {delta}")
    if any(not 0 < one.sampling_rate <= 1 for one in history):
        raise ValueError("a sampling rate is above 0 and at most 1")
    if accountant not in ("prv", "rdp"):
        raise ValueError(f"the accountants are prv and rdp, not {accountant}")
    merged: dict[tuple[float, float], int] = {}
    for one in history:
        if one.steps:
            key = (one.noise_multiplier, one.sampling_rate)
            merged[key] = merged.get(key, 0) + one.steps
    if not merged:
        return 0.0
    if any(noise < _LEAST_NOISE for noise, _ in merged):
        return inf
    return _epsilon(tuple(sorted((noise, rate, steps) for (noise, rate), steps in merged.items())), delta, accountant)


@lru_cache(maxsize=4096)
def noise_for(epsilon: float, delta: float, sampling_rate: float, steps: int) -> float:
    """The least noise multiplier, to three digits, with which so many steps stay within epsilon by the PRV accountant.

    Args:
        epsilon: the target, above 0.
        delta: above 0 and below 1.
        sampling_rate: above 0 and at most 1.
        steps: at least 1.

    Raises:
        ValueError: no noise up to a million reaches it.
    """

    def fits(noise: float) -> bool:
        return epsilon_of([Spent(noise, sampling_rate, steps)], delta) <= epsilon

    if not epsilon > 0:
        raise ValueError(f"epsilon is above 0, not {epsilon}")
    high = _bound(epsilon, delta, sampling_rate, steps)
    while not fits(high):
        high *= 2
        if high > _LARGEST_NOISE:
            raise ValueError(f"no noise makes {steps} steps ({epsilon}, {delta})-private: PRV errs by {PRV_ERROR}")
    low = high / 2
    while fits(low):
        low, high = low / 2, low
        if high <= _LEAST_NOISE:
            return high
    while high / low > 1 + TOLERANCE / 10:
        middle = (low * high) ** 0.5
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def _bound(epsilon: float, delta: float, sampling_rate: float, steps: int) -> float:
    """Where to begin: about the noise that the RDP accountant asks for, which is cheap to compute."""
    low, high = _LEAST_NOISE, _LARGEST_NOISE
    while high / low > 1.1:
        middle = (low * high) ** 0.5
        fits = epsilon_of([Spent(middle, sampling_rate, steps)], delta, "rdp") <= epsilon
        low, high = (low, middle) if fits else (middle, high)
    return high


@lru_cache(maxsize=65536)
def _epsilon(history: tuple[tuple[float, float, int], ...], delta: float, accountant: str) -> float:
    with _quiet():
        made = _accountant(accountant)
        made.history = list(history)
        options = {"eps_error": PRV_ERROR} if accountant == "prv" else {}
        try:
            found = float(made.get_epsilon(delta=delta, **options))
        except (ValueError, RuntimeError, OverflowError, MemoryError, FloatingPointError):
            return inf  # noise so small that the numbers leave fp64
    return found if isfinite(found) and found >= 0 else inf


def _accountant(name: str) -> Any:
    from opacus.accountants import PRVAccountant, RDPAccountant

    return {"prv": PRVAccountant, "rdp": RDPAccountant}[name]()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without opacus' advice on the choice of RDP orders, and numpy's on what leaves fp64."""
    import numpy as np

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield
