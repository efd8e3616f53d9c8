"""Cells of several runs side by side, and what keeps figures from being compared."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedsec.comparison.align import Aligned, Content, Contrast, Row, Run, align, contrast, flat

SETTINGS: dict[str, dict[str, Any]] = {
    "model": {
        "name": "tiny-bert",
        "layers": 2,
        "tuning": {"kind": "full", "rank": 8},
        "task": "sequence-classification",
    },
    "data": {"name": "cola", "path": None, "train": 100, "test": 50, "max_tokens": 64, "partition": {"kind": "iid"}},
    "federation": {"rounds": 3, "batch_size": 8},
    "threat": {"malicious": 1},
}
INPUTS = {"data": "d", "weights": "w"}


def row(attack: str = "none", defense: str = "none", seed: int = 0, **more: Any) -> dict[str, Any]:
    """A scorecard's row; parameters stand beside their names in the labels' brackets only."""
    return {
        "attack": attack,
        "attack_params": {},
        "defense": defense,
        "defense_stack": [] if defense == "none" else [{"name": defense.partition("(")[0], "params": {}}],
        "goal": None if attack == "none" else "untargeted",
        "seed": seed,
        "settings": {},
        "status": "ok",
        "reason": None,
        **more,
    }


def run(name: str, rows: list[dict[str, Any]], settings: Mapping[str, Any] = SETTINGS, **inputs: str) -> Run:
    contents: list[Content] = [{"key": f"{name}{i}", "inputs": {**INPUTS, **inputs}} for i in range(len(rows))]
    scenarios = {str(one.get("scenario", "example")) for one in rows}
    return Run(name, rows, contents, {one: flat(settings) for one in scenarios}, "example")


def _where(found: list[Aligned]) -> list[tuple[str, str, list[list[int]]]]:
    return [(one.first["attack"], one.first["defense"], [sorted(cells) for cells in one.cells]) for one in found]


def _with(path: str, value: Any) -> dict[str, Any]:
    section, key = path.split(".")
    return {**SETTINGS, section: {**SETTINGS[section], key: value}}


def test_seeds_come_together_and_what_only_one_has_stays_alone() -> None:
    old = run("A", [row(), row(seed=1), row("ipm", "krum")])
    new = run("B", [row(seed=1), row(seed=2), row("ipm", "median")])
    assert _where(align([old, new])) == [
        ("none", "none", [[0, 1], [1, 2]]),
        ("ipm", "krum", [[0], []]),
        ("ipm", "median", [[], [0]]),
    ]


def test_labels_do_not_count_and_parameters_do() -> None:
    """A version that changes a default, or how it writes one, changes labels."""
    old = run("A", [row("ipm(scale=10)", attack_params={"scale": 10}), row("alie", attack_params={"scale": 1})])
    new = run("B", [row("ipm", attack_params={"scale": 10.0}), row("alie", attack_params={"scale": 2})])
    assert [len([cells for cells in one.cells if cells]) for one in align([old, new])] == [2, 1, 1]


def test_a_varied_setting_is_aligned_with_its_fixed_value() -> None:
    old = run("A", [row(settings={"federation.batch_size": size}) for size in (1, 8)])
    found = align([old, run("B", [row()])])
    assert [(one.settings, [len(cells) for cells in one.cells]) for one in found] == [
        ({"federation.batch_size": 1}, [1, 0]),
        ({"federation.batch_size": 8}, [1, 1]),
    ]


def test_a_varied_section_is_aligned_with_its_fixed_values() -> None:
    tuned = {"model.tuning": {"rank": 8, "kind": "full"}}
    found = align([run("A", [row()]), run("B", [row(settings=tuned)])])
    assert [[len(cells) for cells in one.cells] for one in found] == [[1, 1]]


def test_members_of_suites_are_told_apart_and_names_of_single_scenarios_do_not_count() -> None:
    suite = run("A", [row(scenario="one"), row(scenario="two")])
    assert [[len(c) for c in one.cells] for one in align([suite, run("B", [row(scenario="two")])])] == [[1, 0], [1, 1]]
    assert len(align([run("A", [row(scenario="mine")]), run("B", [row(scenario="yours")])])) == 1


@given(st.permutations([("none", 0), ("none", 1), ("ipm", 0), ("ipm", 1), ("alie", 0)]))
def test_no_order_of_cells_changes_what_is_aligned(order: list[tuple[str, int]]) -> None:
    found = align([run("A", [row(attack, seed=seed) for attack, seed in order])])
    assert {one.first["attack"]: sorted(one.cells[0]) for one in found} == {"none": [0, 1], "ipm": [0, 1], "alie": [0]}
    assert [one.first["attack"] for one in found] == list(dict.fromkeys(attack for attack, _ in order))


def _contrast(old: Run, new: Run) -> Contrast:
    def first(one: Run) -> tuple[Run, Row, Content]:
        return one, one.rows[0], one.contents[0]

    return contrast(first(old), first(new))


def test_equal_runs_differ_in_nothing() -> None:
    assert _contrast(run("A", [row()]), run("B", [row()])) == Contrast((), (), same_rows=True)


@pytest.mark.parametrize(
    ("path", "value", "same_rows"),
    [
        ("federation.rounds", 9, True),
        ("model.tuning", {"kind": "head", "rank": 8}, True),
        ("threat.malicious", 2, True),
        ("data.partition", {"kind": "dirichlet"}, True),
        ("data.train", 90, False),
        ("data.test", 20, False),
    ],
)
def test_what_was_chosen_otherwise_is_told(path: str, value: Any, same_rows: bool) -> None:
    found = _contrast(run("A", [row()]), run("B", [row()], _with(path, value)))
    assert found.refused == ()
    assert [one[0].startswith(path) for one in found.told] == [True]
    assert found.same_rows == same_rows


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        ("data.max_tokens", 32, "data.max_tokens"),
        ("model.layers", 4, "model.layers"),
        ("model.task", "causal-lm", "task"),
    ],
)
def test_figures_of_other_texts_or_another_model_are_refused(path: str, value: Any, word: str) -> None:
    found = _contrast(run("A", [row()]), run("B", [row()], _with(path, value)))
    assert len(found.refused) == 1
    assert word in found.refused[0]
    assert not found.same_rows


def test_content_that_changed_under_the_same_name_is_refused() -> None:
    found = _contrast(run("A", [row()]), run("B", [row()], data="other", weights="others"))
    assert [one.partition(" is ")[0] for one in found.refused] == [
        "the content of the data",
        "the content of the weights",
    ]


def test_the_same_content_under_another_path_compares() -> None:
    moved = [_with("data.path", folder) for folder in ("old.csv", "new.csv")]
    assert _contrast(run("A", [row()], moved[0]), run("B", [row()], moved[1])).refused == ()
    assert _contrast(run("A", [row()], moved[0]), run("B", [row()], moved[1], data="other")).refused != ()


def test_auxiliary_text_and_goals_are_looked_at() -> None:
    assert _contrast(run("A", [row()]), run("B", [row()], auxiliary="x")).told == (
        ("content of threat.auxiliary", None, "x"),
    )
    assert "goal" in _contrast(run("A", [row("ipm")]), run("B", [row("ipm", goal="backdoor")])).refused[0]


def test_a_varied_setting_is_no_difference() -> None:
    old = run("A", [row(settings={"federation.batch_size": 8})], _with("federation.batch_size", 1))
    assert _contrast(old, run("B", [row()])).told == ()


def test_without_settings_nothing_is_known_of_the_rows() -> None:
    old = run("A", [row()])
    bare = Run("B", [row()], [{"key": "k", "inputs": INPUTS}], {}, "example")
    assert _contrast(old, bare) == Contrast((), (("settings that can be read", True, False),), same_rows=False)
