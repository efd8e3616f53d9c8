"""plan, runs, doctor, init, and what holds for every verb: variables, help, speed, pipes."""

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from fedsec.cli import checks
from fedsec.cli.checks import Finding, Grade
from fedsec.cli.main import app
from fedsec.config.load import load_scenario
from fedsec.plan.estimate import Speed
from fedsec.plan.tasks import tasks_of
from fedsec.runner.machine import Machine
from fedsec.runner.preview import preview

from ..prepared import Command
from ..prepared import fedsec as _fedsec

CALL = [sys.executable, "-m", "fedsec.cli.main"]
MATRIX = (
    "matrix.attack=[none, sign-flip, {name: sign-flip, scale: 10}]",
    "matrix.defense=[none, krum]",
)
TINY = (
    "model={name: tiny-bert, width: 16, layers: 1, dropout: false}",
    "data.train=60",
    "data.test=30",
    "federation.rounds=1",
    "federation.local_steps=1",
    "matrix.seed=[0]",
    *MATRIX,
)


def _verbs(command: Any, above: str = "") -> dict[str, Any]:
    """Every verb by its words, those of a group such as `baseline bless` too."""
    found: dict[str, Any] = {}
    for name, sub in command.commands.items():
        found |= _verbs(sub, f"{above}{name} ") if hasattr(sub, "commands") else {f"{above}{name}": sub}
    return found


VERBS = _verbs(typer.main.get_command(app))


def _options() -> Iterator[tuple[str, Any]]:
    for verb, sub in sorted(VERBS.items()):
        for parameter in sub.params:
            if parameter.param_type_name == "option" and parameter.name != "help":
                yield verb, parameter


OPTIONS = list(_options())
NAMES = [f"{verb} {parameter.opts[0]}" for verb, parameter in OPTIONS]
VALUES = {
    "FEDSEC_SET": "federation.rounds=7 matrix.seed=[5]",
    "FEDSEC_OUT": "elsewhere",
    "FEDSEC_WORKERS": "3",
    "FEDSEC_THREADS": "2",
    "FEDSEC_MEMORY": "3GB",
    "FEDSEC_DEVICE": "cpu",
    "FEDSEC_DISPLAY": "none",
    "FEDSEC_JSON": "1",
    "FEDSEC_FORCE": "1",
    "FEDSEC_CI": "1",
    "FEDSEC_HOST": "gitlab",
    "FEDSEC_ALL": "1",
    "FEDSEC_ALLOW_PLUGINS": "mine.py",
    "FEDSEC_BASELINE": "baseline.json",
    "FEDSEC_STRICT": "1",
    "FEDSEC_FORMAT": "junit sarif",
    "FEDSEC_FILES": "elsewhere",
}


@pytest.mark.parametrize(("verb", "option"), OPTIONS, ids=NAMES)
def test_every_option_of_every_verb_has_a_variable_that_works_and_is_documented(verb: str, option: Any) -> None:
    name = option.envvar
    assert isinstance(name, str)
    assert name.startswith("FEDSEC_")
    assert name in checks._KNOWN_VARIABLES, "fedsec doctor knows it"
    text = " ".join(CliRunner().invoke(app, [*verb.split(), "--help"]).output.split())
    assert f"env var: {name}" in text
    sub = VERBS[verb]
    needed = ["x" for parameter in sub.params if parameter.param_type_name == "argument" and parameter.required]
    if name not in VALUES:
        pytest.fail(f"give a value for {name} in this test")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(name, VALUES[name])
        required = [one for one in sub.params if one.param_type_name == "option" and one.required]
        for one in required:
            patch.setenv(one.envvar, VALUES[one.envvar])
        given = sub.make_context(verb, list(needed)).params[option.name]
        patch.delenv(name)
        assert option.required or given != sub.make_context(verb, list(needed)).params[option.name]


def test_a_variable_does_what_its_option_does(tmp_path: Path) -> None:
    overrides = (
        "federation.rounds=7",
        "matrix.seed=[5]",
        "matrix.attack=[none,sign-flip]",
        "matrix.defense=[none,krum]",
    )
    wanted = {"FEDSEC_SET": " ".join(overrides), "FEDSEC_JSON": "1", "FEDSEC_WORKERS": "2"}
    by_variable = json.loads(_fedsec("plan", "quick/byzantine", cwd=tmp_path, **wanted).stdout)
    options = [part for value in overrides for part in ("--set", value)]
    done = _fedsec("plan", "quick/byzantine", *options, "--json", "--workers", "2", cwd=tmp_path)
    by_option = json.loads(done.stdout)
    assert by_variable["path"] == by_option["path"]
    assert by_variable["workers"] == by_option["workers"] == 2
    assert len(by_option["trainings"]) == 4


