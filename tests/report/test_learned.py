"""What a guess gets stands beside every accuracy; a control that is no better is marked, and nothing is held to it."""

from typing import Any

import pytest

from fedsec.cli.summary import print_result
from fedsec.comparison.rows import learned
from fedsec.report.classes import about_classes
from fedsec.report.curves import curves
from fedsec.report.findings import findings
from fedsec.report.front import fronts_drawn
from fedsec.report.grid import grids
from fedsec.report.html import render
from fedsec.report.scorecard import build
from fedsec.report.worst_findings import worst_findings
from fedsec.result import RunResult

from .support import Content, Page, fraction, leakage, rows_of, scored, trained

ACCURACY, TAIL = "utility/accuracy", "utility/tail-accuracy"


def bits(right: int, of: int = 100) -> str:
    return "1" * right + "0" * (of - right)


def beside(right: int, guess: float = 0.5, **fields: Any) -> Content:
    """A training that gets so many of 100 right, where always the same answer gets `guess`."""
    content = trained(bits(right), **fields)
    content["cell"]["metrics"][ACCURACY]["baseline"] = guess
    return content


def acted(right: int, defense: str = "none", attack: str = "flip", **fields: Any) -> Content:
    return beside(right, attack=attack, defense=defense, position="client", **fields)


def plain(text: str) -> str:
    return " ".join(text.replace("\u00a0", " ").split())


@pytest.mark.parametrize(("right", "expected"), [(50, False), (59, False), (30, False), (61, True), (100, True)])
def test_learned_is_better_than_the_guess_by_the_interval(right: int, expected: bool) -> None:
    assert learned(beside(right)["cell"]["metrics"]) is expected


def test_learned_is_unknown_without_a_guess_or_a_value() -> None:
    known = beside(80)["cell"]["metrics"]
    for fields in ({"value": None}, {"baseline": None}, {"ci_low": None}):
        assert learned({ACCURACY: {**known[ACCURACY], **fields}}) is None
    assert learned({}) is None


def test_cells_and_rows_say_whether_their_control_learned() -> None:
    contents = [beside(52), acted(50), beside(80, defense="krum"), acted(50, "krum"), acted(50, "median")]
    card = build("a/b", "0" * 16, contents)
    for kind in ("cells", "summary"):
        assert [row["learned"] for row in card[kind]] == [False, False, True, True, None]


def test_of_several_seeds_their_mean_decides() -> None:
    rows = rows_of(*(beside(right, seed=seed) for seed, right in enumerate((95, 60, 52))))
    assert rows[0]["learned"] is False, "three seeds that differ so much show nothing"
    assert rows_of(*(beside(right, seed=seed) for seed, right in enumerate((92, 90, 91))))[0]["learned"] is True


def test_sentences_set_the_guess_beside_accuracy_and_mark_controls_that_did_not_learn() -> None:
    control, ruined = map(plain, findings(rows_of(beside(52), acted(50))))
    assert "reaches 52 % accuracy (95 % interval 42.3 to 61.5 %; always the largest class: 50 %)" in control
    assert control.endswith(", and is no better than always the largest class: it did not learn.")
    assert "leaves 50 % accuracy (always the largest class: 50 %), 2 points below the same training" in ruined
    assert ", which did not learn;" in ruined
    good = " ".join(map(plain, findings(rows_of(beside(80), acted(50)))))
    assert "always the largest class: 50 %" in good
    assert "did not learn" not in good


def test_controls_that_did_not_learn_have_no_place_among_others() -> None:
    cells = [beside(right, defense=f"d{i}") for i, right in enumerate((90, 80, 70, 52, 45))]
    control = plain(findings(rows_of(*cells))[0])
    assert "Of 3 defenses, d0 fares better than d2, by intervals that separate" in control
    assert "With d3 and 1 more, the model is no better than a guess: it did not learn." in control


def test_the_front_and_its_figure_leave_out_what_did_not_learn() -> None:
    def cells(*rights: int) -> list[Content]:
        names = ("none", "noise", "clip")
        controls = [beside(right, defense=name) for name, right in zip(names, rights, strict=True)]
        harms = zip(names, (0.9, 0.0, 0.5), strict=True)
        read = [beside(80, attack="dager", defense=d, metrics=leakage(h, h, guess=0.0)) for d, h in harms]
        return [*controls, *read]

    rows = rows_of(*cells(90, 51, 85))
    front = {row["defense"]: row["pareto"] for row in rows if row["attack"] != "none"}
    assert front == {"none": True, "noise": False, "clip": True}, "no harm, and no model either"
    fronts = build("a/b", "0" * 16, cells(90, 51, 85))["fronts"]
    (panel,) = fronts_drawn(fronts, ["none", "noise", "clip"]).panels
    assert 'class="m1 c1 big' not in panel.svg
    assert 'class="m0 c2 big' in panel.svg
    rows = rows_of(*cells(51, 51, 51))
    assert not any(row["pareto"] for row in rows)
    assert fronts_drawn(build("a/b", "0" * 16, cells(51, 51, 51))["fronts"], ["none", "noise", "clip"]).panels == ()


