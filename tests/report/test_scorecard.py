"""The scorecard: drops paired with controls, means over seeds, the Pareto front, and what is reproducible in it."""

import copy
import json
from typing import Any

import pytest
from scipy.stats import ttest_1samp

from fedsec.report.scorecard import build, settings_label, without_timings

from .support import Content, accuracy, fraction, leakage, not_run, plausible, trained

ACCURACY, DROP, EXACT = "utility/accuracy", "robustness/utility-drop", "leakage/exact-match"


def summary(*contents: Content) -> dict[tuple[str, str], dict[str, Any]]:
    """The summary's rows by attack and defense."""
    rows = build("tests/report", "0" * 16, contents)["summary"]
    return {(row["attack"], row["defense"]): row for row in rows}


def flip(correct: str, **fields: Any) -> Content:
    """A cell under an attack that ruins."""
    return trained(correct, attack="sign-flip", position="client", **fields)


def read(exact: float, **fields: Any) -> Content:
    """A cell under an attack that reads."""
    return trained(attack="dager", metrics=leakage(exact, exact), **fields)


def test_a_drop_is_paired_row_by_row() -> None:
    cells = build("tests/report", "0" * 16, [trained("1111000011"), flip("1100000111")])["cells"]
    drop = cells[1]["metrics"][DROP]
    assert DROP not in cells[0]["metrics"]
    assert drop["value"] == pytest.approx((2 - 1) / 10)
    assert drop["n"] == 10
    assert drop["better_for"] == "attacker"
    # Paired: the spread is that of the differences 0 0 1 1 0 0 0 -1 0 0, not that of two independent rates.
    assert drop["ci_high"] - drop["ci_low"] == pytest.approx(2 * 1.959964 * 0.567646 / 10**0.5, rel=1e-4)


@pytest.mark.parametrize("unlike", [{"seed": 1}, {"defense": "krum"}, {"settings": {"federation.rounds": 9}}])
def test_a_control_of_another_seed_defense_or_setting_is_no_control(unlike: dict[str, Any]) -> None:
    cells = build("tests/report", "0" * 16, [trained("1111", **unlike), flip("0000")])["cells"]
    assert DROP not in cells[1]["metrics"]


def test_a_control_that_did_not_run_is_no_control() -> None:
    rows = summary(not_run("error", "boom"), flip("0000"), not_run("n/a", "no", attack="sign-flip", defense="krum"))
    assert DROP not in rows["sign-flip", "none"]["metrics"]
    assert rows["sign-flip", "krum"]["metrics"] == {}


def test_over_seeds_the_seeds_are_what_varies() -> None:
    halves = ["1" * 20 + "0" * 20, "1" * 21 + "0" * 19]
    contents = [trained("1" * 40, seed=s) for s in (0, 1)] + [flip(half, seed=s) for s, half in enumerate(halves)]
    drop = summary(*contents)["sign-flip", "none"]["metrics"][DROP]
    assert drop["method"] == "t-seeds"
    assert drop["value"] == pytest.approx(0.4875)
    assert drop["n"] == 80
    # Student's t with one degree of freedom: 12.706 standard errors of 0.0125 each.
    assert drop["ci_high"] - 0.4875 == pytest.approx(12.7062 * 0.0125, rel=1e-4)


def test_a_seed_without_its_control_stays_out_of_the_drop() -> None:
    rows = summary(trained("1111", seed=0), flip("1100", seed=0), flip("0000", seed=1))
    row = rows["sign-flip", "none"]
    assert row["seeds"] == 2
    assert row["metrics"][DROP]["value"] == pytest.approx(0.5)
    assert row["metrics"][DROP]["n"] == 4


def test_over_seeds_a_mean_has_students_interval_and_all_samples() -> None:
    rights = (160, 100, 140)
    contents = [trained("1" * right + "0" * (200 - right), seed=seed) for seed, right in enumerate(rights)]
    mean = summary(*contents)["none", "none"]["metrics"][ACCURACY]
    expected = ttest_1samp([right / 200 for right in rights], 0).confidence_interval(0.95)
    assert mean["value"] == pytest.approx(2 / 3)
    assert mean["n"] == 600
    assert mean["method"] == "t-seeds"
    assert mean["ci_low"] == pytest.approx(expected.low)
    assert mean["ci_high"] == 1.0 < expected.high
    # The span of the seeds' own intervals would have been narrower, and it says nothing about other seeds.
    assert mean["ci_low"] < fraction(0.5, 200)["ci_low"]


@pytest.mark.parametrize("right", [0, 10, 37, 40])
def test_seeds_that_agree_are_no_surer_than_each_of_them(right: int) -> None:
    contents = [trained("1" * right + "0" * (40 - right), seed=seed) for seed in range(3)]
    mean = summary(*contents)["none", "none"]["metrics"][ACCURACY]
    own = fraction(right / 40, 40)
    assert (mean["ci_low"], mean["ci_high"]) == pytest.approx((own["ci_low"], own["ci_high"]))
    assert mean["n"] == 120


