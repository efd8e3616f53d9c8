"""Harm by the goals' cards, and how rows of every goal are shown: in the table, in words and in the cells' details."""

from pathlib import Path
from typing import Any

import pytest

from fedsec.comparison.harm import drawn, harm_of
from fedsec.errors import FedsecError
from fedsec.report.findings import findings
from fedsec.report.frames import as_html, as_text, frame
from fedsec.report.grid import grids
from fedsec.report.html import render
from fedsec.report.scorecard import build
from fedsec.report.worst import shade

from .support import (
    Content,
    Page,
    fraction,
    free_ride,
    head,
    leakage,
    membership,
    not_run,
    nothing,
    planted,
    round_of,
    rows_of,
    scored,
    trained,
)

LIFT, DROP = "robustness/asr-lift", "robustness/utility-drop"


def reads(**metrics: Any) -> dict[str, Any]:
    return head(attack="dager", metrics=metrics)


def tells(auc: float = 0.99, **fields: Any) -> Content:
    return trained(attack="listener", goal="membership", **{"metrics": membership(auc), **fields})


def rides(weight: float | None = 0.2, **fields: Any) -> Content:
    return trained(attack="lazy", goal="free-ride", position="client", metrics=free_ride(weight), **fields)


HITS, BASE = [1] * 90 + [0] * 10, [1] * 5 + [0] * 95
GOOD = "1" * 80 + "0" * 20


def plants(hits: list[int] = HITS, base: list[int] = BASE, **fields: Any) -> Content:
    return planted(hits, base, fields.pop("correct", GOOD), attack="badnets", **fields)


def square(*contents: Content) -> dict[str, Any]:
    """The last attack's square of the first defense."""
    found: dict[str, Any] = grids(rows_of(*contents))[0]["lines"][0]["squares"][-1]
    return found


def shown(*contents: Content) -> str:
    one = square(*contents)
    return " | ".join([one["main"], *one["lines"]]).replace("\u00a0", " ")


def said(*contents: Content) -> str:
    return findings(rows_of(*contents))[-1].replace("\u00a0", " ")


def row_of(*contents: Content) -> dict[str, Any]:
    return rows_of(*contents)[-1]


# Harm


def test_harm_counts_words_where_no_text_is_exact_and_takes_off_the_guess() -> None:
    for exact, overlap, harm in ((0.0, 0.62, 0.6), (0.9, 0.05, 0.9), (0.0, 0.05, 0.0)):
        assert harm_of(reads(**leakage(exact, overlap)))["value"] == pytest.approx(harm)  # type: ignore[index]
    below = harm_of(reads(**leakage(0.0, 0.0)))
    assert below is not None
    assert below["metric"] == "leakage/exact-match"
    alone = reads(**{"leakage/rouge-l": leakage(0.0, 0.0)["leakage/rouge-l"]})
    worse = harm_of(alone)
    assert worse is not None
    assert worse["value"] == pytest.approx(-0.05 / 0.95), "worse off than the guess, and not clipped"
    assert drawn(worse) == 0.0
    assert shade(worse) == "harm0"


def test_an_auc_near_one_is_nearly_all_harm() -> None:
    harm = row_of(trained(), tells(0.99))["harm"]
    assert harm["value"] == pytest.approx(0.98)
    assert harm["metric"] == "membership/auc"
    assert harm["ci_low"] < 0.98 < harm["ci_high"]
    assert square(trained(), tells(0.99))["look"] == "harm4"
    assert row_of(trained(), tells(0.6, metrics=membership(0.6, blind=0.6)))["harm"]["value"] == pytest.approx(0.0)


@pytest.mark.parametrize("metrics", [{}, {"leakage/token-f1": fraction(0.9, 10)}])
def test_no_harm_is_assumed_where_no_headline_was_measured(metrics: dict[str, Any]) -> None:
    with pytest.raises(FedsecError, match=r"has none of leakage/exact-match, leakage/rouge-l"):
        harm_of(reads(**metrics))
    with pytest.raises(FedsecError, match="cannot be told"):
        build("a/b", "0" * 16, [trained(), trained(attack="dager", metrics=metrics)])


def test_a_goal_that_is_not_registered_has_no_harm_and_no_zero() -> None:
    harm = harm_of({**reads(**leakage(1.0, 1.0)), "goal": "world-peace"})
    assert harm is not None
    assert harm["value"] is None
    assert "'world-peace' is not registered here" in harm["reason"]
    page = Page(render(*scored([not_run("n/a", "no", attack="dager", goal="world-peace")])))
    assert "no" in page.text
    assert harm_of(head(attack="dager", status="error")) is None
    assert harm_of(head(metrics=leakage(1.0, 1.0))) is None


