"""Known figures beside measured ones."""

from typing import Any

import pytest

from fedsec.report import scorecard
from fedsec.report.expected import compared
from fedsec.report.html import render

from .support import trained

HOSTILE = "<script>alert(1)</script> as published in a table of results"


def _figure(expected: float, bound: str = "at-least", **changes: Any) -> dict[str, Any]:
    return {
        "metric": "utility/accuracy",
        "attack": "none",
        "defense": "none",
        "settings": {},
        "expected": expected,
        "tolerance": 0.02,
        "bound": bound,
        "source": HOSTILE,
        **changes,
    }


def _verdict(figure: dict[str, Any]) -> str:
    rows = scorecard.build("name", "key", [trained("1" * 75 + "0" * 25)])["summary"]  # accuracy 0.75
    (entry,) = compared({"figures": [figure]}, rows)
    return str(entry["verdict"])


@pytest.mark.parametrize(
    ("expected", "bound", "verdict"),
    [
        (0.76, "at-least", "agrees"),
        (0.50, "at-least", "agrees"),
        (0.80, "at-least", "differs"),
        (0.74, "at-most", "agrees"),
        (0.90, "at-most", "agrees"),
        (0.70, "at-most", "differs"),
        (0.76, "about", "agrees"),
        (0.50, "about", "differs"),
        (0.80, "about", "differs"),
    ],
)
def test_verdicts(expected: float, bound: str, verdict: str) -> None:
    assert _verdict(_figure(expected, bound)) == verdict


def test_what_was_not_measured_is_said_to_be_so() -> None:
    assert _verdict(_figure(0.75, attack="lamp")) == "not measured"
    assert _verdict(_figure(0.75, metric="leakage/rouge-1")) == "not measured"
    assert _verdict(_figure(0.75, settings={"federation.batch_size": 8})) == "not measured"


@pytest.mark.parametrize("verified", [True, False])
def test_the_report_says_what_was_never_verified_and_escapes_sources(verified: bool) -> None:
    contents = [trained()]
    record = {"expected": {"scenario": "name", "verified": verified, "figures": [_figure(0.75)]}}
    page = render(record, scorecard.build("name", "key", contents), contents)
    assert ("Not verified" in page) == (not verified)
    assert page.count("<script>") == 1
    assert "as published in a table" in page


def test_a_scenario_without_figures_has_no_such_section() -> None:
    contents = [trained()]
    assert "Beside what is known" not in render({}, scorecard.build("name", "key", contents), contents)
