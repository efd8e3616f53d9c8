"""The command line as a user meets it: a process of its own, its output and its exit code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ..prepared import fedsec as _fedsec

KINDS = ("attacks", "defenses", "metrics", "scenarios", "models", "datasets")
SMALL = (
    "model={name: tiny-bert, width: 32, dropout: false, tuning: {kind: full}}",
    "data.train=60",
    "data.test=30",
    "federation.rounds=1",
    "federation.local_steps=1",
    "matrix.seed=[0]",
    "matrix.attack=[none]",
    "matrix.defense=[none, krum]",
)


def test_list_names_every_kind_without_torch() -> None:
    code = (
        "import sys; from fedsec.cli.main import app\n"
        "try: app(['list'])\n"
        "except SystemExit as end: sys.exit(end.code or 7 * ('torch' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("embedding-algebra", "dager", "sign-flip", "krum", "frozen-embeddings", "quick/inversion", "minilm"):
        assert name in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("kind", KINDS)
def test_list_json_is_one_array_of_cards(kind: str) -> None:
    cards = json.loads(_fedsec("list", kind, "--json").stdout)
    assert cards
    assert all(card["name"] and card["summary"] for card in cards)


@pytest.mark.parametrize("name", ["dager", "krum", "minilm", "sst2", "utility/accuracy", "quick/byzantine"])
def test_show_prints_a_card(name: str) -> None:
    done = _fedsec("show", name)
    assert done.returncode == 0
    assert name in done.stdout
    assert json.loads(_fedsec("show", name, "--json").stdout)["name"] == name


def test_show_of_an_unknown_name_says_what_to_do() -> None:
    done = _fedsec("show", "krumm")
    assert done.returncode == 2
    assert "krumm" in done.stderr
    assert "fedsec list" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["quick/inversion", "quick/byzantine", "benchmark/sst2-lora"])
def test_shipped_scenarios_are_valid(name: str) -> None:
    done = _fedsec("validate", name)
    assert done.returncode == 0, done.stderr
    assert json.loads(_fedsec("validate", name, "--json").stdout)["valid"]


def test_run_prints_a_table_and_the_next_step_and_progress_goes_to_stderr(tmp_path: Path) -> None:
    arguments = [part for value in SMALL for part in ("--set", value)]
    done = _fedsec("run", "quick/byzantine", *arguments, "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "Report: " in done.stdout
    assert "Next: " in done.stdout
    assert "round 1/1, 12 clients, loss" in done.stderr
    assert "round 1" not in done.stdout
    silent = _fedsec("run", "quick/byzantine", *arguments, "--out", str(tmp_path), "--json", "--display", "none")
    assert silent.stderr == ""
    scorecard = json.loads(silent.stdout)
    again = _fedsec("report", str(tmp_path / "quick" / "byzantine"), "--json")
    assert json.loads(again.stdout) == scorecard


def test_a_wrong_override_and_a_missing_run_are_clear(tmp_path: Path) -> None:
    wrong = _fedsec("run", "quick/byzantine", "--set", "federation.round=3", "--out", str(tmp_path))
    assert wrong.returncode == 2
    assert "federation.rounds" in wrong.stderr
    missing = _fedsec("report", str(tmp_path / "nothing"))
    assert missing.returncode == 2
    assert "is no run" in missing.stderr
    assert not any(tmp_path.iterdir()), "nothing is written for a scenario that is not valid"


def test_no_argument_shows_help_and_an_unknown_verb_is_a_usage_error() -> None:
    assert "Usage" in _fedsec().stdout + _fedsec().stderr
    assert _fedsec("runn").returncode == 2


@pytest.mark.parametrize("value", ["0.1.0", "1"])
def test_a_variable_that_says_which_version_to_install_changes_nothing(value: str) -> None:
    done = _fedsec("list", "models", FEDSEC_VERSION=value)
    assert done.returncode == 0, done.stderr
    assert "minilm" in done.stdout
    assert "FEDSEC_VERSION" not in _fedsec("--help").stdout


def test_missing_data_is_one_message_and_a_usage_error(tmp_path: Path) -> None:
    arguments = [part for value in (*SMALL, "data.name=sst2") for part in ("--set", value)]
    done = _fedsec("run", "quick/byzantine", *arguments, "--out", str(tmp_path), FEDSEC_DATA=str(tmp_path / "nothing"))
    assert done.returncode == 2
    assert done.stderr.count("data set 'sst2' is not on this machine") == 1
    assert "error" not in done.stderr
    assert done.stdout == ""
