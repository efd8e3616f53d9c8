"""The worst case of each defense: which attack it is, how it stands beside the plain mean, and how it is shown."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsec.report.findings import MOST_DEFENSES, findings
from fedsec.report.grid import grids
from fedsec.report.html import render
from fedsec.report.scorecard import build
from fedsec.report.worst_findings import worst_findings

from .support import Content, Page, fraction, leakage, not_run, rows_of, scored, trained

ACCURACY, TAIL, DROP = "utility/accuracy", "utility/tail-accuracy", "robustness/utility-drop"
PRECISION, RECALL = "robustness/detection-precision", "robustness/detection-recall"


def bits(right: int, of: int = 100) -> str:
    return "1" * right + "0" * (of - right)


def attacked(attack: str, defense: str, right: int, **fields: Any) -> Content:
    return trained(bits(right), attack=attack, defense=defense, position="client", **fields)


def grid_of(table: dict[str, dict[str, int]], seed: int = 0) -> list[Content]:
    """Cells from right answers by defense and attack; `none` is the control."""
    cells = [trained(bits(row["none"]), defense=defense, seed=seed) for defense, row in table.items()]
    for defense, row in table.items():
        cells += [attacked(name, defense, right, seed=seed) for name, right in row.items() if name != "none"]
    return cells


USUAL = {
    "krum": {"none": 70, "flip": 69, "ipm": 68, "adaptive": 40},
    "none": {"none": 84, "flip": 50, "ipm": 60, "adaptive": 55},
    "bulyan": {"none": 80, "flip": 79, "ipm": 77, "adaptive": 78},
}


def worst(*contents: Content) -> dict[str, Any]:
    return {entry["defense"]: entry for entry in build("a/b", "0" * 16, contents)["worst_case"]}


def test_the_worst_attack_is_the_one_with_the_largest_drop() -> None:
    found = worst(*grid_of(USUAL))
    assert list(found) == ["none", "krum", "bulyan"]  # controls first, then as the cells come
    assert {name: entry["attack"] for name, entry in found.items()} == {
        "none": "flip",
        "krum": "adaptive",
        "bulyan": "ipm",
    }
    assert found["krum"]["metrics"][DROP]["value"] == pytest.approx(0.30)
    assert found["krum"]["metrics"][ACCURACY]["value"] == pytest.approx(0.40)
    assert {(entry["compared"], tuple(entry["unknown"])) for entry in found.values()} == {(3, ())}


def test_its_metrics_are_those_of_the_row() -> None:
    tail = {TAIL: fraction(0.42, 100, "defender")}
    cells = [trained(bits(90)), attacked("flip", "none", 45, metrics=tail), attacked("ipm", "none", 60)]
    (entry,) = build("a/b", "0" * 16, cells)["worst_case"]
    row = next(row for row in rows_of(*cells) if row["attack"] == "flip")
    assert entry["metrics"] == {name: row["metrics"][name] for name in (DROP, ACCURACY, TAIL)}
    assert "below_plain" not in entry


def test_below_the_plain_mean_is_paired_by_seed_and_row() -> None:
    generator = np.random.default_rng(0)
    cells, differences = [], []
    for seed in range(3):
        mean, rule = (generator.random(100) < rate for rate in (0.6, 0.5))
        texts = ["".join("1" if right else "0" for right in one) for one in (mean, rule)]
        cells += [trained(bits(90), seed=seed), trained(bits(90), defense="krum", seed=seed)]
        for attack in ("ipm", "flip"):  # the mean suffers most from one, krum from the other
            for defense, text in (("none", texts[0]), ("krum", texts[1])):
                hit = attack == ("ipm" if defense == "none" else "flip")
                correct = text if hit else bits(88)
                cells.append(trained(correct, attack=attack, defense=defense, seed=seed, position="client"))
        differences.append(float(mean.mean() - rule.mean()))
    found = worst(*cells)
    assert (found["none"]["attack"], found["krum"]["attack"]) == ("ipm", "flip")
    below = found["krum"]["below_plain"]
    assert below["value"] == pytest.approx(np.mean(differences))
    assert (below["n"], below["method"]) == (300, "t-seeds")


def test_an_attack_with_errors_is_open_and_one_that_cannot_apply_is_not() -> None:
    cells = grid_of({"none": {"none": 84, "flip": 50, "ipm": 60, "alie": 70, "zero": 80}})
    cells += [trained(bits(80), defense="krum"), attacked("flip", "krum", 70)]
    cells += [
        not_run("error", "boom", attack="ipm", defense="krum", position="client"),
        not_run("n/a", "no", attack="alie", defense="krum", position="client"),
    ]
    found = worst(*cells)["krum"]
    assert (found["attack"], found["compared"], found["unknown"]) == ("flip", 1, ["ipm", "zero"])
    said = worst_findings(build("a/b", "0" * 16, cells)["worst_case"])
    assert "May be worse, an attack having no result: krum (ipm, zero)." in said


def test_a_seed_in_error_keeps_the_attack_out() -> None:
    cells = [trained(bits(80), seed=seed) for seed in (0, 1)]
    cells += [attacked("flip", "none", 20, seed=0), not_run("error", "boom", attack="flip", seed=1)]
    cells += [attacked("ipm", "none", 60, seed=seed) for seed in (0, 1)]
    found = worst(*cells)["none"]
    assert (found["attack"], found["unknown"]) == ("ipm", ["flip"])


def test_readers_and_cells_without_a_control_have_no_worst_case() -> None:
    assert worst(trained(), trained(attack="dager", metrics=leakage(1.0, 1.0))) == {}
    assert worst(attacked("flip", "none", 10)) == {}


def test_settings_are_apart() -> None:
    cells = []
    for f, right in ((1, 60), (2, 30)):
        cells += [{**cell, "cell": {**cell["cell"], "settings": {"threat.malicious": f}}} for cell in grid_of(USUAL)]
        for cell in cells[-len(grid_of(USUAL)) :]:
            if cell["cell"]["attack"] == "adaptive" and cell["cell"]["defense"] == "krum":
                cell["correct"] = bits(right)
    entries = build("a/b", "0" * 16, cells)["worst_case"]
    assert [(e["settings"]["threat.malicious"], e["defense"]) for e in entries] == [
        (f, d) for f in (1, 2) for d in ("none", "krum", "bulyan")
    ]
    drops = [e["metrics"][DROP]["value"] for e in entries if e["defense"] == "krum"]
    assert drops == pytest.approx([0.1, 0.4])
    assert any("with malicious=2" in text for text in worst_findings(entries))


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 40), min_size=4, max_size=4), min_size=1, max_size=4))
def test_no_attack_costs_more_than_the_worst(table: list[list[int]]) -> None:
    cells = [trained(bits(row[0], 40), defense=f"d{i}") for i, row in enumerate(table)]
    for i, row in enumerate(table):
        for attack, right in zip("abc", row[1:], strict=True):
            cells.append(trained(bits(right, 40), defense=f"d{i}", attack=attack, position="client"))
    found = worst(*cells)
    for i, row in enumerate(table):
        assert found[f"d{i}"]["metrics"][DROP]["value"] == pytest.approx((row[0] - min(row[1:])) / 40)


# In words


def said(cells: list[Content]) -> str:
    return "\n".join(worst_findings(build("a/b", "0" * 16, cells)["worst_case"])).replace("\u00a0", " ")


def test_findings_rank_the_worst_cases_and_name_what_is_worse_than_the_mean() -> None:
    words = said(grid_of(USUAL))
    assert words.index("1. bulyan: 77 %") < words.index("2. no defense: 50 %") < words.index("2. krum: 40 %")
    assert "most first; neighbours with the same number are not told apart:" in words
    assert "30 points [21 to 39] lost to adaptive" in words
    assert (
        "krum does worse under its worst attack (adaptive) than the plain mean under its own (flip): by 10 points"
        in words
    ), "paired by row, which tells apart what the two intervals do not"
    assert "bulyan does worse" not in words


def test_what_is_worse_than_the_mean_is_explained_by_its_cost_and_its_card() -> None:
    table = {"none": {"none": 84, "flip": 50}, "krum": {"none": 70, "flip": 40}, "median": {"none": 85, "flip": 45}}
    krum, median = (said(grid_of(table)).split(f"{name} does worse")[1] for name in ("krum", "median"))
    assert "Without an attack it has 70 %, the mean 84 %. 14 points are what the rule itself costs." in krum
    assert "slow, and unfair to the others where clients' data differ" in krum
    assert "Without an attack it has 85 %, the mean 84 %. The attack does it all." in median


def test_a_rule_that_may_be_worse_by_chance_is_not_told_apart() -> None:
    cells = grid_of({"none": {"none": 84, "flip": 50}, "krum": {"none": 70, "flip": 49}})
    words = said(cells)
    assert "does worse" not in words
    assert ", most first, not told apart:\nno defense: 50 % [40.4 to 59.6] left" in words
    assert not any("plain mean" in words_of(square) for square in last(cells).values())


def test_a_rule_as_good_as_the_mean_is_not_called_worse() -> None:
    table = {"none": {"none": 84, "flip": 50}, "krum": {"none": 70, "flip": 50}}
    assert "does worse" not in said(grid_of(table))


def test_one_defense_alone_is_no_ranking() -> None:
    assert said(grid_of({"none": USUAL["none"]})) == ""


def test_many_defenses_leave_the_middle_to_the_table() -> None:
    table = {f"d{i}": {"none": 80, "flip": 79 - 5 * i} for i in range(MOST_DEFENSES + 2)}
    cells = grid_of({"none": {"none": 84, "flip": 50}, **table})
    cells.append(not_run("error", "boom", attack="flip", defense="broken", position="client"))
    text = findings(rows_of(*cells))[-1]
    assert "Undefended, flip" in text
    assert "Against d0, it leaves" in text
    assert "Against d5, it leaves" in text
    assert "Against d3" not in text
    assert "Against broken, it has no result" in text
    assert "Of 6 defenses, d0 fares better than d5, by intervals that separate; the table has the others." in text
    few = findings(rows_of(*grid_of({"none": {"none": 84, "flip": 50}, **dict(list(table.items())[:MOST_DEFENSES])})))
    assert "Against d3, it leaves" in few[-1]
    assert "the table has" not in few[-1]


def test_defenses_that_intervals_do_not_tell_apart_are_not_ranked() -> None:
    six = {f"d{i}": {"none": 80, "flip": 70} for i in range(MOST_DEFENSES + 2)}
    alike = findings(rows_of(*grid_of({"none": {"none": 84, "flip": 50}, **six})))[-1]
    assert alike.endswith("6 defenses with a result are not told apart; the table has the others.")
    assert "Against d0, it leaves" in alike
    assert "Against d5" not in alike
    six["d4"] = {"none": 80, "flip": 65}  # lower, and within chance of the others
    assert "are not told apart" in findings(rows_of(*grid_of({"none": {"none": 84, "flip": 50}, **six})))[-1]
    six["d4"] = {"none": 80, "flip": 30}
    text = findings(rows_of(*grid_of({"none": {"none": 84, "flip": 50}, **six})))[-1]
    assert "Of 6 defenses, d0 fares better than d4, by intervals that separate; the table has the others." in text


# In the report


def last(cells: list[Content]) -> dict[str, dict[str, Any]]:
    """The squares of the last column, by defense."""
    scorecard = build("a/b", "0" * 16, cells)
    (table,) = grids(scorecard["summary"], scorecard["worst_case"])
    return {line["defense"]: line["worst"] for line in table["lines"]}


def words_of(square: dict[str, Any]) -> str:
    return " | ".join([square["main"], *square["lines"]]).replace("\u00a0", " ")


def test_the_last_column_is_the_largest_harm_and_whom_it_is_not_told_apart_from() -> None:
    found = last(grid_of(USUAL))
    # Held against the undefended model that nobody attacks: what Krum costs by itself, 14 points, counts as well.
    assert {name: square["look"] for name, square in found.items()} == {
        "none": "harm2",
        "krum": "harm3",
        "bulyan": "harm1",
    }
    assert words_of(found["krum"]).startswith("59.5 % | adaptive | interval ")
    assert "worst of 3 attacks" in words_of(found["krum"])
    assert "▼ worse than the plain mean" in words_of(found["krum"])
    assert "not told apart from flip, adaptive" in words_of(found["bulyan"])
    assert "worse" not in words_of(found["bulyan"])


def test_the_last_column_counts_what_an_attack_got_until_its_time_was_over() -> None:
    late = {"status": "budget", "reason": "10 seconds were over", "metrics": leakage(0.6, 0.6)}
    found = words_of(last([trained(), trained(attack="dager", **late)])["none"])
    assert found.startswith("60 % | dager | interval ")
    assert found.endswith("may be worse, open: dager")


def test_the_last_column_says_what_is_open() -> None:
    cells = [*grid_of(USUAL), not_run("error", "x", attack="alie", defense="krum"), attacked("alie", "none", 60)]
    found = last(cells)
    assert "may be worse, open: alie" in words_of(found["krum"])
    assert "open" not in words_of(found["none"])
    page = Page(render(*scored(cells)))
    assert "▼ worse than the plain mean" in page.text
    assert "⚠ error" in page.text
    assert "no result" in page.text


def test_the_last_column_ranks_nothing_on_blocked_cells_or_without_a_harm() -> None:
    blocked = {"status": "blocked", "reason": "no rows", "metrics": leakage(0.0, 0.05)}
    cells = [trained(), trained(attack="dager", **blocked), trained(attack="peek", **blocked)]
    assert words_of(last(cells)["none"]) == "blocked | no attack on what stays visible was run"
    idle = grid_of({"none": {"none": 12, "flip": 5, "ipm": 6}})
    assert last(idle)["none"]["look"] == "undefined"
    assert words_of(last(idle)["none"]).startswith("undefined | may be worse, open: flip, ipm")


def test_squares_tell_whom_the_weights_flagged_beside_chance() -> None:
    flags = {RECALL: fraction(0.9, 20, "defender", 0.95), PRECISION: fraction(0.19, 95, "defender", 0.2)}
    cells = [trained(bits(80), defense="krum"), attacked("flip", "krum", 70, metrics=flags)]
    lines = [line.replace("\u00a0", " ") for line in grids(rows_of(*cells))[0]["lines"][0]["squares"][1]["lines"]]
    assert lines[-2:] == ["malicious flagged: 90 % (chance: 95 %)", "flags right: 19 % (chance: 20 %)"]
    assert "Malicious flagged: of the messages" in Page(render(*scored(cells))).text
    assert "Malicious flagged" not in Page(render(*scored(grid_of(USUAL)))).text


def test_coordinate_wise_rules_say_so_in_their_cells() -> None:
    rounds = [{"round": 1, "clients": [0, 1], "loss": 1.0, "rejected": [], "weights": None, "skipped": None}]
    page = Page(render(*scored([trained(defense="median", rounds=rounds)])))
    assert "No weights: decided coordinate by coordinate" in page.text


def test_what_has_no_harm_is_no_place_in_the_ranking() -> None:
    """Where the undefended control learnt nothing, nothing can be said of who holds best."""
    cells = grid_of({"none": {"none": 12, "flip": 5}, "krum": {"none": 11, "flip": 10}})
    scorecard = build("a/b", "0" * 16, cells)
    assert [entry["harm"]["value"] for entry in scorecard["worst_case"]] == [None, None]
    words = said(cells)
    assert words.startswith(
        "Not ranked by the worst case, the harm being undefined: no defense, krum (there was nothing"
    )
    assert "Worst case per rule" not in words


def test_one_without_a_harm_stands_below_those_that_are_ranked() -> None:
    cells = grid_of(USUAL)
    entries = [dict(entry) for entry in build("a/b", "0" * 16, cells)["worst_case"]]
    entries[2]["harm"] = {"value": None, "reason": "its control has no result"}  # Bulyan, else the best
    words = "\n".join(worst_findings(entries))
    assert "3. " not in words
    assert "the harm being undefined: bulyan (its control has no result)." in words