def test_a_mean_that_is_no_fraction_is_not_cut_to_one() -> None:
    def bits(value: float, seed: int) -> Content:
        metric = {**fraction(0.5, 4), "value": value, "unit": "bits", "ci_low": value - 1, "ci_high": value + 1}
        return trained(attack="dager", seed=seed, metrics={**leakage(0.5, 0.5), "extraction/exposure-bits": metric})

    mean = summary(bits(7.0, 0), bits(7.1, 1))["dager", "none"]["metrics"]["extraction/exposure-bits"]
    assert (mean["ci_low"], mean["ci_high"]) == pytest.approx((6.05, 8.05))


def test_samples_that_were_left_out_add_up() -> None:
    def own(seed: int, left_out: int) -> Content:
        metric = fraction(0.5, 10)
        metrics = {"leakage/pii-recall": {**metric, "left_out": left_out} if left_out else metric}
        return trained(attack="dager", seed=seed, metrics={**leakage(0.5, 0.5), **metrics})

    def mean(*cells: Content) -> dict[str, Any]:
        metric: dict[str, Any] = summary(*cells)["dager", "none"]["metrics"]["leakage/pii-recall"]
        return metric

    assert mean(own(0, 2), own(1, 0), own(2, 3))["left_out"] == 5
    assert "left_out" not in mean(own(0, 0), own(1, 0))
    assert mean(own(0, 2))["left_out"] == 2


def test_one_seed_keeps_its_own_interval() -> None:
    assert summary(trained("1100"))["none", "none"]["metrics"][ACCURACY] == accuracy(0.5, 4)


def test_costs_have_no_interval_in_a_mean_either() -> None:
    value = summary(trained(seed=0), trained(seed=1))["none", "none"]["metrics"]["cost/upload-bytes"]
    assert (value["ci_low"], value["ci_high"], value["method"]) == (None, None, "none")


def test_a_mean_has_a_baseline_only_if_every_seed_has_one() -> None:
    def own(seed: int, baseline: float | None) -> Content:
        metrics = {EXACT: fraction(0.5, 10, baseline=baseline)}
        return trained(attack="dager", seed=seed, metrics=metrics)

    both = summary(own(0, 0.1), own(1, 0.3))["dager", "none"]["metrics"][EXACT]
    assert both["baseline"] == pytest.approx(0.2)
    for seeds in ([own(0, 0.1), own(1, None)], [own(0, None), own(1, 0.1)]):
        assert "baseline" not in summary(*seeds)["dager", "none"]["metrics"][EXACT]


def test_an_error_shows_before_a_result_and_a_result_before_a_block() -> None:
    rows = summary(
        read(0.5, seed=0),
        not_run("error", "boom", attack="dager", seed=1),
        read(0.0, defense="krum", seed=0, status="blocked", reason="hidden"),
        read(0.2, defense="krum", seed=1),
    )
    assert (rows["dager", "none"]["status"], rows["dager", "none"]["reason"]) == ("error", "boom")
    assert (rows["dager", "krum"]["status"], rows["dager", "krum"]["reason"]) == ("ok", None)


@pytest.mark.parametrize("backwards", [False, True])
def test_the_reason_belongs_to_the_status(backwards: bool) -> None:
    cells = [
        read(0.0, seed=0, status="blocked", reason="hidden"),
        not_run("n/a", "too few", attack="dager", seed=1),
        not_run("error", "boom", attack="dager", seed=2),
    ]

    def shown(*some: Content) -> tuple[str, str]:
        row = summary(*(some[::-1] if backwards else some))["dager", "none"]
        return row["status"], row["reason"]

    assert shown(*cells) == ("error", "boom")
    assert shown(*cells[:2]) == ("blocked", "hidden")
    assert shown(*cells[1:2]) == ("n/a", "too few")


def test_seeds_are_those_with_a_result_and_failed_ones_are_told_apart() -> None:
    rows = summary(
        read(0.5, seed=0),
        read(0.7, seed=1),
        not_run("error", "boom", attack="dager", seed=2),
        *(read(0.0, defense="krum", seed=seed, status="blocked", reason="hidden") for seed in range(2)),
        *(not_run("n/a", "no", attack="dager", defense="bulyan", seed=seed) for seed in range(2)),
    )
    assert (rows["dager", "none"]["seeds"], rows["dager", "none"]["failed"]) == (2, 1)
    assert rows["dager", "none"]["metrics"][EXACT]["value"] == pytest.approx(0.6)
    assert rows["dager", "krum"]["seeds"] == 2
    assert "failed" not in rows["dager", "krum"]
    assert rows["dager", "bulyan"]["seeds"] == 0


def test_what_does_not_apply_is_never_averaged() -> None:
    """A cell may have trained before it turned out that its attack has nothing to look at."""
    rows = summary(trained("1111"), trained("0000", attack="dager", status="n/a", reason="sends no embeddings"))
    assert (rows["dager", "none"]["seeds"], rows["dager", "none"]["metrics"]) == (0, {})
    beside = summary(read(0.5, seed=0), trained("0000", attack="dager", status="n/a", reason="no", seed=1))
    assert beside["dager", "none"]["metrics"][ACCURACY]["value"] == 0.75


