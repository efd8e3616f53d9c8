"""An audit refutes DP-SGD that is broken, and leaves the right one alone; `audits.py` counts in how many of 20 runs."""

from pathlib import Path

import pytest

from .audits import audit, cell, texts
from .broken_privacy import RIGHT, VARIANTS, broken


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_broken_privacy_is_refuted_and_privacy_that_is_kept_is_not(variant: str, tmp_path: Path) -> None:
    with broken():
        shown = audit(cell(variant, 0, texts(tmp_path, 8), clients=8, canaries=4000))
    assert 0.95 < shown.promised <= 1.0
    assert shown.refuted == (variant != RIGHT)
    assert shown.refuted == (shown.bound > shown.promised)
    assert shown.bound <= shown.ceiling