def test_the_worst_case_ranks_nothing_that_did_not_learn() -> None:
    cells = [beside(90), acted(60), beside(85, defense="krum"), acted(80, "krum"), beside(52, defense="dp")]
    cells += [acted(52, "dp")]
    entries = build("a/b", "0" * 16, cells)["worst_case"]
    assert {entry["defense"]: entry["learned"] for entry in entries} == {"none": True, "krum": True, "dp": False}
    ranking, apart = (plain(text) for text in worst_findings(entries))
    assert "dp" not in ranking
    assert "(in brackets 95 % intervals; always the largest class: 50 %), most first" in ranking
    assert apart == "Not ranked by the worst case, as the model did not learn without an attack either: dp."


def test_where_the_undefended_control_did_not_learn_there_is_no_ranking() -> None:
    cells = [beside(52), acted(40), beside(51, defense="krum"), acted(49, "krum")]
    card = build("a/b", "0" * 16, cells)
    assert [entry["harm"]["value"] for entry in card["worst_case"]] == [None, None]
    (only,) = worst_findings(card["worst_case"])
    assert only.startswith("Not ranked by the worst case, the harm being undefined: no defense, krum")


def test_squares_mark_controls_and_what_is_held_against_them() -> None:
    reads = beside(52, attack="dager", metrics=leakage(0.5, 0.5))
    (table,) = grids(rows_of(beside(52), acted(50), reads, beside(80, defense="krum")))
    attacks = [head["attack"] for head in table["attacks"]]
    looks = {
        (attack, line["defense"]): one
        for line in table["lines"]
        for attack, one in zip(attacks, line["squares"], strict=True)
    }
    assert looks["none", "none"]["idle"] == "no better than a guess: did not learn"
    assert looks["flip", "none"]["idle"] == "its control did not learn"
    assert looks["dager", "none"]["idle"] == "", "reading is held against no control"
    assert looks["none", "krum"]["idle"] == ""
    assert "guess 50 %" in plain(" ".join(looks["none", "krum"]["lines"]))


def test_the_report_shows_the_guess_everywhere() -> None:
    tail = {TAIL: fraction(0.42, 100, "defender", baseline=0.5)}
    cells = [
        beside(90),
        acted(60, metrics=tail),
        beside(85, defense="krum"),
        acted(80, "krum"),
        beside(52, 0.5, seed=1),
    ]
    source = render(*scored(cells[:4]))
    text = plain(Page(source).text)
    assert "last fifth of the rounds under flip: 42 %; guess 50 %" in text
    assert "utility/tail-accuracy 42 % 32.8 to 51.8 %; n 100 guess 50 %" in text
    assert "⚠ no better than a guess" not in text
    assert "⚠ no better than a guess: did not learn" in Page(render(*scored(cells[4:]))).text


def test_curves_have_a_dotted_line_at_the_guess() -> None:
    with_guess, without = beside(80), beside(80)
    del without["cell"]["metrics"][ACCURACY]["baseline"]
    dotted = [curves([one], ["none"]).panels[0].svg.count('class="guess"') for one in (with_guess, without)]
    assert dotted == [1, 0]
    (far,) = curves([beside(80, 0.02, curve=[0.7, 0.8])], ["none"]).panels
    assert ">0 %</text>" in far.svg, "the axis reaches down to it"


def test_the_report_and_the_terminal_say_which_classes_there_are(
    capsys: pytest.CaptureFixture[str], tmp_path: Any
) -> None:
    words, doubt = "9 training and 3 test rows of 30 classes: '<b>' 2 (17 %)", "30 classes share 9 training rows"
    contents = [
        {**beside(80), "data": {"words": words, "doubt": None}},
        {**beside(80, seed=1), "data": {"words": f"{words}!", "doubt": doubt}},
    ]
    for text in (plain(Page(render(*scored(contents))).text), _printed(contents, capsys, tmp_path)):
        assert f"Data: {words}; other seeds or settings have other rows. Look at the labels: {doubt}." in text
    assert about_classes([beside(80), {**beside(80), "data": None}]) == []


def _printed(contents: list[Content], capsys: pytest.CaptureFixture[str], path: Any) -> str:
    print_result(RunResult(path, scored(contents)[1], contents, 0), "A question?")
    return plain(capsys.readouterr().out.replace("│", " ").replace("┃", " "))


def test_the_terminal_tells_the_guess_and_who_did_not_learn(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    text = _printed([beside(52), acted(50), beside(80, defense="krum")], capsys, tmp_path)
    assert "(a guess: 50 %)" in text
    assert text.count("did not learn") == 5, "the note, the sentences of control and attack, the price and its reason"
    varied = [beside(80, guess, settings={"a.b": guess}) for guess in (0.25, 0.5)]
    assert "(a guess: 25 to 50 %)" in _printed(varied, capsys, tmp_path)


def test_the_short_tables_of_a_notebook_tell_both(tmp_path: Any) -> None:
    card = scored([beside(52), beside(80, defense="krum")])[1]
    result = RunResult(tmp_path, card, [], 0)
    for text in (repr(result), result._repr_html_()):
        assert text.count("(guess 0.5)") == 2
        assert text.count("did not learn: no better than a guess") == 1
    assert list(result.summary_frame()["learned"]) == [False, True]
