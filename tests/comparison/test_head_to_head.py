"""Defenses side by side: the worst case for each goal, ranks that intervals allow, prices, guarantees, fronts."""

import json
from typing import Any

import pytest

from fedsec.cli.side_by_side import head_to_head_tables
from fedsec.comparison.groups import Group, controls_of
from fedsec.comparison.head_to_head import head_to_head
from fedsec.comparison.panels import panels
from fedsec.report.defended import defended
from fedsec.report.scorecard import build, without_timings

from ..report.support import Content, cost, free_ride, leakage, membership, not_run, planted, trained

GOAL = "membership"


def bits(right: int, of: int = 400) -> str:
    return "1" * right + "0" * (of - right)


def tells(auc: float | None, defense: str = "none", attack: str = "listener", **fields: Any) -> Content:
    more: dict[str, Any] = {"goal": GOAL, "position": "released-model", **fields}
    metrics = membership(0.5 if auc is None else auc)
    if auc is None:
        metrics = {name: {**one, "value": None, "n": 0} for name, one in metrics.items()}
    return trained(bits(320), attack=attack, defense=defense, metrics=metrics, **more)


def table(*cells: Content) -> dict[str, Any]:
    """Entries by defense."""
    return {entry["defense"]: entry for entry in scorecard(*cells)["head_to_head"]}


def scorecard(*cells: Content) -> dict[str, Any]:
    card = build("a/b", "0" * 16, cells)
    json.dumps(card, allow_nan=False)
    return card


def controls(**rights: int) -> list[Content]:
    return [trained(bits(right), defense=name.replace("_", "-")) for name, right in rights.items()]


def goals(entries: dict[str, Any], goal: str = GOAL) -> dict[str, Any]:
    return {name: entry["goals"][goal] for name, entry in entries.items()}


def said(*cells: Content) -> str:
    return "\n".join(defended(scorecard(*cells)["head_to_head"])).replace("\u00a0", " ")


def test_the_worst_attack_counts_and_ranks_go_by_separated_intervals() -> None:
    cells = controls(none=330, a=320, b=320, c=300)
    for defense, aucs in {"none": (0.95, 0.9), "a": (0.7, 0.9), "b": (0.88, 0.6), "c": (0.55, 0.52)}.items():
        cells += [tells(auc, defense, name) for name, auc in zip(("x", "y"), aucs, strict=True)]
    found = table(*cells)
    worst = goals(found)
    assert {name: one["attack"] for name, one in worst.items()} == {"none": "x", "a": "y", "b": "x", "c": "x"}
    assert worst["a"]["harm"]["value"] == pytest.approx(0.8)
    assert worst["a"]["metric"]["name"] == "membership/auc"
    assert worst["a"]["metric"]["value"] == 0.9
    assert {name: one["rank"] for name, one in worst.items()} == {"c": 1, "a": 2, "b": 2, "none": 2}
    assert worst["a"]["rivals"] == ["none", "b"]
    assert [entry["rank"] for entry in found.values()] == [2, 2, 2, 1]
    assert worst["none"]["alike"] == ["y"]
    assert worst["b"]["alike"] == []
    assert worst["b"]["compared"] == 2
    assert found["c"]["worst"]["goal"] == GOAL
    words = said(*cells)
    assert "1. c; 2. b, a and no defense, not told apart from their neighbours, though b has less than" in words
    assert "best" not in words
    assert "No defense: x does 90 % of the possible harm" in words


def test_a_noisy_attack_widens_where_the_worst_case_lies() -> None:
    wide = tells(0.6, "a", "y", status="ok")
    wide["cell"]["metrics"]["membership/auc"] |= {"ci_low": 0.3, "ci_high": 0.9}
    cells = [*controls(none=330, a=320), tells(0.85), tells(0.84, "none", "y"), tells(0.65, "a"), wide]
    found = goals(table(*cells))
    assert found["a"]["attack"] == "listener"
    assert found["a"]["harm"]["ci_high"] < found["none"]["harm"]["ci_low"], "by the worst attacks alone they separate"
    assert found["a"]["ranked_by"][1] == pytest.approx(0.8)
    assert found["a"]["rank"] == found["none"]["rank"] == 1


BLOCKED = {"status": "blocked", "reason": "hidden"}


