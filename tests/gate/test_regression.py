"""`assert_no_regression` says what `fedsec gate` says."""

import warnings
from pathlib import Path

import pytest

from fedsec.testing.regression import InconclusiveWarning, assert_no_regression

from .support import blessed, made, usual


def test_the_assertion_follows_the_verdict(tmp_path: Path) -> None:
    run = made(tmp_path / "trusted")
    baseline = blessed(run, tmp_path / "baseline.json")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_no_regression(run, baseline)
    worse = made(
        tmp_path / "worse", lambda attack, defense, seed: usual(attack, defense, seed) - 0.3 * (defense == "krum")
    )
    with pytest.raises(AssertionError, match=r"failed: utility/accuracy/sign-flip(.|\n)*fedsec baseline bless"):
        assert_no_regression(worse, baseline)
    with pytest.raises(AssertionError, match=r"incomparable(.|\n)*there is no"):
        assert_no_regression(run, tmp_path / "absent.json")
    assert not (tmp_path / "absent.json").exists()


def test_what_is_inconclusive_warns_or_fails(tmp_path: Path) -> None:
    gate = [{"metric": "utility/accuracy", "attack": "none", "defense": "none", "min": 0.5}]
    assert_no_regression(made(tmp_path / "sound", scenario={"gate": gate}), None)
    rough = made(tmp_path / "rough", lambda attack, defense, seed: 0.51 + 0.005 * seed, scenario={"gate": gate})
    with pytest.warns(InconclusiveWarning, match="inconclusive: utility/accuracy/none/none"):
        assert_no_regression(rough, None)
    with pytest.raises(AssertionError, match="inconclusive"):
        assert_no_regression(rough, None, strict=True)