@pytest.mark.parametrize("verb", ["run", "plan"])
@pytest.mark.parametrize("wrong", [["--workers", "0"], ["--threads", "x"], ["--memory", "much"], ["--set", "x"]])
def test_a_wrong_option_is_a_usage_error(verb: str, wrong: list[str], tmp_path: Path) -> None:
    done = _fedsec(verb, "quick/byzantine", *wrong, "--out", str(tmp_path))
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


LIGHT = [["--help"], ["list"], ["list", "attacks", "--json"], ["show", "dager"], ["run", "--help"], ["--version"]]


HEAVY = ("torch", "transformers", "peft", "pandas", "scipy", "sklearn", "matplotlib", "datasets", "pyarrow", "jinja2")


@pytest.mark.parametrize(
    ("arguments", "unused"),
    [
        *((arguments, (*HEAVY, "numpy", "rich.table")) for arguments in LIGHT),
        (["validate", "quick/inversion"], (*HEAVY, "numpy")),
        (["plan", "quick/inversion"], HEAVY),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_verbs_that_run_nothing_import_little(arguments: list[str], unused: tuple[str, ...], tmp_path: Path) -> None:
    """What they import is most of what they take: `make bench` measures that they answer within half a second."""
    code = (
        "import sys; from fedsec.cli.main import app\n"
        f"try: app({arguments!r})\n"
        f"except SystemExit as end: sys.exit(end.code or ' '.join(set(sys.modules) & set({unused!r})) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", [["list"], ["list", "--json"], ["show", "quick/byzantine"]], ids=" ".join)
def test_a_reader_that_has_seen_enough_is_no_error(arguments: list[str]) -> None:
    with subprocess.Popen([*CALL, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait() == 0
    assert said == b""


def test_plan_shows_what_runs_and_writes_nothing(tmp_path: Path) -> None:
    options = [part for value in (*MATRIX, "threat.declared_malicious=6") for part in ("--set", value)]
    done = _fedsec("plan", "quick/byzantine", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "n/a: Krum (Blanchard) needs n >= 2f+3 = 15, has 12" in done.stdout
    assert "9 waiting, 9 n/a" in done.stdout
    assert f"Run it: {shlex.join(['fedsec', 'run', 'quick/byzantine', *options])}\n" in done.stdout, "on one line"
    assert done.stderr == ""
    assert not list(tmp_path.iterdir())


def test_plan_sums_up_over_seeds_unless_asked_for_all(tmp_path: Path) -> None:
    given = ["plan", "quick/byzantine", *(part for value in MATRIX for part in ("--set", value))]
    summed, every = (_fedsec(*given, *more, cwd=tmp_path).stdout for more in ([], ["--all"]))
    assert "│ sign-flip(scale=10) vs krum │ 3 waiting" in summed
    assert "seed 1" not in summed
    assert "│ sign-flip(scale=10) vs krum, seed 1 │ waiting" in every


def test_plan_has_the_keys_that_a_run_would_write(tmp_path: Path) -> None:
    found = json.loads(_fedsec("plan", "quick/inversion", "--json", cwd=tmp_path).stdout)
    scenario = load_scenario("quick/inversion")
    cells = [cell for training in found["trainings"] for cell in training["cells"]]
    assert sorted(cell["key"] for cell in cells) == sorted(task.key for task in tasks_of(scenario))
    assert found["seconds"] > 0
    assert found["memory_bytes"] > 10**8


def test_runs_lists_and_never_crashes(tmp_path: Path) -> None:
    assert "No runs in" in _fedsec("runs", "--out", str(tmp_path)).stdout
    folder = tmp_path / "a" / "b" / "0123"
    folder.mkdir(parents=True)
    (folder / "record.json").write_text("[bold]{")
    done = _fedsec("runs", "--out", str(tmp_path))
    assert done.returncode == 0
    assert "damaged" in done.stdout
    assert json.loads(_fedsec("runs", "--out", str(tmp_path), "--json").stdout)[0]["state"] == "damaged"
    assert _fedsec("runs", "--out", str(tmp_path / "nothing")).returncode == 2


def test_a_run_is_shown_by_plan_and_runs(tmp_path: Path) -> None:
    arguments = [part for value in TINY for part in ("--set", value)] + ["--out", str(tmp_path)]
    assert _fedsec("run", "quick/byzantine", *arguments, "--set", "matrix.attack=[none]").returncode == 0
    planned = _fedsec("plan", "quick/byzantine", *arguments, "--set", "matrix.attack=[none]").stdout
    assert "2 done" in planned
    assert "Nothing is left to run" in planned
    listed = json.loads(_fedsec("runs", "--out", str(tmp_path), "--json").stdout)
    assert [(run["scenario"], run["state"], run["done"]) for run in listed] == [("quick/byzantine", "complete", 2)]


def test_what_a_plug_in_prints_is_no_data(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom fedsec.attacks.byzantine.sign_flip import SignFlip\n"
        "old = SignFlip.__init__\n"
        "def new(self, *a, **k):\n    print('NOISE'); old(self, *a, **k)\n"
        "SignFlip.__init__ = new\nfrom fedsec.cli.main import app; app(sys.argv[1:])"
    )
    arguments = [part for value in TINY for part in ("--set", value)] + ["--out", str(tmp_path), "--workers", "1"]
    arguments += ["--set", "matrix.attack=[sign-flip]", "--set", "matrix.defense=[none]", "--json", "--display", "none"]
    command = [sys.executable, "-c", code, "run", "quick/byzantine", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "NOISE" in done.stderr
    assert len(json.loads(done.stdout)["cells"]) == 2


def test_init_writes_a_scenario_that_is_valid_and_quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedsec.runner.preview.measure_speed", lambda: Speed(100e9, 20e9))
    done = _fedsec("init", "My first_one.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "fedsec run 'My first_one.yaml'" in done.stdout
    scenario = load_scenario(tmp_path / "My first_one.yaml")
    assert scenario.name == "my-first-one"
    seconds = preview(scenario, tmp_path / "runs", Machine()).seconds
    assert seconds is not None
    assert seconds < 60
    text = (tmp_path / "My first_one.yaml").read_text()
    assert sum("#" in line for line in text.splitlines()) > 12


@pytest.mark.parametrize("force", [False, True])
def test_init_overwrites_only_when_told_to(force: bool, tmp_path: Path) -> None:
    file = tmp_path / "scenario.yaml"
    file.write_text("mine")
    done = _fedsec("init", *(["--force"] if force else []), cwd=tmp_path)
    assert done.returncode == (0 if force else 2)
    assert (file.read_text() == "mine") is not force
    assert _fedsec("init", "scenario.txt", cwd=tmp_path).returncode == 2
    assert _fedsec("init", "missing/scenario.yaml", cwd=tmp_path).returncode == 0


def test_the_doctor_finds_nothing_wrong_here(tmp_path: Path) -> None:
    done = _fedsec("doctor", "--json", "--out", str(tmp_path), FEDSEC_TOKEN="hunter2")  # noqa: S106
    findings = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert done.returncode == 0, [finding for finding in findings.values() if finding["grade"] == "fail"]
    assert {"python", "torch", "attacks", "defenses", "memory", "device", "training", "runs"} <= set(findings)
    assert findings["FEDSEC_TOKEN"] == {
        "grade": "warn",
        "what": "FEDSEC_TOKEN",
        "found": "set",
        "advice": "fedsec reads no such variable; see fedsec VERB --help",
    }
    assert "hunter2" not in done.stdout
    assert not list(tmp_path.iterdir())


def test_the_doctor_names_what_is_wrong_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_training", lambda: iter(()))
    monkeypatch.setattr(checks, "_plugins", lambda: iter([Finding(Grade.FAIL, "krum", "gone", "update it")]))
    monkeypatch.setattr("importlib.metadata.requires", lambda _: ["no-such-thing>=1.0", "torch>=99", "x; extra == 'y'"])
    monkeypatch.delenv("FEDSEC_DATA", raising=False)

    def breaks() -> Iterator[Finding]:
        raise OSError("torn")
        yield

    monkeypatch.setattr(checks, "_machine", breaks)
    (tmp_path / "file").write_text("")
    found = {finding.what: finding for finding in checks.examine(tmp_path / "file" / "runs")}
    assert "pip install 'no-such-thing>=1.0'" in found["no-such-thing"].advice
    assert "older than 99" in found["torch"].found
    assert found["machine"].grade == Grade.FAIL
    assert "torn" in found["machine"].found
    assert found["runs"].grade == Grade.FAIL
    assert found["data"].grade == Grade.WARN
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 2
    assert "fail  krum: gone\n      update it" in result.output


def test_the_doctor_warns_of_data_that_cannot_be_had_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("FEDSEC_DATA", str(tmp_path))
    (tmp_path / "cola").mkdir()
    found = list(checks._data())
    assert "clinic-notes" in found[0].found
    assert "cola" in found[0].found
    assert "sst2" in found[1].found
    assert {one.grade for one in found[:2]} == {Grade.OK}
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("FEDSEC_DATA")
    *_, last = checks._data()
    assert last.grade == Grade.WARN
    assert "sst2" in last.found
    assert "clinic-notes" not in last.found
    assert "set FEDSEC_DATA" in last.advice
    assert "unset HF_HUB_OFFLINE" in last.advice


def test_a_run_under_way_keeps_a_second_one_out(tmp_path: Path) -> None:
    kept = (value for value in TINY if not value.startswith(("federation.local_steps", "matrix.seed")))
    arguments = [part for value in kept for part in ("--set", value)]
    command = ["run", "quick/byzantine", *arguments, "--out", str(tmp_path), "--workers", "1", "--display", "plain"]
    first = Command(*command)
    try:
        assert "cells" in first.stderr.readline()
        second = _fedsec(*command)
        assert second.returncode == 2
        assert f"being run by another process (process {first.pid})" in second.stderr
    finally:
        first.kill()
        first.communicate()
