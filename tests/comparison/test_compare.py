"""Two runs cell by cell: what is compared, how, and what is called different."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from fedsec.comparison.align import Run, flat
from fedsec.comparison.compare import SAME, Comparison, Figure, Pair, compare
from fedsec.errors import ExitCode, IncomparableError
from fedsec.metrics.stats.intervals import wilson
from fedsec.report.scorecard import build

from ..report.support import Content, leakage, not_run, trained

SETTINGS = {"data": {"name": "cola", "test": 40}, "model": {"name": "tiny-bert"}, "federation": {"rounds": 3}}
RIGHT = ("1110" * 10, "1101" * 10, "1011" * 10, "1110" * 9 + "1000", "1110" * 8 + "10001100")
WRONG = ("1000" * 10, "0100" * 10, "0010" * 10, "1000" * 9 + "1100", "1000" * 8 + "10000100")


def run(name: str, contents: list[Content], settings: Mapping[str, Any] = SETTINGS, **made_by: Any) -> Run:
    """A run of the scenario `example`; every cell has a key of its own."""
    whole = [
        {"key": f"{name}{place}", "inputs": {"data": "d", "weights": "w"}, "made_by": made_by, **content}
        for place, content in enumerate(contents)
    ]
    return Run(name, build("example", "k", contents)["cells"], whole, {"example": flat(settings)}, "example")


def controls(answers: tuple[str, ...], **fields: Any) -> list[Content]:
    return [trained(correct, seed=seed, **fields) for seed, correct in enumerate(answers)]


def attacked(answers: tuple[str, ...], defense: str = "none") -> list[Content]:
    return [
        trained(correct, attack="ipm", defense=defense, position="client", seed=seed)
        for seed, correct in enumerate(answers)
    ]


def _pair(found: Comparison, attack: str, defense: str = "none") -> Pair:
    return next(
        pair for pair in found.pairs if (pair.where.first["attack"], pair.where.first["defense"]) == (attack, defense)
    )


def _figure(pair: Pair, metric: str) -> Figure:
    return next(figure for figure in pair.figures if figure.metric == metric)


@pytest.fixture(scope="module")
def harmful() -> Comparison:
    """In the second run the attack does more harm; the control is the same."""
    longer = {**SETTINGS, "federation": {"rounds": 9}}
    old = run("A", [*controls(RIGHT), *attacked(RIGHT)], threads=1, packages={"torch": "2.13"})
    return compare([old, run("B", [*controls(RIGHT), *attacked(WRONG)], longer, threads=2, packages={"torch": "2.13"})])


def test_what_differs_is_told_apart_and_what_does_not_is_not(harmful: Comparison) -> None:
    accuracy, lost = (_figure(_pair(harmful, "ipm"), name) for name in ("utility/accuracy", "robustness/utility-drop"))
    assert accuracy.apart
    assert lost.apart
    assert (accuracy.better_for, lost.better_for) == ("defender", "attacker")
    assert accuracy.difference.value == pytest.approx(-lost.difference.value) == pytest.approx(-0.5, abs=0.03)
    assert not _figure(_pair(harmful, "none"), "utility/accuracy").apart
    assert harmful.tested == 3
    assert {figure.metric for figure in _pair(harmful, "none").figures if figure.told} == {"utility/accuracy"}


def test_seeds_that_agree_are_paired_and_their_test_rows_too(harmful: Comparison) -> None:
    pair = _pair(harmful, "ipm")
    assert pair.seeds == (0, 1, 2, 3, 4)
    found = _figure(pair, "utility/accuracy").difference
    assert (found.method, found.n, len(found.accounts)) == ("t-pairs", 5, 2)
    assert pair.notes == ()


def test_settings_and_machines_that_differ_are_told(harmful: Comparison) -> None:
    assert [(one.what, one.old, one.new) for one in harmful.told] == [
        ("federation.rounds", 3, 9),
        ("threads", "1", "2"),
    ]


def test_costs_are_measured_and_not_tested(harmful: Comparison) -> None:
    cost = _figure(_pair(harmful, "ipm"), "cost/upload-bytes")
    assert (cost.told, cost.adjusted, cost.difference.value) == (False, None, 0.0)


def test_the_json_is_complete_and_valid(harmful: Comparison) -> None:
    text = json.dumps(harmful.as_json(), allow_nan=False)
    found = json.loads(text)
    assert (found["schema"], found["tested"], len(found["cells"])) == (1, 3, 2)
    accuracy = found["cells"][1]["metrics"]["utility/accuracy"]
    assert set(accuracy["difference"]) == {"value", "ci_low", "ci_high", "method", "n", "p_value"}
    assert accuracy["apart"] is True
    assert found["differs"][0] == {"what": "federation.rounds", "run": 1, "old": 3, "new": 9, "scenarios": ["example"]}


def test_one_seed_falls_back_to_its_test_rows_or_to_the_values_intervals() -> None:
    old, new = ([*controls(side[:1], metrics=leakage(0.2, 0.3))] for side in (RIGHT, WRONG))
    found = compare([run("A", old), run("B", new)])
    accuracy = _figure(found.pairs[0], "utility/accuracy")
    assert (accuracy.difference.method, accuracy.difference.n) == ("newcombe-rows", 40)
    assert _figure(found.pairs[0], "leakage/exact-match").difference.method == "newcombe"
    more = {**SETTINGS, "data": {"name": "cola", "test": 80}}
    elsewhere = compare([run("A", old), run("B", new, more)])
    assert _figure(elsewhere.pairs[0], "utility/accuracy").difference.method == "newcombe", "other test rows"


def test_other_seeds_are_compared_unpaired() -> None:
    late = [{**one, "cell": {**one["cell"], "seed": 7 + place}} for place, one in enumerate(controls(WRONG[:2]))]
    found = compare([run("A", controls(RIGHT[:3])), run("B", late)])
    assert found.pairs[0].seeds == ()
    assert "unpaired (other seeds)" in found.pairs[0].notes
    assert [(one.has, one.lacks, one.seeds) for one in found.lone] == [(0, 1, (0, 1, 2)), (1, 0, (7, 8))]


def test_a_metric_has_the_difference_of_its_seeds() -> None:
    found = compare(
        [run("A", controls(RIGHT, metrics=leakage(0.2, 0.3))), run("B", controls(RIGHT, metrics=leakage(0.6, 0.4)))]
    )
    low, high, _ = wilson(2, 10)
    figure = _figure(found.pairs[0], "leakage/exact-match")
    assert (figure.old, figure.new) == pytest.approx((0.2, 0.6))
    assert figure.difference.value == pytest.approx(0.4)
    assert figure.difference.interval() is not None
    assert low < 0.2 < high


def test_the_same_cells_differ_in_nothing_and_are_not_tested() -> None:
    contents = controls(RIGHT)
    old = run("A", contents)
    again = Run("B", old.rows, old.contents, old.settings, old.scenario)
    found = compare([old, again])
    assert found.tested == 0
    assert {figure.difference.method for figure in found.pairs[0].figures} == {SAME}
    assert found.pairs[0].notes == ("the same cells",)


def test_equal_settings_and_another_key_tell_of_other_sources() -> None:
    assert compare([run("A", controls(RIGHT)), run("B", controls(RIGHT))]).pairs[0].notes == ("other sources",)


def test_what_cannot_be_compared_is_refused_and_the_rest_is_not() -> None:
    failed = [*controls(RIGHT), not_run("error", "it broke", attack="ipm", position="client")]
    found = compare([run("A", [*controls(RIGHT), *attacked(RIGHT)]), run("B", failed)])
    assert _pair(found, "ipm").refused == ("no result in B: error, it broke",)
    assert _pair(found, "ipm").figures == ()
    assert _pair(found, "none").figures != ()


def test_runs_of_other_data_are_refused_with_what_differs() -> None:
    other = {**SETTINGS, "data": {"name": "sst2", "test": 40}}
    new = run("B", controls(RIGHT), other)
    changed = [{**one, "inputs": {"data": "e", "weights": "w"}} for one in new.contents]
    elsewhere = Run("B", new.rows, changed, new.settings, new.scenario)
    with pytest.raises(IncomparableError) as raised:
        compare([run("A", controls(RIGHT)), elsewhere])
    assert 'data.name is "cola" in A and "sst2" in B' in str(raised.value)
    assert raised.value.exit_code == ExitCode.INCOMPARABLE == 12
    assert "the content of the data is not the same" in str(raised.value)


def test_runs_without_a_cell_in_common_are_refused() -> None:
    with pytest.raises(IncomparableError, match="no cell in common"):
        compare([run("A", controls(RIGHT)), run("B", attacked(RIGHT))])


def test_marks_of_cells_go_with_their_figures() -> None:
    blocked = [trained(RIGHT[0], metrics=leakage(0.2, 0.3), attack="dager", defense="masks", status="blocked")]
    cut = [trained(RIGHT[0], metrics=leakage(0.2, 0.3), attack="dager", defense="masks", status="budget")]
    found = compare([run("A", [*controls(RIGHT[:1]), *blocked]), run("B", [*controls(RIGHT[:1]), *cut])])
    assert {"blocked, a guess in A", "time over in B"} <= set(_pair(found, "dager", "masks").notes)


def test_several_runs_are_held_against_the_first_and_corrected_together() -> None:
    runs = [run("A", controls(RIGHT)), run("B", controls(WRONG)), run("C", controls(RIGHT))]
    found = compare(runs)
    assert [pair.run for pair in found.pairs] == [1, 2]
    assert found.tested == 2
    alone = _figure(compare(runs[:2]).pairs[0], "utility/accuracy").adjusted
    both = _figure(found.pairs[0], "utility/accuracy").adjusted
    assert alone is not None
    assert both == pytest.approx(2 * alone)


def test_pairing_is_that_of_the_statistics() -> None:
    """The means beside a difference are those of the seeds that it is of."""
    found = compare([run("A", controls(RIGHT)), run("B", controls((WRONG[0], WRONG[1])))])
    figure = _figure(found.pairs[0], "utility/accuracy")
    assert found.pairs[0].seeds == (0, 1)
    assert figure.new - figure.old == pytest.approx(figure.difference.value)


def test_cells_of_the_same_names_say_which_parameters_keep_them_apart() -> None:
    """A version that gives an attack a new parameter makes other cells of it."""
    old, new = (
        run(name, [*controls(RIGHT[:1]), trained(RIGHT[0], attack="ipm", position="client", attack_params=given)])
        for name, given in (("A", {"scale": 1.0}), ("B", {"scale": 1.0, "rows": 3}))
    )
    near = "ipm.rows is absent in A and 3 in B"
    assert [one.near for one in compare([old, new]).lone] == [near, "ipm.rows is 3 in B and absent in A"]
    other = run("B", [*controls(RIGHT[:1]), trained(RIGHT[0], attack="alie", position="client")])
    assert [one.near for one in compare([old, other]).lone] == [None, None]
