"""The drop against the same defense's control, and the scale on which it is harm."""

from typing import Any

import numpy as np
import pytest

from fedsec.api import Compared
from fedsec.comparison.harm import harm_of
from fedsec.goals.untargeted import compare


def _cell(correct: str, *, acts: bool = False, constant: float = 0.5, low: float = 0.85) -> dict[str, Any]:
    value = correct.count("1") / len(correct)
    accuracy = {"value": value, "ci_low": min(low, value), "ci_high": 1.0, "baseline": constant, "n": len(correct)}
    return {"correct": correct, "cell": {"metrics": {"utility/accuracy": accuracy}, "acts": acts}}


def _harm(attacked: str, control: str, plain: str, **settings: Any) -> dict[str, Any]:
    pair = Compared(cell=_cell(attacked), control=_cell(control), plain=_cell(plain, **settings))
    metrics = {name: value.as_json() for name, value in compare([pair]).items()}
    found = harm_of({"status": "ok", "goal": "untargeted", "acts": True, "metrics": metrics, "attack": "x"})
    assert found is not None
    return found


GOOD, HALF, SOME = "1" * 90 + "0" * 10, "1" * 50 + "0" * 50, "1" * 70 + "0" * 30


@pytest.mark.parametrize(
    ("attacked", "control", "plain", "harm"),
    [
        (GOOD, GOOD, GOOD, 0.0),
        (HALF, GOOD, GOOD, 1.0),
        (SOME, GOOD, GOOD, 0.5),
        (HALF, HALF, GOOD, 1.0),  # the defense ruins the model by itself: it is not called safe
        (SOME, SOME, GOOD, 0.5),
        (GOOD, SOME, GOOD, 0.0),  # an attack that undoes what a defense costs does no harm
    ],
)
def test_harm_is_taken_from_the_undefended_control(attacked: str, control: str, plain: str, harm: float) -> None:
    assert _harm(attacked, control, plain)["value"] == pytest.approx(harm)


def test_harms_interval_is_that_of_the_difference_it_is_made_of() -> None:
    """What a defense costs by itself differs by test row too: an attack that changes nothing proves no harm exactly."""
    plain, ruined = "1" * 90 + "0" * 10, "0" * 30 + "1" * 70
    found = _harm(ruined, ruined, plain)
    rows = np.array([int(a) - int(b) for a, b in zip(plain, ruined, strict=True)])
    middle, half = rows.mean() / 0.4, 1.96 * rows.std(ddof=1) / 10 / 0.4
    assert found["value"] == pytest.approx(middle)
    assert found["ci_low"] == pytest.approx(middle - half, abs=0.02)
    assert found["ci_high"] == pytest.approx(middle + half, abs=0.02)
    pair = Compared(cell=_cell(ruined), control=_cell(ruined), plain=_cell(plain))
    drop = compare([pair])["robustness/utility-drop"]
    assert drop.value == 0.0
    assert drop.ci_high is not None
    assert drop.ci_high < 0.05


def test_the_value_is_the_drop_from_the_same_defenses_control() -> None:
    pair = Compared(cell=_cell(HALF), control=_cell(SOME), plain=_cell(GOOD))
    value = compare([pair])["robustness/utility-drop"]
    assert value.value == pytest.approx(0.2)
    assert (value.n, value.method) == (100, "normal-rows")


def test_harm_is_undefined_where_the_control_learnt_nothing() -> None:
    for plain, settings in ((HALF, {}), (SOME, {"low": 0.4}), (SOME, {"constant": 0.68})):
        found = _harm(HALF, GOOD, plain, **settings)
        assert found["value"] is None
        assert "nothing to gain" in found["reason"]


def test_without_controls_there_is_no_drop_and_no_harm() -> None:
    assert compare([Compared(cell=_cell(HALF), control=None, plain=None)]) == {}
    assert compare([Compared(cell=_cell(HALF), control=_cell("1"), plain=None)]) == {}, "rows of another test set"
    value = compare([Compared(cell=_cell(HALF), control=_cell(GOOD), plain=None)])["robustness/utility-drop"]
    assert (value.chance, value.best) == (None, None)
    row = {"status": "ok", "goal": "untargeted", "acts": True, "metrics": {}, "attack": "x"}
    assert harm_of(row) == {"value": None, "reason": "its control has no result"}


def test_seeds_are_averaged() -> None:
    pairs = [Compared(cell=_cell(attacked), control=_cell(GOOD), plain=_cell(GOOD)) for attacked in (HALF, SOME, GOOD)]
    value = compare(pairs)["robustness/utility-drop"]
    assert value.value == pytest.approx((0.4 + 0.2 + 0.0) / 3)
    assert value.method == "t-seeds"
    assert value.best == pytest.approx(0.4)
