"""docs/examples/gated-federation as its owner uses it: by the action, by pytest, and with a weakened rule."""

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedsec.store import strict_json

from .. import prepared

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / "docs" / "examples" / "gated-federation"
INPUTS = {
    "scenario": "robustness.yaml",
    "baseline": "baselines/our-federation.json",
    "plugins": "attacks:defenses",
}


def _action(repository: Path, *names: str) -> "subprocess.CompletedProcess[str]":
    """Those steps of the action, as GitHub's runner runs them, until one fails; the commands in prepared processes."""
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    inputs = {name: INPUTS.get(name, given.get("default")) for name, given in action["inputs"].items()}
    tools = repository.parent / "tools"
    tools.mkdir(exist_ok=True)
    ask = f'"{sys.executable}" -S -E "{prepared.__file__}" ask "{prepared.prepared()}"'
    python = (
        f'#!/bin/sh\nif [ "$1 $2" = "-m fedsec" ]; then shift 2; exec {ask} "$@"; fi\nexec "{sys.executable}" "$@"\n'
    )
    (tools / "python").write_text(python)
    (tools / "python").chmod(0o755)
    outside = {"PATH": f"{tools}:{os.environ['PATH']}", "GITHUB_STEP_SUMMARY": str(repository.parent / "shown.md")}
    done: Any = None
    for step in action["runs"]["steps"]:
        if step.get("name") in names:
            given = {name: _filled(value, inputs) for name, value in step.get("env", {}).items()}
            variables = {**os.environ, **outside, "FEDSEC_WORKERS": "1", **given}
            command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
            done = subprocess.run(command, cwd=repository, env=variables, capture_output=True, text=True)
            if done.returncode:
                break
    return done


def _filled(value: str, inputs: dict[str, str]) -> str:
    return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: str(inputs[found.group(1)]), value)


class _Seen:
    """What became of tests."""

    def __init__(self) -> None:
        self.outcomes: dict[str, str] = {}
        self.told = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.failed:
            self.outcomes[report.nodeid.split("::")[-1]] = report.outcome
            self.told += report.longreprtext


def _tested(repository: Path) -> _Seen:
    """The repository's own tests, in this process: another pytest would only load torch once more."""
    seen = _Seen()
    without = [
        word
        for name in ("cacheprovider", "timeout", "xdist", "benchmark", "faulthandler")
        for word in ("-p", f"no:{name}")
    ]
    pytest.main(["-q", *without, "--rootdir", str(repository), "-c", str(repository / "pyproject.toml"),
                 "--fedsec-out", str(repository / "runs"), str(repository / "tests")], plugins=[seen])  # fmt: skip
    return seen


def test_pytest_finds_the_plugin() -> None:
    found = {one.name: one.value for one in entry_points(group="pytest11")}
    assert found.get("fedsec") == "fedsec.testing.pytest_plugin", "install fedsec again: pip install --no-deps -e ."


def test_the_plugin_is_light() -> None:
    code = "import sys, fedsec.testing.pytest_plugin, fedsec.testing.regression; sys.exit('numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.timeout(900)  # two trainings' cells, on a machine that may be busy
def test_a_weakened_rule_is_caught_and_a_repaired_one_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "repository"
    shutil.copytree(EXAMPLE, repository, ignore=shutil.ignore_patterns("runs", "__pycache__"))
    monkeypatch.chdir(repository)
    shown = subprocess.run(
        [sys.executable, "-m", "fedsec", "show", "our-rule", "--allow-plugins", "defenses"],
        capture_output=True,
        text=True,
    )
    assert "our-rule (defense)" in shown.stdout, shown.stderr

    done = _action(repository, "Run", "Gate", "Summary and annotations")
    assert done.returncode == 0, done.stdout + done.stderr
    assert strict_json.read(repository / "fedsec-reports" / "gate.json")["outcome"] == "pass"
    assert "our-federation" in (tmp_path / "shown.md").read_text()
    assert set(_tested(repository).outcomes.values()) == {"passed"}

    rule = repository / "defenses" / "our_rule.py"
    sound = rule.read_text()
    removed, added = re.findall(r"^[-+]( +kept = .*)$", (EXAMPLE / "README.md").read_text(), re.MULTILINE)
    assert sound.count(removed) == 1
    rule.write_text(sound.replace(removed, added))
    seen = _tested(repository)
    assert seen.outcomes == {
        "test_our_rule_is_as_robust_as_it_was": "failed",
        "test_the_attack_would_do_harm": "passed",
    }
    assert "failed: utility/next-token-accuracy/backwards/our-rule" in seen.told
    judged = _action(repository, "Gate")
    assert judged.returncode == 10, judged.stdout + judged.stderr
    assert _action(repository, "Summary and annotations").stdout.startswith("::error file=robustness.yaml,line=")

    rule.write_text(sound)
    assert set(_tested(repository).outcomes.values()) == {"passed"}