def test_the_harm_of_an_attack_that_acts_is_the_larger_of_its_goals_and_of_the_damage() -> None:
    control = trained("1" * 90 + "0" * 10)
    quiet, loud = row_of(control, rides(0.1, correct=GOOD)), row_of(control, rides(0.1, correct="1" * 20 + "0" * 80))
    assert (quiet["harm"]["metric"], quiet["harm"]["value"]) == ("robustness/free-ride-weight", pytest.approx(0.5))
    assert (loud["harm"]["metric"], loud["harm"]["value"]) == (DROP, pytest.approx(0.7 / 0.8))


def test_damage_is_held_against_the_undefended_model_that_nobody_attacks() -> None:
    ruined = [trained("1" * 80 + "0" * 20), trained("1" * 30 + "0" * 70, defense="krum")]
    attacked = trained("1" * 30 + "0" * 70, attack="flip", defense="krum", position="client")
    harm = row_of(*ruined, attacked)["harm"]
    assert harm["value"] == pytest.approx((0.8 - 0.3) / (0.8 - 0.1)), "Krum itself ruined it"


@pytest.mark.parametrize(
    ("control", "attacked"),
    [
        ("1" * 14 + "0" * 86, "0" * 100),  # four points above a constant answer: too little to lose
        ("1" * 4 + "0" * 16, "0" * 20),  # ten points above it, which so few rows do not bear out
    ],
)
def test_harm_is_undefined_where_the_control_learnt_nothing(control: str, attacked: str) -> None:
    contents = [trained(control), trained(attacked, attack="flip", position="client")]
    harm = row_of(*contents)["harm"]
    assert harm["value"] is None
    assert harm["reason"].startswith("there was nothing to gain: ")
    assert square(*contents)["look"] == "undefined"


def test_harm_that_a_goal_does_not_tell_is_not_the_damage_that_its_attack_does_beside() -> None:
    metrics = {"robustness/free-ride-weight": nothing()}
    control, rides = trained(GOOD), trained(GOOD, attack="rider", position="client", goal="free-ride", metrics=metrics)
    assert row_of(control, rides)["harm"]["value"] is None, "a rule without weights is not safe against free-riders"


def test_harm_is_undefined_without_a_control_or_a_value() -> None:
    assert row_of(trained(GOOD, attack="flip", position="client"))["harm"]["reason"] == "its control has no result"
    assert (
        "nothing could count" in row_of(tells(metrics={name: nothing() for name in membership(0.5)}))["harm"]["reason"]
    )


def test_what_is_undefined_is_never_ranked_or_on_the_front() -> None:
    empty = {"metrics": {name: nothing() for name in membership(0.5)}}
    cells = [trained(defense=f"d{i}") for i in range(7)]
    cells += [tells(0.6 + i / 20, defense=f"d{i}", **(empty if i in (0, 6) else {})) for i in range(7)]
    rows = rows_of(*cells)
    assert [row["pareto"] for row in rows if row["attack"] == "listener"] == [False, True, *[False] * 5]
    words = findings(rows)[-1]
    assert "Of 5 defenses, d1 fares better than d5, by intervals that separate; the table has the others." in words
    assert "Against d0 and 1 more, the harm is undefined: nothing could count for membership/auc." in words
    assert "Against d0, it" not in words
    few = findings(rows_of(*cells[:2], *cells[7:9]))[-1]
    assert "Against d0, listener has no value (AUC of membership); its harm is undefined: nothing could count" in few


# How rows are shown


def test_an_undefined_harm_has_its_own_look_reason_and_legend() -> None:
    flip = trained("1" * 5 + "0" * 95, attack="flip", position="client")
    contents = [trained("1" * 12 + "0" * 88), flip]
    reason = str(square(*contents)["undefined"])
    assert reason.startswith("there was nothing to gain: ")
    assert said(*contents).endswith(f"; its harm is undefined: {reason}.")
    source = render(*scored(contents))
    page = Page(source)
    assert f"harm undefined: {reason}" in page.text
    assert f"Harm undefined: {reason}" in page.text
    assert "the harm is undefined: there was nothing to gain, or nothing to hold the number against" in page.text
    assert '<td class="undefined">' in source
    for theme in (".undefined {", ".grid td.undefined", ".chip.undefined"):
        assert theme in source


def test_the_legend_says_what_harm_is_and_of_which_figures() -> None:
    text = Page(render(*scored([trained(GOOD), tells(), plants()]))).text
    assert "(value − chance) / (best − chance) of the goal's headline metric" in text  # noqa: RUF001
    assert "To tell whose records were trained on: AUC of membership." in text
    assert "To plant a backdoor: lift of the trigger." in text
    assert "texts read exactly" not in text


