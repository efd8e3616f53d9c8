"""Where attacks stop, along what the scenario varies."""

from typing import Any

from fedsec.report import scorecard
from fedsec.report.html import render
from fedsec.report.phase import BATCH, phases

from .support import Content, leakage, membership, nothing, trained

HOSTILE = "<script>alert(1)</script>"


def _reads(exact: float, **fields: Any) -> Content:
    content = trained(attack="dager", position="server", metrics=leakage(exact, exact), **fields)
    metrics = content["cell"]["metrics"]
    metrics["leakage/token-recall"] = metrics["leakage/rouge-l"]
    return content


def _of_batch(size: int, exact: float, **about: Any) -> Content:
    content = _reads(exact, settings={BATCH: size})
    return {**content, "attacked": {"tokens": [12 * size, 10 * size], "width": 384, "rank": None, **about}}


def _noisy(sigma: float, exact: float, defense: str = "gaussian-noise") -> Content:
    stack = [{"name": defense, "params": {"sigma": sigma, "relative": True}}]
    return _reads(exact, defense=f"{defense}(sigma={sigma})", defense_stack=stack)


def _found(contents: list[Content]) -> list[Any]:
    return phases(scorecard.build("name", "key", contents)["summary"], contents)


def test_batches_stand_at_their_tokens_and_the_hidden_size_is_marked() -> None:
    (phase,) = _found([_of_batch(size, 1.0) for size in (1, 4, 16)])
    assert (phase.attack, phase.across) == ("dager", "tokens of an update's texts")
    assert phase.marks == ("tokens = hidden size (384)",)
    assert [line.name for line in phase.lines] == ["no defense"]
    assert phase.heights == ("texts read exactly", "tokens of the texts read")
    assert len(phase.svgs) == 2


def test_the_lora_rank_is_marked_too_and_first_where_it_is_smaller() -> None:
    (phase,) = _found([_of_batch(size, 1.0, rank=8) for size in (1, 4, 16)])
    assert phase.marks == ("tokens = LoRA rank (8)", "tokens = hidden size (384)")


def test_a_defense_parameter_is_an_axis_and_strengths_share_a_line() -> None:
    (phase,) = _found([_noisy(sigma, exact) for sigma, exact in ((1e-6, 1.0), (1e-4, 0.5), (1e-2, 0.0))])
    assert phase.across == "gaussian-noise: sigma"
    assert [line.name for line in phase.lines] == ["gaussian-noise(relative=True)"]
    assert phase.marks == ()
    assert all(svg.count("h0") >= 3 for svg in phase.svgs)  # a marker for each strength


def test_what_is_no_share_has_no_curve() -> None:
    """Rounds of life, say, which stand in the table."""
    contents = [_of_batch(size, 1.0) for size in (1, 4, 16)]
    for content in contents:
        content["cell"]["metrics"]["leakage/token-recall"] = {**nothing("rounds"), "value": 5.0, "n": 3}
    (phase,) = _found(contents)
    assert phase.heights == ("texts read exactly",)


def test_two_values_make_no_figure_and_controls_none() -> None:
    assert _found([_noisy(1e-6, 1.0), _noisy(1e-4, 0.5)]) == []
    assert _found([trained(settings={BATCH: size}) for size in (1, 4, 16)]) == []


def test_without_tokens_of_every_batch_the_axis_is_the_batch_size() -> None:
    contents = [_of_batch(size, 1.0) for size in (1, 4)] + [_reads(1.0, settings={BATCH: 16})]
    (phase,) = _found(contents)
    assert phase.across == BATCH
    assert phase.marks == ()


def test_names_stay_out_of_figures_and_are_escaped_in_the_page() -> None:
    contents = [_noisy(sigma, 1.0, HOSTILE) for sigma in (1e-6, 1e-4, 1e-2)]
    (phase,) = _found(contents)
    assert all(HOSTILE not in svg and "script" not in svg for svg in phase.svgs)
    page = render({}, scorecard.build("name", "key", contents), contents)
    assert HOSTILE not in page
    assert "Where attacks stop" in page


def test_the_same_rows_give_the_same_figures() -> None:
    contents = [_of_batch(size, 1.0) for size in (1, 4, 16)]
    assert _found(contents) == _found(contents)


def _tells(epsilon: float, auc: float, **fields: Any) -> Content:
    stack = [{"name": "dp", "params": {"epsilon": epsilon}}]
    defense = {"defense": f"dp(epsilon={epsilon})", "defense_stack": stack}
    return trained(attack="loss", goal="membership", **{"metrics": membership(auc), **defense, **fields})


def test_every_goal_that_asks_after_training_has_its_own_heights() -> None:
    contents = [_tells(epsilon, auc) for epsilon, auc in ((1.0, 0.5), (8.0, 0.7), (50.0, 0.99))]
    (phase,) = _found(contents)
    assert phase.heights == ("AUC of membership", "members found at 1 % false alarms", "AUC of the blind attack")
    assert ">0.5</text>" in phase.svgs[0].replace(" </text>", "</text>")  # an AUC is no percentage
    assert "%" in phase.svgs[1]
    assert all("AUC" not in svg for svg in phase.svgs), "names stand beside figures"


def test_goals_that_ask_nothing_and_rows_without_a_value_make_no_figure() -> None:
    flips = [trained(attack="flip", position="client", settings={BATCH: size}) for size in (1, 4, 16)]
    assert _found([*(trained(settings={BATCH: size}) for size in (1, 4, 16)), *flips]) == []
    empty = {name: nothing() for name in membership(0.5)}
    assert _found([_tells(epsilon, 0.5, metrics=empty) for epsilon in (1.0, 8.0, 50.0)]) == []


def test_settings_that_nobody_chose_make_no_figure() -> None:
    assert _found([_noisy(sigma, 1.0) for sigma in (1e308, -1e308, 0.0)]) == []
    assert _found([_noisy(sigma, 1.0) for sigma in (float("inf"), float("nan"), 0.0)]) == []
