"""The report's figures, and whom the rule trusted."""

import re
from typing import Any

import pytest

from fedsec.report import plots
from fedsec.report.html import render

from .support import HOSTILE, Content, Page, head, leakage, not_run, planted, round_of, rows_of, scored, trained


def test_an_attack_that_only_watches_shares_its_figure() -> None:
    def cells(**fields: Any) -> list[Content]:
        return [
            trained(curve=[0.2, 0.8], **fields),
            trained(curve=[0.2, 0.8], attack="dager", metrics=leakage(0.0, 0.0), **fields),
            trained(curve=[0.2, 0.3], attack="flip", position="client", **fields),
        ]

    panels = plots.curves([*cells(settings={"a.b": 1}), *cells(settings={"a.b": 2})], ["none"]).panels
    assert [(p.title, p.subtitle) for p in panels] == [("no attack, dager", "b=1; b=2"), ("flip", "b=1; b=2")]


def test_curves_start_at_round_zero_and_band_the_seeds() -> None:
    seeds = [trained(curve=[0.2, height], seed=seed) for seed, height in enumerate((0.6, 0.8))]
    (one,), (many,) = (plots.curves(some, ["none"]).panels for some in (seeds[:1], seeds))
    assert ">0</text>" in one.svg
    assert "fill-opacity: 0.18" in many.svg
    assert "fill-opacity: 0.18" not in one.svg


def test_a_figure_scales_and_follows_the_page() -> None:
    (panel,) = plots.curves([trained()], ["none"]).panels
    assert 'viewBox="0 0 340 230"' in panel.svg
    assert not re.search(r"#0[0-9a-f]{5}", panel.svg)
    assert "var(--s0)" in panel.svg
    assert "currentColor" in panel.svg
    assert set(re.findall(r"font: (\d+)px", panel.svg)) == {"12"}  # 12.4 px on a phone that leaves 351 px


def test_many_lines_and_missing_cells_still_draw() -> None:
    defenses = [f"d{i}" for i in range(20)]
    contents = [trained(curve=[0.5, 0.5], defense=name) for name in defenses] + [not_run("error", "x", attack="dager")]
    assert len(plots.curves(contents, [*defenses, "none"]).panels) == 1
    assert len({tuple(plots.style(i).items()) for i in range(12)}) == 12


def test_scatter_takes_two_defenses_and_rings_the_front() -> None:
    attacked = [
        trained(attack="dager", defense=name, metrics=leakage(exact, exact))
        for name, exact in (("none", 1.0), ("worse", 1.0), ("good", 0.0))
    ]
    controls = [trained("1110"), trained("1000", defense="worse"), trained("1100", defense="good")]
    rows = rows_of(*controls, *attacked)
    (panel,) = plots.scatter(rows, ["none", "worse", "good"]).panels
    assert panel.title == "dager"
    assert "harm of the attack" in panel.svg
    assert panel.svg.count("stroke: currentColor; stroke-width: 1.2") >= 2
    assert plots.scatter(rows_of(controls[0], attacked[0]), ["none"]) == ((), 0)


def test_scatter_leaves_out_what_has_no_harm_and_draws_within_bounds() -> None:
    weak = {"metrics": leakage(0.0, 0.0)}  # below the guess: harm below 0
    cells = [trained("1110"), trained("1100", defense="good"), trained("1100", defense="odd")]
    attacks = [trained(attack="dager", defense=name, **weak) for name in ("none", "good", "odd")]
    attacks[2]["cell"]["metrics"] = leakage(1.0, 1.0, guess=1.0)
    attacks[2]["cell"]["metrics"]["leakage/rouge-l"]["chance"] = 1.0
    rows = rows_of(*cells, *attacks)
    assert [row["harm"]["value"] for row in rows if row["attack"] == "dager"] == [0.0, 0.0, None]
    (panel,) = plots.scatter(rows, ["none", "good", "odd"]).panels
    assert "var(--s1)" in panel.svg
    assert "var(--s2)" not in panel.svg


# What attacks reached while training


def _cells(**fields: Any) -> Content:
    return planted([1, 1, 0, 1], [0, 0, 0, 0], attack="badnets", **fields)


def test_goals_curves_have_a_panel_per_cell_kind_and_a_line_per_name() -> None:
    contents = [_cells(seed=seed) for seed in (0, 1)] + [_cells(defense="krum"), _cells(settings={"a.b": 1}), trained()]
    contents[1]["notes"]["curves"]["without"] = [[0, 0.2], [4, 0.6]]
    found = plots.reached(contents)
    assert found is not None
    assert [(line["number"], line["name"]) for line in found.legend] == [(1, "with the trigger"), (2, "without")]
    titles = [(panel.title, panel.subtitle) for panel in found.panels]
    plain = ("badnets against no defense", "")
    assert titles == [plain, ("badnets against krum", ""), ("badnets against no defense", "b=1")]
    assert "fill-opacity: 0.18" in found.panels[0].svg
    assert "fill-opacity: 0.18" not in found.panels[1].svg
    assert all("trigger" not in panel.svg for panel in found.panels)
    page = Page(render(*scored([trained(), *contents[:-1]])))
    assert "What the attack reached while training" in page.text
    assert "1 with the trigger 2 without" in page.text


