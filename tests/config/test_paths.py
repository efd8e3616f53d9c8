"""Paths in a scenario: those of a file start at its folder, those of `--set` and of Python at the working directory."""

import json
from pathlib import Path
from typing import Any

import pytest

from fedsec.config.dump import dump, dump_text
from fedsec.config.load import load_scenario
from fedsec.config.problems import ConfigError
from fedsec.runner.scenario import run_directory

ROWS = "text,label\n" + "".join(f"words of row {number},{number % 2}\n" for number in range(20))


@pytest.fixture
def project(base: dict[str, Any], tmp_path: Path) -> Path:
    """A folder with a scenario, data and a model folder, and data of the same name elsewhere."""
    folder = tmp_path / "a project's"
    for name in ("mine", "models/own"):
        (folder / name).mkdir(parents=True)
    (folder / "mine/rows.csv").write_text(ROWS)
    (folder / "models/own/config.json").write_text("{}")
    (tmp_path / "rows.csv").write_text(ROWS.replace("words", "other words"))
    auxiliary = {"path": "mine", "model": "models/own"}
    base |= {"data": {"path": "mine/rows.csv"}, "threat": {**base["threat"], "auxiliary": auxiliary}}
    base["model"] = {"name": "models/own"}
    base["matrix"]["vary"] = {"model.name": ["models/own", "minilm"], "federation.rounds": [2, 3]}
    base["threat"]["auxiliary"] = {"path": "mine"}
    (folder / "case.yaml").write_text(json.dumps(base))
    return folder


def test_paths_of_a_file_start_at_its_folder(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, file, lead in ((tmp_path, project / "case.yaml", f"{project}/"), (project, Path("case.yaml"), "")):
        monkeypatch.chdir(folder)
        scenario = load_scenario(file)
        assert scenario.data.path == f"{lead}mine/rows.csv"
        assert scenario.threat.auxiliary.path == f"{lead}mine"
        assert scenario.model.name == f"{lead}models/own"
        assert scenario.matrix.vary["model.name"] == [f"{lead}models/own", "minilm"]


def test_paths_given_by_hand_start_at_the_working_directory(
    project: Path, base: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_scenario(project / "case.yaml", ["data.path=rows.csv"]).data.path == "rows.csv"
    with pytest.raises(ConfigError, match=r"relative paths start at the scenario file's folder"):
        load_scenario(base)
    monkeypatch.chdir(project)
    assert load_scenario(base).data.path == "mine/rows.csv"


def test_the_resolved_file_finds_everything_from_where_it_lies(project: Path, tmp_path: Path) -> None:
    scenario = load_scenario(project / "case.yaml", ["federation.rounds=1", "matrix.vary.federation.rounds=[1]"])
    folder = tmp_path / "out/runs/key"
    folder.mkdir(parents=True)
    text = dump_text(scenario, folder)
    assert str(tmp_path) not in text, "what is shared with others names no folder of this machine"
    (folder / "scenario.resolved.yaml").write_text(text)
    again = load_scenario(folder / "scenario.resolved.yaml")
    assert Path(str(again.data.path)).resolve() == (project / "mine/rows.csv").resolve()
    assert Path(again.model.name).resolve() == (project / "models/own").resolve()
    assert again.matrix.vary["model.name"][1] == "minilm"
    assert (
        run_directory(again, tmp_path).path.name
        != run_directory(load_scenario(project / "case.yaml"), tmp_path).path.name
    )


def test_a_run_is_known_by_content_and_not_by_place(project: Path, base: dict[str, Any], tmp_path: Path) -> None:
    del base["matrix"]["vary"]
    moved = tmp_path / "moved"
    (project / "case.yaml").write_text(json.dumps(base))

    def key(folder: Path, *overrides: str) -> str:
        return run_directory(load_scenario(folder / "case.yaml", overrides), tmp_path).path.name

    before = key(project)
    elsewhere = key(project, f"data.path={tmp_path / 'rows.csv'}")
    project.rename(moved)
    assert key(moved) == before
    assert elsewhere != before, "other rows in a file of the same name"
    (moved / "mine/rows.csv").write_text(ROWS.replace("words", "other words"))
    (moved / "mine").rename(moved / "yours")
    again = [f"{setting}={moved / path}" for setting, path in (("data.path", "yours/rows.csv"),)]
    assert key(moved, *again, "threat.auxiliary.path=null") == key(
        moved, f"data.path={tmp_path / 'rows.csv'}", "threat.auxiliary.path=null"
    )


def test_names_are_no_paths(base: dict[str, Any], tmp_path: Path) -> None:
    """A registered model keeps its name, whatever folder lies beside the scenario; so does a hub id."""
    (tmp_path / "tiny-bert").mkdir()
    for name in ("tiny-bert", "owner/name"):
        base["model"] = {"name": name}
        (tmp_path / "case.yaml").write_text(json.dumps(base))
        assert load_scenario(tmp_path / "case.yaml").model.name == name


@pytest.mark.parametrize("path", [7, None, [], {"a": 1}, ""])
def test_what_is_no_path_is_told_as_ever(base: dict[str, Any], tmp_path: Path, path: object) -> None:
    base["data"] = {"path": path}
    (tmp_path / "case.yaml").write_text(json.dumps(base))
    with pytest.raises(ConfigError, match=r"data"):
        load_scenario(tmp_path / "case.yaml")


def test_data_by_path_take_the_place_of_data_by_name(
    base: dict[str, Any], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    base["data"] = {"name": "owner/set", "revision": "0" * 40, "train_split": "all", "max_tokens": 16}
    base["model"], base["matrix"]["vary"], base["threat"] = {"name": "tiny-bert"}, {}, {"malicious": 1}
    data = dump(load_scenario(base, ["data.path=mine/rows.csv"]))["data"]
    assert (data["path"], data["name"], data["revision"], data["train_split"]) == ("mine/rows.csv", None, None, "train")
    assert data["max_tokens"] == 16
    back = dump(load_scenario({**base, "data": {"path": "mine/rows.csv"}}, ["data.name=sst2"]))["data"]
    assert (back["path"], back["name"]) == (None, "sst2")
    assert dump(load_scenario(base, ["data.path=null"]))["data"]["name"] == "owner/set"
    with pytest.raises(ConfigError, match="not both"):
        load_scenario(base, ["data.path=mine/rows.csv", "data.name=sst2"])