def test_membership_is_told_by_its_auc_and_low_false_alarms() -> None:
    contents = [trained(), tells(0.985)]
    assert said(*contents) == (
        "Undefended, listener tells members of 400 candidates apart with an AUC of 0.985 "
        "(95 % interval 0.968 to 0.993; the blind attack: 0.500); "
        "it finds 80 % of the members at 1 % false alarms (73.9 to 85 %; the blind attack: 1 %)."
    )
    assert shown(*contents) == (
        "0.985 | AUC, n = 400 candidates | interval 0.968 to 0.993; the blind attack 0.500"
        " | 80 % of members at 1 % false alarms | interval 73.9 to 85 %; the blind attack 1 %"
    )
    text = Page(render(*scored(contents))).text.replace("\u00a0", " ")
    assert "membership/auc 0.985 0.968 to 0.993; n 400 guess 0.500, chance 0.500, best 1.000" in text
    assert "realised-fpr 0.005, threshold -1.25, true-positives 160, members 200" in text
    assert "Harm 97 % by membership/auc" in text
    assert "No texts were kept" not in text


def test_a_backdoor_is_told_by_its_lift_and_then_by_what_it_left() -> None:
    contents = [trained(GOOD), plants(correct="1" * 77 + "0" * 23)]
    assert said(*contents) == (
        "Undefended, badnets sends 85 points more of 100 texts to its target than go there without the trigger "
        "(95 % interval 78 to 92); it brings out its target in 90 % of them (82.6 to 94.5 %); "
        "5 % of them go there without it (2.2 to 11.2 %); it leaves 77 % accuracy (always the largest "
        "class: 10 %), 3 points below the same training "
        "without it (95 % interval −0.4 to 6.4, so it may be chance)."  # noqa: RUF001
    )
    assert shown(*contents) == (
        "85 | points of lift, n = 100 | interval 78 to 92 | 90 % with the trigger | interval 82.6 to 94.5 %"
        " | 5 % without it | interval 2.2 to 11.2 % | 77 % accuracy left | interval 67.8 to 84.2 %; guess 10 %"
        " | lost: 3 points | interval −0.4 to 6.4"  # noqa: RUF001
    )
    one = square(*contents)
    assert [one["lines"][place].replace("\u00a0", " ") for place in one["heads"]] == [
        "90 % with the trigger",
        "5 % without it",
        "77 % accuracy left",
        "lost: 3 points",
    ]
    assert one["look"] == "harm4"


def test_a_free_rider_is_told_by_its_weight_even_where_there_is_none() -> None:
    control = trained(GOOD)
    assert said(control, rides(0.2, correct=GOOD)).startswith(
        "Undefended, lazy gets 20 % of the aggregation's weight without training (95 % interval 5.7 to 51 %); "
        "it leaves 80 % accuracy (always the largest class: 10 %), 0 points below the same training without it"
    )
    assert said(control, rides(0.0, correct=GOOD)).startswith("Undefended, lazy gets none of the aggregation's weight")
    assert shown(control, rides(0.2, correct=GOOD)).startswith("20 % | of the weight, n = 10 rounds | interval 5.7")
    unknown = rides(None, correct=GOOD)
    assert said(control, unknown).startswith("Undefended, lazy has no value (weight of free-riders); it leaves 80 %")
    assert shown(control, unknown).startswith("no value | weight of free-riders | 80 % accuracy left")
    assert "its harm is undefined: nothing could count" in said(control, unknown), "no damage is no harmless one"
    assert "robustness/free-ride-weight no value n 0" in Page(render(*scored([control, unknown]))).text


def test_a_goal_with_nothing_to_tell_in_one_setting_is_told_by_the_others() -> None:
    empty = {name: nothing() for name in membership(0.5)}
    contents = [
        trained(),
        tells(0.9, settings={"federation.batch_size": 1}),
        tells(metrics=empty, settings={"federation.batch_size": 8}),
    ]
    assert "that is the highest of 2 settings, batch_size=1. In 1 of 2 settings its harm is undefined" in said(
        *contents
    )


def test_blocked_attacks_show_what_their_prior_gets() -> None:
    blocked = {"status": "blocked", "reason": "the sum hides it"}
    assert shown(trained(), tells(metrics=membership(0.5), **blocked)) == (
        "blocked | the sum hides it | what is left is a guess: 0.500 AUC, n = 400 candidates, interval 0.451 to 0.549"
    )
    assert shown(trained(), trained(attack="dager", metrics=leakage(0.0, 0.1), **blocked)).endswith(
        "what is left is a guess: 0 % of 10 texts read exactly, interval 0 to 27.8 %"
    )
    assert shown(trained(), rides(**blocked)) == "blocked | the sum hides it", "it was asked nothing"


