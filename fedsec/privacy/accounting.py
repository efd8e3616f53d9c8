"""Epsilon of a history of Gaussian mechanisms on sampled batches, by the accountants of opacus.

`prv` (numerical composition of privacy loss variables; Gopi et al., NeurIPS 2021) is what a guarantee states, an upper
bound within `PRV_ERROR` of the truth; `rdp` (Mironov et al., 2019) stands beside it, looser and of other code.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from math import exp, inf, isfinite, log
from typing import Any, NamedTuple

PRV_ERROR = 0.01
"""Error of epsilon in the PRV accountant; above 10 it is a thousandth of epsilon, since grids grow with it."""
LARGEST = 1000.0
"""The largest epsilon that is computed: a larger one is no guarantee, and PRV would take gigabytes."""
TOLERANCE = 0.005
"""The most by which calibrated noise exceeds the least noise, as a fraction; its epsilon never exceeds the target."""
_LARGEST_NOISE = 1e6
_LEAST_EPSILON, _LARGEST_EPSILON = 1e-9, 1e9
_LEAST_NOISE = 1e-2
"""Below this noise multiplier, the epsilon of a step is in the thousands, which is no guarantee."""


class Spent(NamedTuple):
    """The same mechanism, run several times."""

    noise_multiplier: float
    """Standard deviation of the noise divided by the sum's sensitivity."""
    sampling_rate: float
    """Probability that a record takes part, independently of others."""
    steps: int


def epsilon_of(history: Sequence[Spent], delta: float, accountant: str = "prv") -> float:
    """Return the epsilon at which a history is (epsilon, delta)-differentially private; infinite where none is known.

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
    """Return the noise multiplier with which `steps` steps stay close to epsilon, and within it, by the PRV accountant.

    Args:
        epsilon: the target, above 0.
        delta: above 0 and below 1.
        sampling_rate: above 0 and at most 1.
        steps: at least 1.

    Raises:
        ValueError: epsilon is below what the accountant can tell from 0, or no noise up to a million reaches it.
    """
    if not epsilon > 1.5 * PRV_ERROR:
        raise ValueError(f"epsilon is above {1.5 * PRV_ERROR}, what the accountant can tell from 0, not {epsilon}")

    def excess(logarithm: float) -> float:
        found = epsilon_of([Spent(exp(logarithm), sampling_rate, steps)], delta)
        return log(min(max(found, _LEAST_EPSILON), _LARGEST_EPSILON) / epsilon)

    high = log(_bound(epsilon, delta, sampling_rate, steps))  # PRV asks for no more, but for its error
    while excess(high) > 0:
        high += log(2)
        if high > log(_LARGEST_NOISE):
            raise ValueError(f"no noise up to {_LARGEST_NOISE:g} makes {steps} steps ({epsilon}, {delta})-private")
    low = high - 0.15
    while excess(low) <= 0:
        low -= 0.15
        if low < log(_LEAST_NOISE):
            return exp(high)
    from scipy.optimize import brentq

    found = float(brentq(excess, low, high, xtol=TOLERANCE / 2, rtol=1e-15))
    while excess(found) > 0:  # a root is met from both sides
        found += TOLERANCE / 2
    return exp(found)


def _bound(epsilon: float, delta: float, sampling_rate: float, steps: int) -> float:
    """Return a starting point: about the noise of the RDP accountant, which is cheap to compute."""
    low, high = _LEAST_NOISE, _LARGEST_NOISE
    while high / low > 1.02:
        middle = (low * high) ** 0.5
        fits = epsilon_of([Spent(middle, sampling_rate, steps)], delta, "rdp") <= epsilon
        low, high = (low, middle) if fits else (middle, high)
    return high


@lru_cache(maxsize=65536)
def _epsilon(history: tuple[tuple[float, float, int], ...], delta: float, accountant: str) -> float:
    options = {}
    if accountant == "prv":
        near = _epsilon(history, delta, "rdp")
        if near > LARGEST:
            return inf
        options = {"eps_error": max(PRV_ERROR, 1e-3 * near)}
    with _quiet():
        made = _accountant(accountant)
        made.history = list(history)
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
    """Silence opacus' advice on the choice of RDP orders, and numpy's warnings about overflows."""
    import numpy as np

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield
