"""The report's figures: curves, fronts, and whom the rule trusted."""

from typing import Any

import pytest

from fedsec.report import curves as over_rounds
from fedsec.report.chart import style
from fedsec.report.curves import curves, reached
from fedsec.report.front import fronts_drawn
from fedsec.report.html import render
from fedsec.report.scorecard import build
from fedsec.report.weights import heat_maps, trust

from .support import HOSTILE, Content, Page, head, leakage, not_run, planted, round_of, scored, trained


def test_an_attack_that_only_watches_shares_its_figure() -> None:
    def cells(**fields: Any) -> list[Content]:
        return [
            trained(curve=[0.2, 0.8], **fields),
            trained(curve=[0.2, 0.8], attack="dager", metrics=leakage(0.0, 0.0), **fields),
            trained(curve=[0.2, 0.3], attack="flip", position="client", **fields),
        ]

    panels = curves([*cells(settings={"a.b": 1}), *cells(settings={"a.b": 2})], ["none"]).panels
    assert [(p.title, p.subtitle) for p in panels] == [("no attack, dager", "b=1; b=2"), ("flip", "b=1; b=2")]


def test_curves_start_at_round_zero_and_band_the_seeds() -> None:
    seeds = [trained(curve=[0.2, height], seed=seed) for seed, height in enumerate((0.6, 0.8))]
    (one,), (many,) = (curves(some, ["none"]).panels for some in (seeds[:1], seeds))
    assert ">0</text>" in one.svg
    assert 'class="band' in many.svg
    assert 'class="band' not in one.svg


def test_a_figure_scales_and_follows_the_page() -> None:
    (panel,) = curves([trained()], ["none"]).panels
    assert 'viewBox="0 0 340 230"' in panel.svg
    assert "#" not in panel.svg  # neither colours nor ids of its own
    assert 'class="line c0"' in panel.svg


def test_many_lines_and_missing_cells_still_draw() -> None:
    defenses = [f"d{i}" for i in range(20)]
    contents = [trained(curve=[0.5, 0.5], defense=name) for name in defenses] + [not_run("error", "x", attack="dager")]
    assert len(curves(contents, [*defenses, "none"]).panels) == 1
    assert len({tuple(style(i).items()) for i in range(12)}) == 12


def fronts_of(*contents: Content) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = build("a/b", "0" * 16, contents)["fronts"]
    return found


def test_a_front_rings_what_nothing_beats_and_greys_what_is_clearly_beaten() -> None:
    same: dict[str, Any] = {"attack": "dager"}
    attacked = [
        trained("1" * 150 + "0" * 50, defense=name, metrics=leakage(exact, exact, n=100), **same)
        for name, exact in (("none", 1.0), ("worse", 1.0), ("good", 0.0))
    ]
    rights = (("none", 180), ("worse", 90), ("good", 150))
    controls = [trained("1" * right + "0" * (200 - right), defense=name) for name, right in rights]
    (panel,) = fronts_drawn(fronts_of(*controls, *attacked), ["none", "worse", "good"]).panels
    assert panel.title == "reconstruction, against server"
    assert "hypervolume" in panel.subtitle
    assert panel.svg.count('class="ring"') == 2
    assert "m1 c1 big dominated" in panel.svg
    assert "m0 c0 big dominated" not in panel.svg
    assert panel.svg.count("reach") == 6  # both intervals of each
    assert fronts_drawn(fronts_of(controls[0], attacked[0]), ["none"]).panels == ()


def test_a_front_leaves_out_what_has_no_harm_and_stays_within_bounds() -> None:
    weak = {"metrics": leakage(0.0, 0.0)}  # below the guess: harm below 0
    cells = [trained("1110"), trained("1100", defense="good"), trained("1100", defense="odd")]
    attacks = [trained(attack="dager", defense=name, **weak) for name in ("none", "good", "odd")]
    attacks[2]["cell"]["metrics"] = leakage(1.0, 1.0, guess=1.0)
    attacks[2]["cell"]["metrics"]["leakage/rouge-l"]["chance"] = 1.0
    (panel,) = fronts_drawn(fronts_of(*cells, *attacks), ["none", "good", "odd"]).panels
    assert "m1 c1 big" in panel.svg
    assert "m0 c2 big" not in panel.svg


# What attacks reached while training


def _cells(**fields: Any) -> Content:
    return planted([1, 1, 0, 1], [0, 0, 0, 0], attack="badnets", **fields)