def test_one_adapted_seed_is_enough_for_the_mark() -> None:
    rows = summary(read(0.5, defense="krum", seed=0), read(0.5, defense="krum", seed=1, adaptive=True))
    assert rows["dager", "krum"]["adaptive"] is True


def test_settings_are_rows_of_their_own() -> None:
    contents = [trained(settings={"federation.batch_size": size}) for size in (1, 8)]
    rows = build("tests/report", "0" * 16, contents)["summary"]
    assert [row["settings"] for row in rows] == [{"federation.batch_size": 1}, {"federation.batch_size": 8}]
    assert (
        settings_label({"federation.batch_size": 8, "threat.attack_rounds": "last"})
        == "batch_size=8, attack_rounds=last"
    )


def defended(name: str, accuracy: str, exact: float, **fields: Any) -> list[Content]:
    """The control of a defense, and an attack on it."""
    return [trained(accuracy, defense=name), read(exact, defense=name, **fields)]


def test_pareto_needs_no_better_rival_in_both() -> None:
    rows = summary(
        *defended("none", "11111111", 1.0),
        *defended("cheap", "11111100", 0.5),
        *defended("worse", "11110000", 0.5),
        *defended("strong", "11100000", 0.0),
    )
    front = {defense: row["pareto"] for (attack, defense), row in rows.items() if attack != "none"}
    assert front == {"none": True, "cheap": True, "worse": False, "strong": True}
    assert not any(row["pareto"] for (attack, _), row in rows.items() if attack == "none")


def test_pareto_keeps_ties_and_counts_blocks() -> None:
    blocked = {"status": "blocked", "reason": "hidden"}
    rows = summary(*defended("a", "1110", 0.0, **blocked), *defended("b", "1110", 0.0), *defended("c", "1110", 0.1))
    assert rows["dager", "a"]["pareto"]
    assert rows["dager", "b"]["pareto"]
    assert not rows["dager", "c"]["pareto"]


@pytest.mark.parametrize("status", ["error", "n/a"])
def test_pareto_leaves_out_what_has_no_result(status: str) -> None:
    perfect = [trained("1111", defense="gone"), not_run(status, "no", attack="dager", defense="gone")]
    rows = summary(*perfect, *defended("none", "1100", 1.0))
    assert not rows["dager", "gone"]["pareto"]
    assert rows["dager", "none"]["pareto"]


def test_pareto_stays_within_an_attack_and_a_setting() -> None:
    other = [
        trained("1111", defense="krum", settings={"federation.rounds": 9}),
        read(0.0, defense="krum", settings={"federation.rounds": 9}),
    ]
    rows = summary(*defended("none", "1100", 1.0), *other)
    assert rows["dager", "none"]["pareto"]
    assert rows["dager", "krum"]["pareto"]


def test_pareto_of_an_attack_that_ruins_goes_by_the_drop() -> None:
    rows = summary(
        trained("11110000"), flip("00000000"), trained("11110000", defense="krum"), flip("11110000", defense="krum")
    )
    assert not rows["sign-flip", "none"]["pareto"]
    assert rows["sign-flip", "krum"]["pareto"]


def test_without_timings_takes_the_seconds_alone() -> None:
    scorecard = build("tests/report", "0" * 16, plausible())
    before = copy.deepcopy(scorecard)
    stripped = without_timings(scorecard)
    assert scorecard == before
    for kind in ("cells", "summary"):
        for row, full in zip(stripped[kind], scorecard[kind], strict=True):
            gone = set(full["metrics"]) - set(row["metrics"])
            assert gone <= {"cost/seconds-per-round", "cost/attack-seconds"}
            assert not any("second" in name for name in row["metrics"])
            assert {k: v for k, v in row.items() if k != "metrics"} == {k: v for k, v in full.items() if k != "metrics"}


def test_timings_are_all_that_differs_between_two_runs() -> None:
    slow = plausible()
    for content in slow:
        for name, metric in content["cell"]["metrics"].items():
            if name.endswith(("seconds", "seconds-per-round")):
                metric["value"] *= 2
    fast, other = (build("tests/report", "0" * 16, contents) for contents in (plausible(), slow))
    assert fast != other
    assert without_timings(fast) == without_timings(other)


def test_a_scorecard_is_json_and_leaves_the_cells_alone() -> None:
    contents = plausible()
    before = copy.deepcopy(contents)
    text = json.dumps(build("tests/report", "0" * 16, contents), allow_nan=False)
    assert contents == before
    assert json.loads(text)["schema"] == 1
    assert json.loads(json.dumps(build("tests/report", "0" * 16, []))) == {
        "schema": 1,
        "scenario": "tests/report",
        "key": "0" * 16,
        "cells": [],
        "summary": [],
        "worst_case": [],
        "head_to_head": [],
        "fronts": [],
    }