@pytest.mark.parametrize(
    ("cell", "status", "why"),
    [
        (tells(0.5, "a", **BLOCKED), "blocked", "no attack on what stays visible was run"),
        (tells(None, "a"), "undefined", "its harm is undefined: nothing could count for membership/auc"),
        (tells(0.7, "a", status="budget", reason="2 of 9"), "budget", "time was over: 2 of 9"),
        (not_run("error", "boom", attack="listener", defense="a", goal=GOAL), "error", "it has no result: boom"),
        (not_run("n/a", "no", attack="listener", defense="a", goal=GOAL), "n/a", "it does not apply: no"),
        (None, "missing", "it has no result"),
    ],
    ids=["blocked", "undefined", "budget", "error", "n/a", "missing"],
)
def test_what_is_no_whole_result_is_not_ranked(cell: Content | None, status: str, why: str) -> None:
    cells = [*controls(none=330, a=320, b=320), tells(0.9), tells(0.6, "b"), *([cell] if cell else [])]
    found = goals(table(*cells))
    assert (found["a"]["status"], found["a"]["rank"], found["a"]["unranked"]) == (status, None, why)
    assert {name: one["rank"] for name, one in found.items()} == {"none": 2, "a": None, "b": 1}
    assert table(*cells)["a"]["unranked"] == f"{GOAL}: {why}"
    assert found["a"]["versus_none"] is None
    lead = "Not ranked by the most harm that somebody does who wants to tell whose records were trained on"
    assert f"{lead}: a ({why.removesuffix(': no')})" in said(*cells)


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (not_run("error", "boom", attack="y", defense="a", goal=GOAL), "y has no whole result"),
        (tells(None, "a", "y"), "y has no whole result"),
        (tells(0.52, "a", "y", status="budget", reason="2 of 9"), "y has no whole result"),
        (not_run("n/a", "changes nothing", attack="y", defense="a", goal=GOAL), "y does not apply to it"),
        (tells(0.5, "a", "y", **BLOCKED), None),
    ],
    ids=["error", "undefined", "budget", "n/a", "blocked"],
)
def test_a_hole_where_others_have_a_figure_leaves_no_rank(second: Content, why: str | None) -> None:
    """A defense that one attack never tried, or for which it changes nothing, is not better for that."""
    cells = [*controls(none=330, a=320), tells(0.9), tells(0.99, "none", "y"), tells(0.6, "a"), second]
    found = goals(table(*cells))["a"]
    assert (found["status"], found["attack"], found["unranked"]) == ("ok", "listener", why or found["unranked"])
    assert (found["rank"] is None) == (why is not None)
    assert found["unknown"] == (["y"] if why and "whole" in why else [])


def test_an_attack_that_failed_in_one_place_is_named_with_it() -> None:
    def at(size: int, *cells: Content) -> list[Content]:
        return [{**one, "cell": {**one["cell"], "settings": {"federation.batch_size": size}}} for one in cells]

    cells = [*controls(none=330, a=320), tells(0.9), tells(0.6, "a")]
    failed = not_run("error", "boom", attack="listener", defense="a", goal=GOAL)
    found = goals(table(*at(1, *cells), *at(8, *cells[:3], failed)))["a"]
    assert found["unknown"] == ["listener (batch_size=8)"]
    assert found["unranked"] == "listener has no whole result"


def test_an_attack_that_fails_against_everybody_ranks_nobody_down() -> None:
    cells = [*controls(none=330, a=320), tells(0.9), tells(0.6, "a")]
    cells += [not_run("error", "boom", attack="y", defense=name, goal=GOAL) for name in ("none", "a")]
    found = goals(table(*cells))
    assert {name: one["rank"] for name, one in found.items()} == {"none": 2, "a": 1}
    assert found["a"]["unknown"] == ["y"]
    assert "it may be more, as y has no whole result" in said(*cells)


@pytest.mark.parametrize(("none", "a", "why"), [(330, 40, "the model did not"), (40, 330, "the undefended model did")])
def test_nothing_is_ranked_against_a_control_that_did_not_learn(none: int, a: int, why: str) -> None:
    cells = [*controls(none=none, a=a, b=330), tells(0.9), tells(0.6, "a"), tells(0.7, "b")]
    found = table(*cells)
    assert str(goals(found)["a"]["unranked"]).startswith(why)
    assert found["a"]["rank"] is None
    assert (found["b"]["rank"] is None) == (none == 40)
    if none == 40:
        assert found["b"]["utility_cost"] == {"value": None, "reason": "the undefended model did not learn"}
        assert "its price is unknown: the undefended model did not learn" in said(*cells)
    else:
        assert found["a"]["learned"] is False
        assert "with a model that did not learn" in said(*cells)


def test_over_goals_only_those_rank_that_rank_in_each() -> None:
    hits, base = [1] * 90 + [0] * 10, [0] * 100

    def plants(defense: str, success: list[int]) -> Content:
        return planted(success, base, bits(320), attack="badnets", defense=defense)

    cells = [*controls(none=330, a=320, b=320), tells(0.9), tells(0.6, "a"), tells(0.6, "b")]
    cells += [
        plants("none", hits),
        plants("a", base),
        not_run("n/a", "no", attack="badnets", defense="b", goal="backdoor"),
    ]
    found = table(*cells)
    assert [found[name]["rank"] for name in ("none", "a", "b")] == [2, 1, None]
    assert found["b"]["unranked"] == "backdoor: it does not apply: no"
    assert goals(found)["b"]["rank"] == 1
    assert found["none"]["worst"]["goal"] == "backdoor"
    assert "badnets, which wants to plant a backdoor, does" in said(*cells)
    assert "not told apart from listener (membership)" in said(*cells)


def test_a_goal_without_a_harm_is_no_rank() -> None:
    rides = [
        trained(bits(320), attack="lazy", goal="free-ride", position="client", defense=name, metrics=free_ride(weight))
        for name, weight in (("none", 0.2), ("a", None))
    ]
    found = goals(table(*controls(none=330, a=320), *rides), "free-ride")
    assert found["a"]["status"] == "undefined"
    assert {name: one["unranked"] for name, one in found.items()}["none"] == "nothing to rank it with"


def test_the_price_is_paired_and_the_worst_settings_count() -> None:
    def both(setting: int, none: str, own: str) -> list[Content]:
        same = {"settings": {"federation.batch_size": setting}}
        return [trained(none, **same), trained(own, defense="a", **same)]

    cells = [*both(1, bits(330), bits(320)), *both(8, bits(330), bits(290))]
    price = table(*cells)["a"]["utility_cost"]
    assert price["value"] == pytest.approx(0.1)
    assert price["settings"] == {"federation.batch_size": 8}
    assert price["metric"] == "utility/accuracy"
    assert price["ci_high"] - price["ci_low"] < 0.07, "paired by row: the two rates' own intervals are 0.08 wide each"
    assert price["n"] == 400
    assert table(*cells)["none"]["utility_cost"] is None
    shuffled = [trained(bits(330)), trained(bits(290)[::-1], defense="a")]
    apart = table(*shuffled)["a"]["utility_cost"]
    assert apart["value"] == pytest.approx(0.1)
    assert apart["ci_high"] - apart["ci_low"] > 0.1, "answers that differ row by row leave more open"


def test_bytes_and_seconds_stand_beside_those_without_a_defense() -> None:
    slow = {"cost/seconds-per-round": cost(1.0, "seconds"), "cost/upload-bytes": cost(9.1e7, "bytes")}
    cells = [trained(bits(330)), trained(bits(330), defense="a", metrics=slow)]
    found = table(*cells)
    assert found["a"]["seconds_per_round"] == {"value": 1.0, "none": 0.25, "ratio": 4.0, "scenario": None}
    assert found["a"]["upload_bytes"]["ratio"] == 1.0
    assert found["a"]["download_bytes"] is None
    stripped = without_timings(scorecard(*cells))["head_to_head"]
    assert all("seconds_per_round" not in entry and "upload_bytes" in entry for entry in stripped)


def test_the_difference_to_none_is_paired_over_seeds() -> None:
    cells = [trained(bits(330), defense=name, seed=seed) for name in ("none", "a") for seed in range(3)]
    for seed, auc in enumerate((0.8, 0.85, 0.9)):
        cells += [tells(auc, seed=seed), tells(auc - 0.1, "a", seed=seed)]
    found = goals(table(*cells))["a"]["versus_none"]
    assert found["value"] == pytest.approx(-0.2)
    assert (found["method"], found["n"]) == ("t-pairs", 3)
    assert goals(table(*cells))["none"]["versus_none"] is None
    one = [*controls(none=330, a=320), tells(0.9), tells(0.6, "a")]
    assert goals(table(*one))["a"]["versus_none"]["method"] == "newcombe"


DP = {
    "kind": "differential-privacy", "epsilon": 4.0, "delta": 1e-5, "unit": "record", "sampling": "poisson",
    "accountant": "prv", "against": ["released-model", "server"], "assumes": "x", "void": [],
}  # fmt: skip