def test_metrics_without_a_value_are_shown_as_such_everywhere() -> None:
    empty = {"utility/accuracy": nothing(better_for="defender"), "cost/upload-bytes": nothing("bytes")}
    control, attacked = (
        trained(metrics=empty),
        tells(metrics={**empty, **{name: nothing() for name in membership(0.5)}}),
    )
    control["curve"] = attacked["curve"] = [[0, None, 1.0], [2, None, 1.0]]
    known = {"metric": "membership/auc", "attack": "listener", "defense": "none", "settings": {}, "source": "a table"}
    figures = [{**known, "expected": 0.9, "tolerance": 0.01, "bound": "about"}]
    record = {"expected": {"scenario": "a/b", "verified": True, "figures": figures}}
    text = Page(render(*scored([control, attacked], **record))).text
    assert "no value" in text
    assert "membership/auc no value n 0" in text
    assert "cost/upload-bytes no value n 0" in text
    assert "0.01 no value not measured" in text
    assert shown(control) == "no value"
    assert findings(rows_of(control)) == ["Without an attack, the undefended model has no value."]


def test_a_language_models_damage_is_told_in_its_own_words() -> None:
    def learnt(perplexity: float, right: float, **fields: Any) -> Content:
        worth = {**fraction(0.5, 20), "value": perplexity, "unit": "perplexity", "ci_low": perplexity - 1}
        content = trained(**fields)
        del content["cell"]["metrics"]["utility/accuracy"]
        content["cell"]["metrics"]["utility/perplexity"] = {**worth, "ci_high": perplexity + 1}
        content["cell"]["metrics"]["utility/next-token-accuracy"] = fraction(right, 20, "defender", 0.05)
        return {**content, "correct": "", "right": [right] * 10 + [right] * 10}

    contents = [learnt(12.0, 0.5), learnt(40.0, 0.3, attack="flip", position="client")]
    assert findings(rows_of(*contents))[0].replace("\u00a0", " ") == (
        "Without an attack, the undefended model reaches a perplexity of 12 (95 % interval 11 to 13)."
    )
    assert said(*contents).startswith(
        "Undefended, flip leaves a perplexity of 40 (95 % interval 39 to 41), 20 points of next-token accuracy below "
        "the same training without it"
    )
    assert shown(*contents).startswith(
        "40 | perplexity, n = 20 | interval 39 to 41 | lost: 20 points of next-token accuracy"
    )


def test_details_show_the_start_and_what_was_measured() -> None:
    rounds = [
        round_of(1, measurements={"dp-lora/clip-fraction": 1.0, "<b>/x": 3}),
        round_of(2, measurements={"dp-lora/clip-fraction": 0.5}),
        round_of(3, measurements={"dp-lora/clip-fraction": 0.25}),
    ]
    text = Page(render(*scored([trained(start={"rows": 200, "steps": 50}, rounds=rounds)]))).text
    assert "started from 200 public rows, 50 steps" in text
    mean = "mean over clients, seeds and"
    assert f"dp-lora/clip-fraction 0.5833 {mean} 3 rounds; first 1, last 0.25" in text
    assert f"<b>/x 3 {mean} 1 rounds; first 3, last 3" in text
    plain = Page(render(*scored([trained()]))).text
    assert mean not in plain
    assert "started from" not in plain


def test_tables_for_notebooks_hold_the_harm_and_say_what_has_no_value() -> None:
    empty = {name: nothing() for name in membership(0.5)}
    _, scorecard, _ = scored([trained(start={"rows": 200, "steps": 50}), tells(0.99), tells(metrics=empty, seed=1)])
    table = frame(scorecard["cells"])
    assert table["harm"].round(2).tolist()[1] == 0.98
    assert table["harm"].isna().tolist() == [True, False, True]
    assert table["harm.ci_low"][1] < 0.98 < table["harm.ci_high"][1]
    assert table["harm.undefined"].tolist()[2] == "nothing could count for membership/auc"
    assert table["start.rows"].tolist()[0] == 200
    assert all(table.map(lambda value: not isinstance(value, (dict, list))).all()), "flat"
    alone = scored([tells(metrics=empty)])[1]
    for shown_as in (as_text, as_html):
        text = shown_as(alone, Path("there"), 0, 0)
        assert "no value" in text
        assert "harm undefined: nothing could count for membership/auc" in text


def test_what_rests_on_few_samples_says_so_for_each_goal() -> None:
    text = Page(render(*scored([trained(GOOD), tells(), rides(correct=GOOD)]))).text
    assert "an attack that wants to get the model without having trained for it rests on as few as 10 rounds" in text
    assert text.count("rests on as few as") == 1
    assert "ask whether any client holds a record, not which client" in text, "a goal's own limits stand there as well"
