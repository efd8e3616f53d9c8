"""`gate:`: what rules are about, and every fault of one with its line."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from fedsec.config.dump import dump
from fedsec.config.gate import fits, patterns
from fedsec.config.load import load_scenario
from fedsec.config.problems import ConfigError
from fedsec.config.schema import Component

FILE = """\
schema: 1
name: tests/gate
summary: What is demanded?
model: {name: tiny-bert}
data: {name: clinic-notes, train: 60, test: 30}
federation: {clients: 6, rounds: 2, learning_rate: 0.1}
threat: {malicious: 1}
matrix:
  attack: [{name: sign-flip, scale: 10}]
  defense: [krum, [nnm, trimmed-mean]]
gate:
"""
RULE = {"metric": "utility/accuracy", "attack": "sign-flip", "defense": "krum", "max": 0.6}


def _problems(*rules: dict[str, Any], tmp_path: Path) -> list[str]:
    file = tmp_path / "mine.yaml"
    file.write_text(FILE + "".join(f"  - {yaml.safe_dump(rule, default_flow_style=True, width=999)}" for rule in rules))
    try:
        load_scenario(file)
    except ConfigError as error:
        return [str(problem).removeprefix(f"{file}:") for problem in error.problems]
    return []


def test_labels_are_read() -> None:
    assert patterns("none") == patterns("mean") == []
    assert [(one.name, one.params) for one in patterns("nnm + krum(neighbours=allouah, geometry='raw')")] == [
        ("nnm", {}),
        ("krum", {"neighbours": "allouah", "geometry": "raw"}),
    ]
    for wrong in ("", "+", "krum+", "+krum", "krum(", "krum(f)", "krum(f=)", "krum(f=1,f=2)", "a b", "krum()x"):
        with pytest.raises(ValueError, match="not allowed"):
            patterns(wrong)


def test_names_match_and_parameters_narrow() -> None:
    krum = Component(name="krum", params={"neighbours": "blanchard", "geometry": "raw"})
    flip = Component(name="sign-flip", params={"scale": 10.0})
    assert fits(patterns("krum"), [krum])
    assert fits(patterns("krum(neighbours=blanchard)"), [krum])
    assert not fits(patterns("krum(neighbours=allouah)"), [krum])
    assert not fits(patterns("krum"), [])
    assert fits(patterns("sign-flip(scale=10)"), [flip])
    assert not fits(patterns("sign-flip(scale=true)"), [flip])
    assert not fits(patterns("nnm+krum"), [krum])


def test_sound_rules_are_taken_with_their_defaults_and_survive_a_dump(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    rules = [
        RULE,
        {**RULE, "defense": "nnm+trimmed-mean", "tolerance": 0.1},
        {**RULE, "attack": "none", "defense": "none"},
    ]
    rules.append({"metric": "krum/some-measurement", "attack": "sign-flip(scale=10)", "defense": "krum", "min": 1})
    file.write_text(FILE + "".join(f"  - {yaml.safe_dump(rule, default_flow_style=True, width=999)}" for rule in rules))
    loaded: Any = load_scenario(file)
    assert [rule.minimum_effect for rule in loaded.gate] == [0.0] * 4
    assert load_scenario(dump(loaded)) == loaded


def test_every_fault_is_said_at_once_with_its_line(tmp_path: Path) -> None:
    found = _problems(
        {**RULE, "metric": "utility/acuracy"},
        {**RULE, "attack": "sign-flop"},
        {**RULE, "attack": "sign-flip(scale=3)"},
        {**RULE, "defense": "krum(neighbors=blanchard)"},
        {**RULE, "defense": "trimmed-mean"},
        {**RULE, "max": 60},
        {**RULE, "max": 0.1, "min": 0.2},
        {key: value for key, value in RULE.items() if key != "max"},
        {**RULE, "minimum_effect": 0.1},
        {**RULE, "tolerance": -0.1},
        {"metric": "cost/seconds-per-round", "attack": "none", "defense": "none", "tolerance": 1},
        {**RULE, "maximum": 0.1},
        tmp_path=tmp_path,
    )
    expected = [
        (12, "gate[0].metric", "Did you mean utility/accuracy"),
        (13, "gate[1].attack", "unknown attack 'sign-flop'. Did you mean sign-flip?"),
        (14, "gate[2].attack", "'sign-flip(scale=3)' is nothing of matrix.attack"),
        (15, "gate[3].defense", "'krum' has no parameter 'neighbors'. Did you mean 'neighbours'?"),
        (16, "gate[4].defense", "'trimmed-mean' is nothing of matrix.defense"),
        (17, "gate[5].max", "60 is beyond 1, and utility/accuracy is a fraction: write 0.3 for 30 %"),
        (18, "gate[6].max", "0.1 is below min, which is 0.2"),
        (19, "gate[7]", "demands nothing; give `max` or `min`, or `tolerance`"),
        (20, "gate[8].minimum_effect", "give `tolerance` as well"),
        (21, "gate[9].tolerance", "-0.1 is not allowed; allowed: a number of at least 0"),
        (22, "gate[10].tolerance", "cost/seconds-per-round is a time"),
        (23, "gate[11].maximum", "unknown key. Did you mean 'max"),
    ]
    for line, path, said in expected:
        assert any(one.startswith(f"{line} {path}:") and said in one for one in found), (line, path, said, found)


def test_the_same_demand_twice_and_a_metric_of_nobody_are_faults(tmp_path: Path) -> None:
    found = _problems(RULE, {**RULE, "max": 0.5}, {**RULE, "metric": "median/x"}, tmp_path=tmp_path)
    assert any("the same metric, attack and defense as gate[0]" in one for one in found)
    assert any("unknown metric 'median/x', and no measurement of sign-flip or krum" in one for one in found)


def test_what_is_demanded_changes_neither_the_run_nor_its_cells(tmp_path: Path) -> None:
    from fedsec.runner.scenario import run_directory

    file = tmp_path / "mine.yaml"
    paths = set()
    for rule in (RULE, {**RULE, "max": 0.7}):
        file.write_text(FILE + f"  - {yaml.safe_dump(rule, default_flow_style=True, width=999)}")
        paths.add(run_directory(load_scenario(file), tmp_path).path)
    assert len(paths) == 1


def test_a_suite_has_a_gate_of_its_own(tmp_path: Path) -> None:
    member = yaml.safe_load(FILE + "  []\n")
    suite = {"schema": 1, "name": "tests/suite", "summary": "Both?", "scenarios": [{**member, "gate": [RULE]}]}
    loaded: Any = load_scenario({**suite, "defense": ["none", "krum"], "gate": [RULE]})
    assert [rule.label for rule in loaded.gate] == ["utility/accuracy/sign-flip/krum"]
    assert [one.gate for one in loaded.members] == [[]]
    with pytest.raises(ConfigError, match=r"gate\[0\].defense: 'median' is nothing of matrix.defense"):
        load_scenario({**suite, "gate": [{**RULE, "defense": "median"}]})
    load_scenario({**suite, "defense": ["median"], "gate": []})


def test_a_rule_of_a_suite_is_about_cells_of_one_scenario() -> None:
    """Where each half of it is in another scenario it would demand nothing."""
    member = yaml.safe_load(FILE)
    own: Any = [
        {**member, "name": f"tests/{attack}", "gate": [], "matrix": {"attack": [attack], "defense": [defense]}}
        for attack, defense in (("sign-flip", "krum"), ("gaussian", "trimmed-mean"))
    ]
    suite = {"schema": 1, "name": "tests/suite", "summary": "Both?", "scenarios": own}
    apart = {**RULE, "defense": "trimmed-mean"}
    with pytest.raises(
        ConfigError, match=r"gate\[1\]: no scenario of the suite has both 'sign-flip' and 'trimmed-mean'"
    ):
        load_scenario({**suite, "gate": [{**RULE, "defense": "krum"}, apart]})
    load_scenario({**suite, "gate": [{**apart, "attack": one} for one in ("none", "gaussian")]})