@pytest.mark.parametrize("name", HOSTILE)
def test_names_of_curves_are_escaped_and_stay_out_of_the_figure(name: str) -> None:
    content = _cells()
    content["notes"]["curves"] = {name: [[0, 0.5], [1, 0.7]]}
    found = plots.reached([content])
    assert found is not None
    page = Page(render(*scored([trained(), content])))
    plain = Page(render(*scored([trained(), {**_cells(), "notes": {**content["notes"], "curves": {"a": [[0, 0.5]]}}}])))
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in plain.tags}
    if name and len(name) < 1000:
        assert name not in found.panels[0].svg


@pytest.mark.parametrize(
    "curves",
    [
        None,
        [],
        {"a": None},
        {"a": [None, [1], [1, "x"], [True, 0.5], [float("nan"), 0.5], [0, float("inf")], [-1, 0.5], [0, 1.5]]},
        {"a": [[1e300, 0.5]]},
    ],
)
def test_curves_that_are_none_are_passed_over(curves: Any) -> None:
    content = _cells()
    content["notes"]["curves"] = curves
    assert plots.reached([content, {**content, "notes": None}]) is None
    render(*scored([trained(), content]))


def test_many_curves_are_cut_with_a_note() -> None:
    found = plots.reached([_cells(defense=f"d{i}") for i in range(50)])
    assert found is not None
    assert (len(found.panels), found.more) == (48, 2)


def test_many_attacks_have_as_many_figures_as_a_reader_looks_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "_MOST_PANELS", 2)
    attacks = [trained(attack=f"a{i}", curve=[0.2, i / 10], position="client") for i in range(3)]
    found = plots.curves(attacks, ["none"])
    assert ([panel.title for panel in found.panels], found.more) == (["a0", "a1"], 1)
    page = Page(render(*scored([trained(curve=[0.2, 0.9]), *attacks])))
    assert "2 more figures are left out" in page.text


# Whom the rule trusted


def test_trust_skips_rejected_clients_and_puts_the_malicious_first() -> None:
    rounds = [
        round_of(1, [0.0, 1.0], clients=(0, 3, 5), rejected={3: "not finite"}),
        round_of(2, [0.2, 0.6, 0.2], clients=(0, 3, 5)),
        round_of(3, None, clients=(0, 3, 5), skipped="too few"),
    ]
    found = plots.trust(trained(rounds=rounds, malicious=[5]))
    assert found is not None
    assert found["rounds"] == [1, 2]
    assert found["lines"] == [
        (5, True, [("1", 3), ("0.20", 1)]),
        (0, False, [("0", 0), ("0.20", 1)]),
        (3, False, [("·", 0), ("0.60", 3)]),
    ]
    assert found["to_malicious"] == pytest.approx(1.2 / 2)
    assert (found["sums"], found["negative"], found["coordinates"]) == ([], False, False)


def test_trust_is_silent_where_all_weigh_the_same_or_nothing_is_known() -> None:
    assert plots.trust(trained()) is None
    assert plots.trust({"cell": head(status="error")}) is None
    assert plots.trust(trained(rounds=[round_of(1, [1.0, 0.0])])) is None  # two weights for three clients


def test_trust_says_what_it_leaves_out() -> None:
    clients = tuple(range(50))
    rounds = [round_of(r, [float(c == r) for c in clients], clients=clients) for r in range(1, 46)]
    found = plots.trust(trained(rounds=rounds, malicious=[49]))
    assert found is not None
    assert (len(found["rounds"]), found["more_rounds"]) == (30, 15)
    assert (len(found["lines"]), found["more_clients"]) == (40, 10)
    assert found["lines"][0][0] == 49


def test_trust_is_shaded_by_the_share_of_an_equal_one_as_flags_are_counted() -> None:
    """Twenty clients: 0.05 is an equal share, which must not look like nothing."""
    weights = [0.004, 0.006, 0.05, 0.08, 0.21, *[0.65 / 15] * 15]
    found = plots.trust(trained(rounds=[round_of(1, weights, clients=range(20))], malicious=[0]))
    assert found is not None
    levels = [line[2][0] for line in found["lines"]]
    assert levels[:6] == [("<0.01", 0), ("0.01", 1), ("0.05", 2), ("0.08", 3), ("0.21", 4), ("0.04", 2)]


def test_trust_tells_of_weights_that_do_not_sum_to_one_or_take_away() -> None:
    rounds = [round_of(1, [0.1, 0.2, 0.3]), round_of(2, [-0.001, 0.5, 0.501])]
    found = plots.trust(trained(rounds=rounds))
    assert found is not None
    assert (found["sums"], found["negative"]) == (["0.60", "1"], True)
    assert found["lines"][0][2][1] == ("−<0.01", 0)  # noqa: RUF001


def test_trust_says_where_a_rule_has_no_weights() -> None:
    by_coordinate = trained(rounds=[round_of(1, None), round_of(2, None, skipped="too few")])
    assert plots.trust(by_coordinate) == {"coordinates": True}
    assert plots.trust(trained(rounds=[round_of(1, None, skipped="too few")])) is None


@pytest.mark.parametrize("huge", [1e100, -1e100])
def test_trust_stands_any_weight_that_a_file_may_hold(huge: float) -> None:
    found = plots.trust(trained(rounds=[round_of(1, [huge, 0.5, 0.5])]))
    assert found is not None
    assert max(len(text) for _, _, cells in found["lines"] for text, _ in cells) < 10
