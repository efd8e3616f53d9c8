"""Promises of accuracy: kept with a factor of 4 in hand, so that no processor's kernels break them."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

IN_HAND = 4
FILE = "FEDSEC_BOUNDS"
"""The environment variable that names the file to which every error is appended, for `make numerics` to read."""


def within(bound: str, error: Any, promised: float) -> None:
    """Assert that an error is at most a quarter of what is promised, and note it.

    Args:
        bound: whose error it is, in words that are this promise's own.
        error: measured, a number from 0 up.
        promised: the largest error that anybody may see on any processor.
    """
    error = float(error)
    if file := os.environ.get(FILE):
        with Path(file).open("a") as stream:
            stream.write(json.dumps([bound, promised, error]) + "\n")
    assert error <= promised / IN_HAND, f"{bound}: {error:.3g} of {promised:g} leaves less than a factor of {IN_HAND}"


def off(found: Any, expected: Any) -> float:
    """The largest error of an entry, relative to that entry; an expected 0 has to be met exactly."""
    found, expected = (np.asarray(values, dtype=np.float64) for values in (found, expected))
    assert found.shape == expected.shape
    error, size = np.abs(found - expected), np.abs(expected)
    ratio = np.divide(error, size, out=np.where(error == 0, 0.0, np.inf), where=size > 0)
    return float(ratio.max(initial=0.0))


def off_largest(found: Any, expected: Any) -> float:
    """The largest error of an entry, relative to the largest entry."""
    found, expected = (np.asarray(values, dtype=np.float64) for values in (found, expected))
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max(initial=0.0) / max(np.abs(expected).max(initial=0.0), 1e-300))
