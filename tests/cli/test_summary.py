"""The table that a run ends with."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fedsec.cli.summary import _tables, print_result
from fedsec.result import RunResult


def _row(status: str = "ok", **more: Any) -> dict[str, Any]:
    value = {"value": 12.345, "ci_low": 10.0, "ci_high": 15.0, "unit": "perplexity", "n": 3, "better_for": "defender"}
    return {
        "attack": "none", "defense": "[bold]none", "settings": {}, "seeds": 2, "status": status, "reason": None,
        "adaptive": False, "metrics": {"utility/perplexity": value}, "pareto": False, **more,
    }  # fmt: skip


def _value(value: float | None, unit: str = "fraction", **more: Any) -> dict[str, Any]:
    ends = (None, None) if value is None else (value - 0.1, value + 0.1)
    return {"value": value, "ci_low": ends[0], "ci_high": ends[1], "unit": unit, "n": 9 if ends[0] else 0, **more}


def _attacked(goal: str, value: float | None = 0.5, *, acts: bool = False, **metrics: Any) -> dict[str, Any]:
    harm = {"value": value, "ci_low": None, "ci_high": None} if value is not None else {"value": None, "reason": "so"}
    drop = {"robustness/utility-drop": _value(0.25)} if acts else {}
    own = {"utility/accuracy": _value(0.75), **drop, **{name.replace("__", "/"): one for name, one in metrics.items()}}
    return _row(attack=f"by-{goal}", goal=goal, acts=acts, harm=harm, metrics=own)


def _lines(text: str) -> str:
    """The text with table rules and line breaks taken out."""
    return " ".join(text.replace("│", " ").replace("┃", " ").split())


MEMBERSHIP = _attacked("membership", membership__auc=_value(0.987))
MEMBERSHIP["metrics"]["membership/tpr@fpr=0.01"] = _value(0.6)
BACKDOOR = _attacked("backdoor", acts=True)
BACKDOOR["metrics"] |= {f"robustness/{name}": _value(0.5) for name in ("asr-lift", "attack-success-rate")}
BACKDOOR["metrics"]["robustness/untriggered-rate"] = _value(0.2)


def _printed(rows: list[dict[str, Any]], result: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> str:
    card = {"schema": 1, "scenario": "a", "key": "k", "cells": [], "summary": rows, "worst_case": []}
    print_result(RunResult(Path("there"), card, **result), "A question?", ["fedsec", "run", "a file.yaml"])
    return capsys.readouterr().out


def test_errors_and_missing_cells_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    cells = [{"cell": {"status": status}} for status in ("ok", "ok", "error")]
    text = _printed([_row("error", failed=1)], {"cells": cells, "missing": 4}, capsys)
    assert "Next:" not in text
    assert "ERROR in 1 of 3 seeds" in text
    assert "Cells: 1 in error and 4 missing. The same command retries." in text


def test_a_language_models_perplexity_stands_where_accuracy_does(capsys: pytest.CaptureFixture[str]) -> None:
    text = _printed([_row()], {"cells": [], "missing": 0}, capsys)
    assert "12.35 [10, 15]" in text or "12.34 [10, 15]" in text
    assert "accuracy" not in text
    assert "[bold]none" in text, "markup of names is text"
    assert "retries" not in text
    assert text.rstrip().endswith("Next:   fedsec list attacks")


def test_each_goal_has_the_columns_of_its_card(capsys: pytest.CaptureFixture[str]) -> None:
    text = _printed([MEMBERSHIP], {"cells": [], "missing": 0}, capsys)
    assert "AUC of membership" in text
    assert "members found at 1 % false alarms" in text
    assert "0.987 [0.887, 1.087]" in text
    assert "60 % [50, 70]" in text
    assert "75 % [65, 85]" in text
    assert "lost" not in text
    assert "it finds 60 % of the members at 1 % false alarms" in _lines(text)


def test_what_acting_cost_is_told_in_points_where_somebody_acted(capsys: pytest.CaptureFixture[str]) -> None:
    text = _printed([BACKDOOR], {"cells": [], "missing": 0}, capsys)
    assert "lift of the trigger" in text
    assert "accuracy lost" in text
    assert "50 [40, 60]" in text
    assert "25 [15, 35]" in text
    assert "it leaves 75 % accuracy, 25 points below the same training without it" in _lines(text)
    free = _attacked("free-ride", acts=True)
    free["metrics"]["robustness/free-ride-weight"] = _value(0.2)
    text = _printed([free], {"cells": [], "missing": 0}, capsys)
    assert "weight of free-riders" in text
    assert "gets 20 % of the aggregation's weight without training" in _lines(text)


def test_no_value_and_no_harm_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    row = _attacked("membership", None, membership__auc=_value(None))
    text = _lines(_printed([row], {"cells": [], "missing": 0}, capsys))
    assert "no value 75 % [65, 85] harm undefined" in text
    assert "its harm is undefined: so." in text


def test_more_columns_than_fit_make_a_table_per_goal(capsys: pytest.CaptureFixture[str]) -> None:
    control = _row(metrics={"utility/accuracy": _value(0.75)})
    few = _printed([control, MEMBERSHIP], {"cells": [], "missing": 0}, capsys)
    assert few.count("┏") == 1
    many = _printed([control, MEMBERSHIP, BACKDOOR], {"cells": [], "missing": 0}, capsys)
    assert many.count("┏") == 3
    assert "by-membership" in many
    assert many.count("Brackets hold") == 1


def test_a_run_without_rows_has_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert "attack" in _printed([], {"cells": [], "missing": 2}, capsys)


@pytest.mark.parametrize("width", [100, 160])
def test_labels_are_not_broken_where_there_is_room(width: int) -> None:
    long = {"attack": "adaptive(scale=12.5, rounds=3)", "defense": "norm-bound(bound=1.0)+krum"}
    rows = [{**row, **long} for row in (_row(metrics={"utility/accuracy": _value(0.75)}), MEMBERSHIP, BACKDOOR)]
    console = Console(width=width, record=True, file=StringIO())
    for table in _tables(rows, width):
        console.print(table)
    text = console.export_text()
    assert text.count(long["attack"]) == text.count(long["defense"]) == 3
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text


def test_what_a_control_lost_stands_in_its_note(capsys: pytest.CaptureFixture[str]) -> None:
    training = {"dropped": 3, "updates": 8, "dropped_because": "holds NaN", "skipped": 0, "rounds": 2}
    lost = _row(defense="none", training=training, untrained=None)
    text = _lines(_printed([lost], {"cells": [], "missing": 0}, capsys))
    assert "3 of 8 honest updates dropped" in text
    assert "Without an attack (no defense), 3 of 8 honest updates were dropped (the first: holds NaN)" in text
    stuck = _printed([{**lost, "untrained": "the model never moved"}], {"cells": [], "missing": 0}, capsys)
    assert "did not train" in stuck
    assert "Nothing is compared with the undefended model." in _lines(stuck)