def promise(**changes: Any) -> dict[str, Any]:
    return {"guarantee": {**DP, **changes}}


def test_guarantees_come_from_cells_and_the_weakest_counts() -> None:
    proof = {"guarantee": {"kind": "robustness", "assumes": "n > 2f"}}
    cells = [trained(bits(330)), trained(bits(330), defense="dp", seed=0, **promise())]
    cells += [
        trained(bits(330), defense="dp", seed=1, **promise(epsilon=4.5)),
        trained(bits(330), defense="krum", **proof),
    ]
    cells += [tells(0.6, "krum", **proof), trained(bits(330), defense="median", **proof), tells(0.6, "median")]
    found = table(*cells)
    assert [one["guarantee"]["epsilon"] for one in found["dp"]["guarantees"]] == [4.5]
    assert [one["guarantee"]["kind"] for one in found["krum"]["guarantees"]] == ["robustness"]
    assert found["median"]["guarantees"] == [], "an attack breaks what its proof assumes"
    assert found["none"]["guarantees"] == []
    words = said(*cells)
    assert "it promises epsilon 4.50 for each record" in words
    assert "it promises robustness" in words
    assert "it promises nothing" in words


@pytest.mark.parametrize("odd", [{"epsilon": 1.0}, {"epsilon": 1.0, "against": 7, "unit": []}, {"epsilon": "8"}, {}])
def test_whatever_a_file_promises_is_no_crash(odd: dict[str, Any]) -> None:
    cells = [
        *controls(none=330),
        trained(bits(320), defense="a", guarantee=odd),
        tells(0.9),
        tells(0.6, "a", guarantee=odd),
    ]
    assert [front["unit"] for front in scorecard(*cells)["fronts"]] == [None]
    assert "a: listener does" in said(*cells)
    assert head_to_head_tables(scorecard(*cells)["head_to_head"], 100)


def test_units_of_epsilon_never_share_a_front() -> None:
    cells = controls(none=330, noise=300, record=310, client=280, elsewhere=305)
    more = {
        "none": {}, "noise": {}, "record": promise(), "client": promise(unit="client"),
        "elsewhere": promise(against=["server"]),
    }  # fmt: skip
    aucs = {"none": 0.95, "noise": 0.9, "record": 0.6, "client": 0.55, "elsewhere": 0.7}
    cells += [tells(auc, name, **more[name]) for name, auc in aucs.items()]
    fronts = scorecard(*cells)["fronts"]
    shown = {front["unit"]: {point["defense"]: point["epsilon"] for point in front["points"]} for front in fronts}
    others = {"none": None, "noise": None, "elsewhere": None}  # whose epsilon does not bind this adversary
    assert shown == {"record": {**others, "record": 4.0}, "client": {**others, "client": 4.0}}
    assert {front["against"] for front in fronts} == {"released-model"}


def test_a_front_marks_its_points_and_measures_its_area() -> None:
    cells = controls(none=380, a=340, b=330, ruined=40, hidden=380)
    cells += [tells(auc, name) for name, auc in {"none": 0.95, "a": 0.6, "b": 0.9, "ruined": 0.5}.items()]
    cells.append(tells(0.5, "hidden", **BLOCKED))
    (front,) = scorecard(*cells)["fronts"]
    marks = {one["defense"]: (one["status"], one["front"], one["dominated"]) for one in front["points"]}
    assert marks == {
        "none": ("ok", True, False),
        "a": ("ok", True, False),
        "b": ("ok", False, True),
        "hidden": ("blocked", None, None),
    }, "what did not learn has no point, and blocked cells rank nothing"
    assert front["reference"] == {"utility": pytest.approx(0.1), "harm": 1.0}
    area = (0.95 - 0.1) * (1 - 0.9) + (0.85 - 0.1) * (0.9 - 0.2)
    assert front["hypervolume"] == pytest.approx(area / 0.9)
    found = table(*cells)
    assert [found[name]["pareto"] for name in ("none", "a", "b", "ruined", "hidden")] == [True, True, False, None, None]