def test_goals_curves_have_a_panel_per_cell_kind_and_a_line_per_name() -> None:
    contents = [_cells(seed=seed) for seed in (0, 1)] + [_cells(defense="krum"), _cells(settings={"a.b": 1}), trained()]
    contents[1]["notes"]["curves"]["without"] = [[0, 0.2], [4, 0.6]]
    found = reached(contents)
    assert found is not None
    assert [(line["number"], line["name"]) for line in found.legend] == [(1, "with the trigger"), (2, "without")]
    titles = [(panel.title, panel.subtitle) for panel in found.panels]
    plain = ("badnets against no defense", "")
    assert titles == [plain, ("badnets against krum", ""), ("badnets against no defense", "b=1")]
    assert 'class="band' in found.panels[0].svg
    assert 'class="band' not in found.panels[1].svg
    assert all("trigger" not in panel.svg for panel in found.panels)
    page = Page(render(*scored([trained(), *contents[:-1]])))
    assert "What the attack reached while training" in page.text
    assert "1 with the trigger 2 without" in page.text


@pytest.mark.parametrize("name", HOSTILE)
def test_names_of_curves_are_escaped_and_stay_out_of_the_figure(name: str) -> None:
    content = _cells()
    content["notes"]["curves"] = {name: [[0, 0.5], [1, 0.7]]}
    found = reached([content])
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
    assert reached([content, {**content, "notes": None}]) is None
    render(*scored([trained(), content]))


def test_many_curves_are_cut_with_a_note() -> None:
    found = reached([_cells(defense=f"d{i}") for i in range(50)])
    assert found is not None
    assert (len(found.panels), found.more) == (48, 2)


def test_many_attacks_have_as_many_figures_as_a_reader_looks_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(over_rounds, "MOST_PANELS", 2)
    attacks = [trained(attack=f"a{i}", curve=[0.2, i / 10], position="client") for i in range(3)]
    found = curves(attacks, ["none"])
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
    found = trust(trained(rounds=rounds, malicious=[5]))
    assert found is not None
    assert found.rounds == (1, 2)
    assert found.lines == ((5, True, (3, 1)), (0, False, (0, 1)), (3, False, (None, 3)))
    assert found.to_malicious == pytest.approx(1.2 / 2)
    assert found.notes == ()


def test_trust_is_silent_where_all_weigh_the_same_or_nothing_is_known() -> None:
    assert trust(trained()) is None
    assert trust({"cell": head(status="error")}) is None
    assert trust(trained(rounds=[round_of(1, [1.0, 0.0])])) is None  # two weights for three clients


def test_trust_says_what_it_leaves_out() -> None:
    clients = tuple(range(60))
    rounds = [round_of(r, [float(c == r) for c in clients], clients=clients) for r in range(1, 116)]
    found = trust(trained(rounds=rounds, malicious=[59]))
    assert found is not None
    assert (len(found.rounds), len(found.lines), found.lines[0][0]) == (100, 48, 59)
    assert found.notes[-2:] == ("15 later rounds are left out.", "12 clients are left out.")


def test_trust_is_shaded_by_the_share_of_an_equal_one_as_flags_are_counted() -> None:
    """Twenty clients: 0.05 is an equal share, which must not look like nothing."""
    weights = [0.004, 0.006, 0.05, 0.08, 0.21, *[0.65 / 15] * 15]
    found = trust(trained(rounds=[round_of(1, weights, clients=range(20))], malicious=[0]))
    assert found is not None
    assert [line[2][0] for line in found.lines][:6] == [0, 1, 2, 3, 4, 2]


def test_trust_tells_of_weights_that_do_not_sum_to_one_or_take_away() -> None:
    rounds = [round_of(1, [0.1, 0.2, 0.3]), round_of(2, [-0.001, 0.5, 0.501])]
    found = trust(trained(rounds=rounds))
    assert found is not None
    assert found.notes == (
        "The weights of a round sum to 0.6 to 1.",
        "Some updates were taken away: a weight below 0.",
    )


def test_a_heat_map_is_of_the_first_seed_and_names_stay_out_of_it() -> None:
    picks = [round_of(r, [float(i == r % 3) for i in range(3)]) for r in range(1, 5)]
    same: dict[str, Any] = {"attack": "<flip>", "defense": "krum", "position": "client", "malicious": [2]}
    flat = trained(defense="median", rounds=[round_of(1, None)])
    found = heat_maps([trained(rounds=picks, seed=seed, **same) for seed in (3, 4)] + [flat, trained()])
    (panel,) = found.panels
    assert (panel.title, found.more, found.coordinates) == ("<flip> against krum, seed 3", 0, ("median",))
    assert panel.notes == ("Malicious clients got 25\u00a0% of all weight.",)
    assert "flip" not in panel.svg
    assert "✗ 2" in panel.svg
    assert panel.svg.count("<path") == 2  # one for each shade, whatever the number of clients and rounds
    assert "No weights: decided coordinate by coordinate" in Page(render(*scored([flat]))).text


@pytest.mark.parametrize("huge", [1e100, -1e100])
def test_trust_stands_any_weight_that_a_file_may_hold(huge: float) -> None:
    (panel,) = heat_maps([trained(rounds=[round_of(1, [huge, 0.5, 0.5])])]).panels
    assert len(panel.svg) < 2000
