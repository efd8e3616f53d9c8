"""Tolerances below what a sample can resolve are named, before anything ran and after."""

from pathlib import Path
from typing import Any

from fedsec.config.load import load_scenario
from fedsec.gate.power import unresolved
from fedsec.plan.tasks import members
from fedsec.result import read

from .support import SCENARIO, made

RULE = {"metric": "utility/accuracy", "attack": "none", "defense": "none"}


def _loaded(tolerance: float, test: int = 30) -> Any:
    data = {**SCENARIO["data"], "test": test}
    return load_scenario({**SCENARIO, "data": data, "gate": [{**RULE, "tolerance": tolerance}]})


def test_a_tolerance_is_held_against_the_test_rows_before_anything_ran() -> None:
    small, large = _loaded(0.05), _loaded(0.05, test=2000)
    said = list(unresolved(small, {"cells": []}, []))
    assert len(said) == 1
    assert "gate[0] utility/accuracy/none/none: tolerance 0.05 is below what 5 seeds resolve" in said[0]
    assert list(unresolved(large, {"cells": []}, [])) == []


def test_one_seed_is_said_to_show_nothing_of_others() -> None:
    scenario = {**SCENARIO, "matrix": {**SCENARIO["matrix"], "seed": [0]}, "gate": [{**RULE, "tolerance": 0.9}]}
    said = list(unresolved(load_scenario(scenario), {"cells": []}, []))
    assert [one.startswith("gate[0] utility/accuracy/none/none: with one seed") for one in said] == [True]


def test_what_ran_tells_more_than_the_scenario(tmp_path: Path) -> None:
    run = made(tmp_path, scenario={"gate": [{**RULE, "tolerance": 0.2}]})
    result, _ = read(run)
    loaded = _loaded(0.2)
    keys = {
        task.key: content["key"] for task, content in zip(next(iter(members(loaded))).tasks, result.cells, strict=True)
    }
    contents = [{**content, "key": key} for key, content in zip(keys, result.cells, strict=True)]
    assert list(unresolved(loaded, {"cells": []}, [])) != []  # 30 rows
    assert list(unresolved(loaded, result.scorecard, contents)) == []  # 200 rows
