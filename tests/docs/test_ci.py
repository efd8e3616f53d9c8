"""CI files that users take: the action, what `fedsec init --ci` writes, and the example's workflow."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from fedsec.cli.main import app
from fedsec.config.load import load_scenario

ROOT = Path(__file__).parent.parent.parent
ACTION = ROOT / "action.yml"
EXAMPLE = ROOT / "docs/examples/gated-federation/.github/workflows/robustness.yml"
ODD = 'our "odd" #1: {fed}.yaml'


def _init(*words: str) -> Any:
    return CliRunner().invoke(app, ["init", *words])


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository in which both kinds of CI were set up, for a file whose name is hard to quote."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".gitignore").write_text("mine\nruns/")
    assert _init("--ci", ODD).exit_code == 0
    assert _init("--ci", ODD, "--host", "gitlab", "--force").exit_code == 0
    return tmp_path


def _steps(file: Path) -> list[dict[str, Any]]:
    content = yaml.safe_load(file.read_text())
    if "runs" in content:
        return list(content["runs"]["steps"])
    return [step for job in content["jobs"].values() for step in job["steps"]]


def _commands(script: str) -> Iterator[list[str]]:
    for found in re.findall(r"python -m fedsec ([^|)\n]+)", script):
        yield shlex.split(found)


def _known(words: list[str]) -> None:
    """Fail unless the command line has that verb with those options."""
    command: Any = typer.main.get_command(app)
    verb = command.commands[words[0]]
    options = {name for parameter in verb.params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options, words


def test_github_files_are_pinned_and_ask_for_little(started: Path) -> None:
    for file in (ACTION, EXAMPLE, started / ".github/workflows/robustness.yml"):
        content, steps = yaml.safe_load(file.read_text()), _steps(file)
        if "jobs" in content:
            assert content["permissions"] == {"contents": "read"}
            assert all("permissions" not in job and job["timeout-minutes"] <= 60 for job in content["jobs"].values())
            assert "pull_request_target" not in content[True]  # `on`, as YAML 1.1 reads it
        used = [step["uses"] for step in steps if "uses" in step]
        assert used
        assert all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", one) for one in used), used
        assert len(re.findall(r"uses: \S+ # v\d+\.\d+\.\d+$", file.read_text(), re.MULTILINE)) == len(used)
        assert all("${{" not in step.get("run", "") for step in steps), "inputs reach commands as variables only"
        names = [step.get("name") for step in steps]
        for name in ("Gate", "Summary and annotations", "Keep the reports"):  # whatever failed before
            assert steps[names.index(name)]["if"] == "${{ !cancelled() }}"
        commands = [words for step in steps for words in _commands(step.get("run", ""))]
        assert {"run", "gate"} <= {words[0] for words in commands}
        for words in commands:
            _known(words)


def test_the_gitlab_job_keeps_its_reports(started: Path) -> None:
    job = yaml.safe_load((started / ".gitlab-ci.yml").read_text())["robustness"]
    assert job["variables"]["SCENARIO"] == ODD
    assert job["artifacts"]["when"] == "always"
    assert job["artifacts"]["reports"] == {"junit": "fedsec-reports/junit.xml", "metrics": "fedsec-reports/metrics.txt"}
    commands = [words for script in job["script"] for words in _commands(script)]
    assert [words[0] for words in commands] == ["run", "gate"]
    for words in commands:
        _known(words)


def test_the_page_shows_the_gitlab_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert _init("--ci", "--host", "gitlab").exit_code == 0
    assert (
        f"```yaml .gitlab-ci.yml\n{(tmp_path / '.gitlab-ci.yml').read_text()}```" in (ROOT / "docs/ci.md").read_text()
    )


def test_variables_are_those_that_fedsec_reads(started: Path) -> None:
    known = {
        name
        for command in typer.main.get_command(app).commands.values()  # type: ignore[attr-defined]
        for parameter in command.params
        for name in ([parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar or [])
    }
    files = (ACTION, EXAMPLE, started / ".github/workflows/robustness.yml", started / ".gitlab-ci.yml")
    named = {name for file in files for name in re.findall(r"^ *(FEDSEC_\w+):", file.read_text(), re.MULTILINE)}
    assert {"FEDSEC_BASELINE", "FEDSEC_FILES"} <= named <= known


def test_init_ci_writes_what_runs_as_it_stands(started: Path) -> None:
    scenario: Any = load_scenario(started / ODD)
    assert scenario.name == "our-odd-1-fed"
    assert len(scenario.gate) == 2
    workflow = yaml.safe_load((started / ".github/workflows/robustness.yml").read_text())
    variables = workflow["jobs"]["gate"]["env"]
    assert variables["SCENARIO"] == ODD
    assert variables["RUN"] == f"runs/{scenario.name}"
    assert variables["FEDSEC_BASELINE"] == f"baselines/{scenario.name}.json"
    assert (started / ".gitignore").read_text() == "mine\nruns/\nfedsec-reports/\n"
    assert json.dumps(ODD) in (started / ".gitlab-ci.yml").read_text()


def test_init_ci_overwrites_nothing_and_stays_in_the_repository(started: Path) -> None:
    before = (started / ".gitlab-ci.yml").read_text()
    done = _init("--ci", "new.yaml", "--host", "gitlab")
    assert ".gitlab-ci.yml exists; add the job by hand" in str(done.exception)
    assert (started / ".gitlab-ci.yml").read_text() == before
    assert not (started / "new.yaml").exists()
    assert "top of the repository" in str(_init("--ci", "../new.yaml").exception)
