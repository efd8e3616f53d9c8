"""Where scenarios come from: files, shipped names, mappings, and what `--set` changes."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fedsec.config import shipped as shipped_module
from fedsec.config.dump import dump, dump_text
from fedsec.config.load import load_scenario
from fedsec.config.problems import ConfigError
from fedsec.config.shipped import shipped
from fedsec.errors import FedsecError


@pytest.fixture
def file(base: dict[str, Any], tmp_path: Path) -> Path:
    """A scenario file."""
    path = tmp_path / "scenario.yaml"
    path.write_text(dump_text(load_scenario(base)))
    return path


@pytest.fixture
def _room(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shipped scenarios of our own: quick/first."""
    folder = tmp_path / "room" / "quick"
    folder.mkdir(parents=True)
    (folder / "first.yaml").write_text(file.read_text())
    (folder / "notes.txt").touch()
    (tmp_path / "secret.yaml").write_text(file.read_text())
    monkeypatch.setattr(shipped_module, "resources", SimpleNamespace(files=lambda package: tmp_path / "room"))


def test_a_file_is_the_same_as_a_mapping(base: dict[str, Any], file: Path) -> None:
    assert load_scenario(file) == load_scenario(str(file)) == load_scenario(base)


@pytest.mark.usefixtures("_room")
def test_shipped_scenarios_go_by_name(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_scenario("quick/first") == load_scenario(file)
    assert shipped() == [("quick/first", "Is it read?")]
    (tmp_path / "quick" / "first").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert load_scenario("quick/first") == load_scenario(file)
    with pytest.raises(FedsecError, match=r"fedsec list scenarios.*Did you mean 'quick/first'"):
        load_scenario("quick/frist")


@pytest.mark.usefixtures("_room")
@pytest.mark.parametrize("name", ["../secret", "quick/../../secret", "/secret", "quick//first", "", "quick/notes"])
def test_names_do_not_leave_the_shipped_folder(name: str) -> None:
    with pytest.raises(FedsecError):
        load_scenario(name)


def test_every_shipped_scenario_is_valid_and_named_by_its_path() -> None:
    for name, summary in shipped():
        scenario = load_scenario(name)
        assert (scenario.name, scenario.summary) == (name, summary)


def test_faults_in_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "other.txt").touch()
    (tmp_path / "folder.yaml").mkdir()
    os.mkfifo(tmp_path / "pipe.yaml")
    wrong = {
        "missing.yaml": "does not exist",
        "other.txt": "must end in .yaml",
        "folder.yaml": "is a folder",
        "pipe.yaml": "no ordinary file",
        "x" * 300 + ".yaml": "cannot be read|does not exist",
        "nul\0.yaml": "cannot be read|does not exist",
    }
    for name, message in wrong.items():
        for path in (tmp_path / name, str(tmp_path / name)):
            with pytest.raises(FedsecError, match=message):
                load_scenario(path)


def test_a_file_without_permission(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **keywords: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(FedsecError, match=r"cannot be read.*Permission denied"):
        load_scenario(file)


def test_a_mapping_is_not_changed_and_may_hold_plain_python(base: dict[str, Any]) -> None:
    base["matrix"]["seed"] = (1, 2)
    before = dump(load_scenario(base))
    load_scenario(base, ["federation.rounds=20", "threat.malicious=2"])
    assert dump(load_scenario(base)) == before


@pytest.mark.parametrize(
    "value",
    [float("nan"), {1, 2}, b"x", object(), {1: 2}, 10**5000, "\x1b[31m", "\ud800"],
    ids=range(8),
)
def test_a_mapping_with_what_yaml_has_not(base: dict[str, Any], value: Any) -> None:
    with pytest.raises(ConfigError, match=r"federation\.batch_size"):
        load_scenario({**base, "federation": {**base["federation"], "batch_size": value}})


def test_a_mapping_that_contains_itself_or_far_too_much(base: dict[str, Any]) -> None:
    itself: list[Any] = []
    itself.append(itself)
    bomb: list[Any] = []
    for _ in range(15):
        bomb = [bomb] * 10
    for value in (itself, bomb):
        with pytest.raises(ConfigError) as caught:
            load_scenario({**base, "extra": value})
        assert len(caught.value.problems) == 1


def test_overrides(file: Path) -> None:
    given = [
        "federation.rounds=20",
        "federation.learning_rate=1e-3",
        "matrix.seed=[4, 5]",
        "summary=a = b",
        "model.layers=1",
    ]
    scenario = load_scenario(file, [*given, "matrix.vary.federation.batch_size=[1, 8]", "federation.rounds=21"])
    assert scenario.federation.rounds == 21
    assert scenario.federation.learning_rate == 0.001
    assert scenario.matrix.seed == [4, 5]
    assert scenario.summary == "a = b"
    assert scenario.model.params["layers"] == 1
    assert scenario.matrix.vary == {"federation.batch_size": [1, 8]}


def test_faults_of_overrides_and_of_the_file_come_together(file: Path) -> None:
    text = file.read_text().replace("  rounds: 3", "  rounds: 0").replace("tiny-bert", "tiny-brt")
    file.write_text(text)
    line = text.splitlines().index("  rounds: 0") + 1
    overrides = ["federation.batch_sise=2", "no-equals", "summary=", "federation.clients=!x 1", "x.y=0"]
    with pytest.raises(ConfigError) as caught:
        load_scenario(file, overrides)
    shown = [str(problem).removeprefix(str(file)) for problem in caught.value.problems]
    for start in (":5 model.name: unknown model", f":{line} federation.rounds: 0 is not allowed"):
        assert any(line.startswith(start) for line in shown), shown
    for message in (
        "--set federation.batch_sise: no such path. Did you mean 'federation.batch_size'?",
        "--set no-equals: give PATH=VALUE, such as federation.rounds=20",
        "--set summary: give PATH=VALUE, such as federation.rounds=20",
        "--set federation.clients: the tag !x is not allowed; write a plain value",
        "--set x.y: no such path.",
    ):
        assert message in shown
    assert len(shown) == 7


def test_an_override_mends_a_fault(file: Path) -> None:
    file.write_text(file.read_text().replace("rounds: 3", "rounds: zero"))
    assert load_scenario(file, ["federation.rounds=3"]).federation.rounds == 3


def test_an_override_of_a_faulty_value_is_checked_too(file: Path) -> None:
    file.write_text(file.read_text().replace("rounds: 3", "rounds: !x 3"))
    with pytest.raises(ConfigError) as caught:
        load_scenario(file, ["federation.rounds=0"])
    assert [problem.source for problem in caught.value.problems] == [str(file), "--set"]


def test_an_override_within_what_is_no_section(file: Path) -> None:
    file.write_text(file.read_text().replace("threat:", "threats:"))
    with pytest.raises(ConfigError, match="threats: unknown key"):
        load_scenario(file, ["threat.malicious=1"])
    file.write_text("schema: 1\nthreat: 3\n")
    with pytest.raises(ConfigError, match=r"--set threat\.malicious: 'threat' is no mapping"):
        load_scenario(file, ["threat.malicious=1"])


def test_validation_is_light(file: Path) -> None:
    code = (
        "import sys\nfrom fedsec.config.load import load_scenario\n"
        f"load_scenario({str(file)!r})\n"
        "print([name for name in ('torch', 'scipy', 'numpy', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
