"""Honest training that failed without an error: it is said everywhere, and nothing is compared with it."""

from typing import Any

import pytest

from fedsec.report.findings import findings
from fedsec.report.grid import grids
from fedsec.report.html import render
from fedsec.report.scorecard import build
from fedsec.report.trouble import no_better, short, training_findings
from fedsec.report.untrained import complaint, training_of, untrained

from .support import Content, membership, round_of, rows_of, scored, trained

INFINITE = "holds infinite values"
STUCK = [
    round_of(number, None, rejected=dict.fromkeys((0, 1, 2), INFINITE), skipped="no client sent a usable update")
    for number in (1, 2)
]
SOME = [round_of(1, [0.5, 0.5], rejected={1: INFINITE}), round_of(2)]


def _without_loss(content: Content) -> Content:
    """The same of a model whose loss is no finite number after the last round."""
    return {**content, "curve": [*content["curve"][:-1], [*content["curve"][-1][:2], None]]}


def test_what_came_to_nothing_is_counted_over_seeds() -> None:
    found = training_of([trained(rounds=SOME), trained(rounds=STUCK, seed=1)])
    assert (found["dropped"], found["updates"], found["skipped"], found["rounds"]) == (7, 12, 2, 4)
    assert complaint(found) == (
        "7 of 12 honest updates were dropped (the first: holds infinite values) and 2 of 4 rounds were skipped"
    )
    assert complaint(training_of([trained()])) == ""
    assert (found["start"], found["end"]) == (0.2, 0.75)


def test_messages_of_malicious_clients_are_not_honest_updates() -> None:
    found = training_of([trained(rounds=SOME, malicious=[1])])
    assert (found["dropped"], found["updates"]) == (0, 4)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (trained(), None),
        (trained(rounds=SOME), None),
        (trained(rounds=STUCK), "the model never moved: 6 of 6 honest updates were dropped"),
        (_without_loss(trained()), "the model diverged: its loss on the test set is no finite number"),
        (trained(rounds=[round_of(1, None, skipped="nobody came")]), "1 of 1 rounds were skipped (the first: nobody"),
        ({**trained(), "curve": [[0, 0.5, 0.7], [2, 0.5, 1400.0]]}, "diverged: from 0.7 to 1400 in loss and from 50"),
        ({**trained(), "curve": [[0, 0.5, 0.7], [2, 0.6, 0.9]]}, None),
        ({**trained(), "curve": [[0, 0.5, 0.7], [2, 0.4, 0.6]]}, None),
        ({"cell": {}}, None),
        (trained(rounds=[], curve=[]), None),
    ],
)
def test_a_training_that_taught_nothing_is_told_from_one_that_lost_something(content: Content, why: str | None) -> None:
    found = untrained(content)
    assert (found is None) == (why is None)
    assert why is None or why in str(found)


def _acting(**fields: Any) -> Content:
    return trained("1000", attack="sign-flip", position="client", **fields)


def test_nothing_is_compared_with_a_control_that_did_not_train() -> None:
    sound = rows_of(trained(), _acting())
    assert "robustness/utility-drop" in sound[1]["metrics"]
    for control in (trained(rounds=STUCK), _without_loss(trained())):
        card = build("a", "k", [control, _acting()])
        row = card["summary"][1]
        assert "robustness/utility-drop" not in row["metrics"]
        assert row["harm"]["value"] is None
        assert row["harm"]["reason"].startswith("the undefended control did not train")
        assert card["worst_case"] == []
        assert card["cells"][1]["harm"] == row["harm"]
        assert card["cells"][0]["untrained"] == card["summary"][0]["untrained"] == untrained(control)


def test_a_defense_is_compared_with_the_undefended_control_only_if_that_trained() -> None:
    rows = rows_of(trained(rounds=STUCK), trained(defense="krum"), _acting(), _acting(defense="krum"))
    assert rows[3]["harm"]["value"] is None
    assert rows[3]["harm"]["reason"].startswith("the undefended control did not train")
    assert not any(row["pareto"] for row in rows)


def test_a_defense_that_stops_training_by_itself_is_not_called_safe() -> None:
    right, wrong = "1111111110" * 20, "1000000000" * 20
    stuck = trained(wrong, defense="krum", rounds=STUCK)
    row = rows_of(trained(right), stuck, trained(wrong, attack="sign-flip", position="client", defense="krum"))[2]
    assert row["harm"]["value"] == pytest.approx(1)


def test_that_nothing_leaks_from_a_model_that_never_moved_is_no_result() -> None:
    own: dict[str, Any] = {"attack": "loss", "goal": "membership", "position": "server"}
    good = rows_of(trained(), trained(metrics=membership(0.6), **own))[1]
    stuck = rows_of(trained(rounds=STUCK), trained(metrics=membership(0.5), rounds=STUCK, **own))[1]
    assert good["harm"]["value"] is not None
    assert stuck["harm"]["value"] is None
    assert "never moved" in stuck["harm"]["reason"]


def test_an_attack_that_stops_training_did_harm() -> None:
    row = rows_of(
        trained("1111111110" * 20), trained("1000000000" * 20, attack="sign-flip", position="client", rounds=STUCK)
    )[1]
    assert row["harm"]["value"] > 0.5
    assert row["untrained"]


def test_it_is_said_before_every_result_and_in_the_table() -> None:
    stuck = [trained(rounds=STUCK, defense=defense) for defense in ("none", "median")]
    rows = rows_of(*stuck, trained(defense="krum", rounds=SOME), _acting(rounds=SOME, malicious=[2]))
    first, second = training_findings(rows)
    lead = "Without an attack (no defense, median), the model never moved: 6 of 6 honest updates were dropped"
    assert first.startswith(lead)
    assert "Nothing is compared with the undefended model." in first
    assert "lower federation.learning_rate" in first
    assert second.startswith("Without an attack (krum), 1 of 6 honest updates were dropped")
    assert "compared" not in second
    (third,) = training_findings(rows_of(trained(), _acting(rounds=SOME, malicious=[2])))
    assert third == (
        "Under attack, honest work was lost: sign-flip against no defense (1 of 4 honest updates were dropped "
        "(the first: holds infinite values))."
    )
    assert short(rows[0]) == ["6 of 6 honest updates dropped", "2 of 2 rounds skipped"]
    assert training_findings(rows_of(trained(), _acting())) == []
    squares = [line["squares"][0] for line in grids(rows)[0]["lines"]]
    assert squares[0]["look"] == "undefined"
    assert squares[2]["look"] == "control"
    assert "1 of 6 honest updates dropped" in squares[2]["lines"]


def test_the_report_says_it_in_an_alarm() -> None:
    page = render(*scored([trained(rounds=STUCK), _acting()]))
    assert '<p class="alarm"><strong>Training:</strong> Without an attack (no defense), the model never' in page
    assert "<strong>Training:</strong>" not in render(*scored([trained(), _acting()]))


def test_a_model_that_is_no_better_than_before_training_is_told_as_such() -> None:
    same, better = rows_of(trained(curve=[0.75, 0.75]))[0], rows_of(trained(curve=[0.5, 0.75]))[0]
    assert no_better(same) == "no better than before training"
    assert no_better(better) == no_better(rows_of(trained(curve=[]))[0]) == no_better({}) == ""
    assert "no better than before training" in findings([same])[0]
