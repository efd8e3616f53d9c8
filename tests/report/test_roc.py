"""ROC figures: steps on logarithmic axes, the band of the worst attack, and what plug-ins may have written."""

import re
from typing import Any

import numpy as np
import pytest

from fedsec.metrics.stats.intervals import clopper_pearson
from fedsec.report.chart import LEFT, RIGHT, WIDTH, Chart, linear, logarithmic, plain
from fedsec.report.html import render
from fedsec.report.roc import _band, _curve, rocs

from .support import HOSTILE, Content, Page, membership, scored, trained

ROC: dict[str, Any] = {
    "members": 100,
    "others": 100,
    "points": [[0, 20], [1, 40], [10, 70], [50, 100]],
    "blind": [[1, 1], [50, 50], [100, 100]],
    "marks": [[0.01, 1, 40], [0.05, 1, 40]],
}


def tells(attack: str = "loss", auc: float = 0.8, **fields: Any) -> Content:
    notes = {"roc": fields.pop("roc", ROC)}
    same: dict[str, Any] = {"position": "server", "goal": "membership", "metrics": membership(auc)}
    return {**trained(attack=attack, **same, **fields), "notes": notes}


def drawn(*contents: Content) -> Any:
    _, scorecard, own = scored([trained(), trained(defense="dp-sgd"), *contents])
    return rocs(scorecard["summary"], own)


def test_a_figure_per_defense_a_line_per_attack_and_a_band_for_the_worst() -> None:
    found = drawn(tells(), tells("reference", 0.95), tells(defense="dp-sgd"))
    assert [(panel.title, panel.subtitle) for panel in found.panels] == [("no defense", ""), ("dp-sgd", "")]
    assert [line["name"] for line in found.legend] == ["loss", "reference"]
    svg = found.panels[0].svg
    assert svg.count('class="band c1"') == svg.count('class="band') == 1
    assert 'class="line c0 thin"' in svg
    assert [svg.count(f'class="{look}"') for look in ("diagonal", "guess")] == [1, 1]
    ticks = re.findall(r'class="(?:middle|end)"[^>]*>([\d.]+ %)<', svg)
    assert ticks == ["1 %", "10 %", "100 %"] * 2, "both axes start at one candidate"
    assert "Members found at few false alarms" in Page(render(*scored([trained(), tells()]))).text
    assert drawn() is None


def test_the_band_is_clopper_pearsons_at_each_threshold() -> None:
    curve = _curve(tells())
    assert curve is not None
    low, high = _band([curve], np.array([0.005, 0.02, 1.0]))
    for place, hits in enumerate((20, 40, 100)):
        interval = clopper_pearson(hits, 100)
        assert (low[place], high[place]) == pytest.approx((interval.low, interval.high))


def test_seeds_are_averaged_and_their_bands_joined() -> None:
    better = {**ROC, "points": [[0, 60], [50, 100]], "marks": [[0.01, 0, 60]]}
    one, two = drawn(tells()).panels[0].svg, drawn(tells(), tells(seed=1, roc=better)).panels[0].svg
    assert one != two
    assert two.count('class="line') == 1


@pytest.mark.parametrize(
    "roc",
    [
        None,
        [],
        {"members": 0, "others": 5, "points": [[0, 0]]},
        {"members": "x", "others": 5, "points": [[0, 0]]},
        {**ROC, "points": "<script>"},
        {**ROC, "points": [[0, 101], [-1, 5], [0.5, 1], [True, 1], [1], None]},
        {**ROC, "members": 10**30},
    ],
)
def test_what_is_no_curve_is_passed_over(roc: Any) -> None:
    assert drawn(tells(roc=roc)) is None


def test_odd_marks_and_blind_curves_are_left_out() -> None:
    found = drawn(tells(roc={**ROC, "marks": [None, [1], ["<b>", 1, 2], [0.01, -1, 5]], "blind": 7}))
    assert found.panels[0].svg.count('class="guess"') == 0


@pytest.mark.parametrize("name", HOSTILE)
def test_names_stay_out_of_the_figure(name: str) -> None:
    found = drawn(tells(f"x{name}", defense=f"y{name}"))
    assert all(name not in panel.svg for panel in found.panels if name and len(name) < 1000)


def test_a_logarithmic_scale_clips_what_it_cannot_show() -> None:
    chart = Chart(logarithmic(0.01, 1.0, plain), linear(0.0, 1.0, plain), ("", ""))
    places = [chart.at(value, 0.0)[0] for value in (0.0, 0.01, 0.1, 1.0, 2.0)]
    left, right = LEFT, WIDTH - RIGHT
    assert places == pytest.approx([left, left, (left + right) / 2, right, right])
