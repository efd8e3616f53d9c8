"""Suites: scenarios by name, by file and in place, what they all face, and every fault with its place."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from fedsec.config.dump import dump_text
from fedsec.config.load import load_scenario, load_single
from fedsec.config.problems import ConfigError
from fedsec.config.suite import Suite, members_of
from fedsec.errors import FedsecError


def _member(name: str, **changes: Any) -> dict[str, Any]:
    content: dict[str, Any] = {
        "schema": 1,
        "name": name,
        "summary": "A question?",
        "model": {"name": "tiny-bert"},
        "data": {"name": "clinic-notes", "train": 60, "test": 30},
        "federation": {"clients": 7, "rounds": 2, "learning_rate": 0.1},
        "threat": {"malicious": 2},
        "matrix": {"attack": ["sign-flip"], "defense": ["krum"], "seed": [3]},
    }
    return {**content, **changes}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "one.yaml").write_text(yaml.dump(_member("t/one"), sort_keys=False))
    (tmp_path / "rows.csv").write_text("text,label\n" + "a text,0\nanother,1\n" * 40)
    return tmp_path


def _suite(folder: Path, text: str) -> Path:
    (folder / "suite.yaml").write_text(f"schema: 1\nname: t/all\nsummary: Which?\n{text}")
    return folder / "suite.yaml"


def _faults(file: Path, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_scenario(file, overrides)
    return [str(problem).replace(f"{file.parent}/", "") for problem in caught.value.problems]


SOUND = """\
scenarios:
  - one.yaml
  - scenario: one.yaml
    set: {name: t/two, federation.rounds: 3, data.path: rows.csv}
  - quick/byzantine
defense: [none, median, [nnm, trimmed-mean]]
seed: [0, 1]
"""


def test_every_scenario_faces_the_suites_defenses_and_seeds(folder: Path) -> None:
    suite = load_scenario(_suite(folder, SOUND))
    assert isinstance(suite, Suite)
    assert [one.name for one in members_of(suite)] == ["t/one", "t/two", "quick/byzantine"]
    for one in suite.members:
        assert [[part.name for part in stack] for stack in one.matrix.defense] == [
            [],
            ["median"],
            ["nnm", "trimmed-mean"],
        ]
        assert one.matrix.seed == [0, 1]
    assert [one.federation.rounds for one in suite.members] == [2, 3, 12]
    # Data by path take the place of the file's data by name, and start at the suite.
    assert (suite.members[1].data.name, suite.members[1].data.path) == (None, str(folder / "rows.csv"))


def test_without_defenses_of_the_suite_each_scenario_keeps_its_own(folder: Path) -> None:
    (one,) = members_of(load_scenario(_suite(folder, "scenarios: [one.yaml]\n")))
    assert one == load_scenario(folder / "one.yaml")


def test_a_suite_is_written_back_with_its_scenarios_in_it(folder: Path) -> None:
    suite = load_scenario(_suite(folder, SOUND))
    run = folder / "runs" / "t"
    run.mkdir(parents=True)
    (run / "resolved.yaml").write_text(dump_text(suite, run))
    again = load_scenario(run / "resolved.yaml")
    assert isinstance(again, Suite)
    assert again.members[0] == members_of(suite)[0]
    assert Path(str(again.members[1].data.path)).resolve() == folder / "rows.csv"


def test_set_reaches_every_scenario_or_the_suite_itself(folder: Path) -> None:
    suite = load_scenario(_suite(folder, SOUND), ["federation.rounds=5", "matrix.seed=[7]", "name=t/other"])
    assert suite.name == "t/other"
    assert [(one.federation.rounds, one.matrix.seed) for one in members_of(suite)] == [(5, [7])] * 3
    assert len(members_of(load_scenario(folder / "suite.yaml", ["scenarios=[quick/byzantine]"]))) == 1


def test_all_faults_are_told_at_once_where_they_stand(folder: Path) -> None:
    (folder / "bad.yaml").write_text(yaml.dump(_member("t/bad", model={"name": "tiny-bret"}), sort_keys=False))
    (folder / "inner.yaml").write_text("scenarios: [one.yaml]\n")
    text = """\
scenarios:
  - one.yaml
  - bad.yaml
  - quick/byzantien
  - inner.yaml
  - {scenario: one.yaml, set: {name: t/x, federation.round: 3, federation.rounds: 0}}
  - one.yaml
  - 7
defense: [none, krumm]
sede: [0]
"""
    faults = _faults(_suite(folder, text), "threat.malicius=1")
    assert sorted(faults) == sorted(set(faults))
    told = "\n".join(faults)
    for expected in (
        "bad.yaml:5 model.name: unknown model 'tiny-bret'",
        "suite.yaml:7 scenarios[2]: no scenario 'quick/byzantien'",
        "suite.yaml:8 scenarios[3]: 'inner.yaml' is a suite; name its scenarios instead",
        "suite.yaml:9 scenarios[4].set.federation.round: no such path. Did you mean 'federation.rounds'?",
        "suite.yaml:9 scenarios[4].set.federation.rounds: 0 is not allowed",
        "suite.yaml:11 scenarios[6]: 7 is not allowed",
        "suite.yaml:12 defense[1]: unknown defense 'krumm'",
        "suite.yaml:13 sede: unknown key. Did you mean 'seed'?",
        "--set threat.malicius: no such path. Did you mean 'threat.malicious'?",
    ):
        assert expected in told, (expected, told)
    assert len(faults) == 9


def test_what_only_some_scenarios_refuse_names_them(folder: Path) -> None:
    text = "scenarios: [one.yaml, {scenario: one.yaml, set: {name: t/y, federation.clients: 9}}]\n"
    (fault,) = _faults(_suite(folder, text), "threat.malicious=8")
    assert fault.startswith("--set threat.malicious: ")
    assert fault.endswith("(in scenarios[0])")


def test_two_scenarios_of_one_name_are_refused(folder: Path) -> None:
    (fault,) = _faults(_suite(folder, "scenarios: [one.yaml, one.yaml]\n"))
    assert fault.startswith("suite.yaml:4 scenarios[1]: the same name as scenarios[0], t/one; give one of them another")


def test_where_one_scenario_is_asked_for_a_suite_is_refused_with_its_names(folder: Path) -> None:
    with pytest.raises(FedsecError, match=r"t/all is a suite; give one of its scenarios: t/one"):
        load_single(_suite(folder, "scenarios: [one.yaml]\n"))


def test_a_mapping_may_hold_whole_scenarios() -> None:
    whole = {"schema": 1, "name": "t/all", "summary": "Which?", "scenarios": [_member("t/one")], "defense": ["median"]}
    (one,) = members_of(load_scenario(whole))
    assert [[part.name for part in stack] for stack in one.matrix.defense] == [[], ["median"]]
    whole["scenarios"] = [_member("t/one", federation={"clients": 7, "rounds": 0, "learning_rate": 0.1})]
    with pytest.raises(ConfigError, match=r"<mapping> scenarios\[0\]\.federation\.rounds: 0 is not allowed"):
        load_scenario(whole)
