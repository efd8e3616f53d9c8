"""What a model writes before and after training, from the scenario to the cell's file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedsec.cell.resources import Resources
from fedsec.cell.score import score
from fedsec.cell.training import train
from fedsec.config.load import load_scenario
from fedsec.plan.cells import expand
from fedsec.plan.keys import cell_key
from fedsec.report.findings import since

ROWS = [{"prompt": f"What of day {n}?", "text": f"Pain on day {n}, and fever"} for n in range(12)]


def _scenario(folder: Path, **evaluation: Any) -> Any:
    for name, rows in (("train", ROWS[:8]), ("test", [*ROWS[8:11], {"prompt": "", "text": "No prompt."}])):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_scenario(
        {
            "schema": 1,
            "name": "test/written",
            "summary": "Does it write?",
            "model": {"name": "tiny-gpt2", "task": "causal-lm", "layers": 1, "width": 16, "dropout": False},
            "data": {"path": str(folder), "columns": {"prompt": "prompt"}, "max_tokens": 48},
            "federation": {"clients": 2, "rounds": 1, "learning_rate": 0.1},
            "evaluation": evaluation,
            "matrix": {"attack": ["none"], "defense": ["none"]},
        }
    )


def _scored(scenario: Any) -> dict[str, Any]:
    (cell,) = expand(scenario)
    return score(cell, train(cell, frozenset(), Resources(), lambda _: None))


def test_what_is_asked_for_is_scored_with_what_was_before(tmp_path: Path) -> None:
    content = _scored(_scenario(tmp_path, generate=4, max_new_tokens=6))
    metrics = content["cell"]["metrics"]
    assert metrics["utility/rouge-l"]["n"] == 3, "the row without a prompt asks for nothing"
    assert metrics["utility/rouge-l"].get("baseline") == metrics["utility/rouge-l-before"]["value"]
    (number, _, loss), *_ = content["curve"]
    assert number == 0
    assert metrics["utility/perplexity-before"]["value"] == pytest.approx(np.exp(loss))
    nll, learned = np.array(content["losses"]).sum(axis=0)
    assert metrics["utility/perplexity"]["value"] == pytest.approx(np.exp(nll / learned))


def test_nothing_is_written_unasked_and_a_result_is_its_settings(tmp_path: Path) -> None:
    plain, asked = _scenario(tmp_path), _scenario(tmp_path, generate=4)
    assert not [name for name in _scored(plain)["cell"]["metrics"] if "rouge" in name or "before" in name]
    assert len({cell_key(cell) for scenario in (plain, asked) for cell in expand(scenario)}) == 2


def test_findings_tell_what_was_before_training_and_what_is_written() -> None:
    ends = {"ci_low": 0.1, "ci_high": 0.3}
    metrics = {
        "utility/perplexity-before": {"value": 20.37, "ci_low": 17.19, "ci_high": 24.32},
        "utility/rouge-l": {"value": 0.22, "baseline": 0.15, **ends},
    }
    told = since(metrics).replace("\u00a0", " ")
    assert told.startswith(", from 20.37 (17.19 to 24.32) before training, and 22 % ROUGE-L of what it writes (10")
    assert told.endswith("before training: 15 %)")
    assert since({}) == ""