@pytest.mark.parametrize("hole", [[], [not_run("n/a", "changes nothing", attack="y", defense="a", goal=GOAL)]])
def test_who_did_not_face_an_attack_that_others_did_has_no_point(hole: list[Content]) -> None:
    cells = [*controls(none=330, a=331, b=320), tells(0.6), tells(0.95, "none", "y"), tells(0.55, "a"), *hole]
    cells += [tells(0.55, "b"), tells(0.7, "b", "y")]
    (front,) = scorecard(*cells)["fronts"]
    assert [(one["defense"], one["front"]) for one in front["points"]] == [("none", True), ("b", True)]


def test_attacks_of_another_goal_that_may_do_as_much_are_named() -> None:
    """Not that goal's worst alone: a rarer figure of less harm may reach higher."""
    none, entry = table(*controls(none=330, a=320), tells(0.9), tells(0.9, "a")).values()
    rival = {**entry["goals"][GOAL], "alike": [], "at_most": {"y1": 0.31, "y2": 0.75, "y3": None}}
    told = list(defended([none, {**entry, "goals": {**entry["goals"], "backdoor": rival}}]))
    assert any("it is not told apart from y2 (backdoor) and y3 (backdoor)" in one for one in told)


def test_dominance_within_chance_is_no_dominance() -> None:
    cells = [*controls(none=330, a=331), tells(0.9), tells(0.89, "a")]
    (front,) = scorecard(*cells)["fronts"]
    assert [(one["front"], one["dominated"]) for one in front["points"]] == [(False, False), (True, False)]


def test_members_of_a_suite_are_held_together_by_resolved_stacks() -> None:
    """Rows of a suite say which member they are of; a label may differ where the resolved stack does not."""

    def of(member: str, *cells: Content) -> list[Content]:
        return [{**one, "cell": {**one["cell"], "scenario": member}} for one in cells]

    first = of("s/one", *controls(none=330, a=320), tells(0.9), tells(0.6, "a"))
    reads = [
        trained(bits(300), attack="dager", defense=d, metrics=leakage(h, h)) for d, h in (("none", 1.0), ("a", 0.0))
    ]
    second = of("s/two", *controls(none=380, a=290), *reads)
    groups = []
    for member, cells in (("s/one", first), ("s/two", second)):
        card = build(member, "k", cells)
        rows = [{**row, "scenario": member} for row in card["summary"]]
        groups += [Group(row, [cell], [one]) for row, cell, one in zip(rows, card["cells"], cells, strict=True)]
    fronts = panels(groups, controls_of(groups))
    none, own = head_to_head(groups, fronts)
    assert [front["scenario"] for front in fronts] == ["s/one", "s/two"]
    assert own["goals"]["membership"]["scenario"] == "s/one"
    assert own["goals"]["reconstruction"]["scenario"] == "s/two"
    assert own["utility_cost"]["scenario"] == "s/two"
    assert own["utility_cost"]["value"] == pytest.approx(90 / 400)
    assert (none["rank"], own["rank"]) == (2, 1)
    assert none["worst"]["goal"] == "reconstruction"


def test_a_chain_of_overlaps_is_no_rank_and_says_who_is_told_apart() -> None:
    cells = [*controls(none=330, a=320, b=320), tells(0.8), tells(0.77, "a"), tells(0.74, "b")]
    cells[3:] = [{**one, "cell": {**one["cell"], "metrics": _narrow(one)}} for one in cells[3:]]
    assert {name: one["rank"] for name, one in goals(table(*cells)).items()} == {"none": 1, "a": 1, "b": 1}
    ending = ": b, a and no defense, not told apart from their neighbours, though b has less than no defense."
    assert ending in said(*cells)


def _narrow(content: Content) -> dict[str, Any]:
    metrics: dict[str, Any] = content["cell"]["metrics"]
    value = metrics["membership/auc"]["value"]
    return {**metrics, "membership/auc": {**metrics["membership/auc"], "ci_low": value - 0.02, "ci_high": value + 0.02}}


def test_defenses_that_no_adaptive_attack_faced_are_marked() -> None:
    cells = [*controls(none=330, a=320, b=320), tells(0.9), tells(0.6, "a", adaptive=True), tells(0.6, "b")]
    found = table(*cells)
    assert [found[name]["adaptive"] for name in ("a", "b")] == [True, False]
    assert goals(found)["a"]["adaptive"]
    words = said(*cells)
    assert "it faced an attack that knows it" in words.split("\na: ")[1].split("\n")[0]
    assert "no attack that it faced knows it" in words.split("\nb: ")[1].split("\n")[0]


def test_one_defense_alone_is_told_nothing_about() -> None:
    assert said(trained(bits(330)), tells(0.9)) == ""
