"""Each format of a verdict: sound, complete, and unharmed by hostile names."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import pytest
from junitparser import JUnitXml
from pydantic import BaseModel, ConfigDict, Field

from fedsec.api import BetterFor
from fedsec.errors import ExitCode
from fedsec.gate.formats import FORMATS
from fedsec.gate.places import Place
from fedsec.gate.verdict import Check, Outcome, Verdict

from ..report.support import HOSTILE


def _check(outcome: Outcome, name: str = "utility/accuracy/none/krum", **fields: Any) -> Check:
    given: dict[str, Any] = {
        "rule": "utility/accuracy/none/krum",
        "identity": "[]",
        "reasons": () if outcome == Outcome.PASS else ("because",),
        "scenario": "a/b",
        "metric": "utility/accuracy",
        "attack": "none",
        "defense": "krum",
        "settings": {"federation.rounds": 2},
        "unit": "fraction",
        "better_for": BetterFor.DEFENDER,
        "value": 0.5,
        "ci_low": 0.4,
        "ci_high": 0.6,
        "seeds": (0, 1),
        "min": 0.6,
        "tolerance": 0.05,
        "baseline": 0.8,
        "difference": {"value": -0.3, "ci_low": -0.4, "ci_high": -0.2, "method": "t-pairs", "n": 2, "p_value": 0.01},
        "place": Place("scenarios/my gate.yaml", 12),
        **fields,
    }
    return Check(name=name, outcome=outcome, **given)


def _verdict(*checks: Check, **fields: Any) -> Verdict:
    return Verdict(scenario="a/b", key="0" * 16, checks=checks, **fields)


ALL = _verdict(*(_check(outcome, f"check {outcome.word}") for outcome in Outcome), problems=("no baseline",))
NASTY = _verdict(
    *(
        _check(Outcome.FAILED, f"{place} {text}", rule=text, scenario=text, attack=text, reasons=(text,))
        for place, text in enumerate(
            (*HOSTILE, "=1+2", "@SUM(A1)", "::error::x", "a|b", "100%\r\nx,y:z", "\ufffe\uffff", "at Www.x.org")
        )
    )
)


def _render(name: str, verdict: Verdict) -> str:
    return FORMATS[name].render(verdict)


@pytest.mark.parametrize("verdict", [ALL, NASTY, _verdict(), _verdict(_check(Outcome.PASS))])
def test_every_format_takes_every_verdict_and_is_text_that_files_can_hold(verdict: Verdict) -> None:
    for name in FORMATS:
        text = _render(name, verdict)
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\u2066\ud800\ufffe\uffff]", text), name
        assert text.encode().decode() == text


def test_junit_has_a_case_per_check_with_unique_names_and_the_right_kinds() -> None:
    suite = next(iter(JUnitXml.fromstring(_render("junit", ALL).encode())))
    kinds = [type(case.result[0]).__name__ if case.result else "pass" for case in suite]
    assert kinds == ["Error", "pass", "Skipped", "Failure", "Error", "Error"]
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (6, 1, 3, 1)
    strict = next(
        iter(JUnitXml.fromstring(_render("junit", _verdict(_check(Outcome.INCONCLUSIVE), strict=True)).encode()))
    )
    assert strict.failures == 1
    tree = ElementTree.fromstring(_render("junit", NASTY))  # noqa: S314
    names = [case.attrib["name"] for case in tree.iter("testcase")]
    assert len(set(names)) == len(names) == len(NASTY.checks)


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Text(_Closed):
    text: str = Field(min_length=1)


class _Rule(_Closed):
    id: str
    shortDescription: _Text
    help: _Text


class _Driver(_Closed):
    name: Literal["fedsec"]
    rules: list[_Rule]


class _Tool(_Closed):
    driver: _Driver


class _Notification(_Closed):
    level: Literal["none", "note", "warning", "error"]
    message: _Text


class _Invocation(_Closed):
    executionSuccessful: bool
    exitCode: int
    toolExecutionNotifications: list[_Notification]


class _Artifact(_Closed):
    uri: str = Field(pattern=r"^[A-Za-z0-9._~%-][A-Za-z0-9._~%/-]*$")


class _Region(_Closed):
    startLine: int = Field(ge=1)


class _Physical(_Closed):
    artifactLocation: _Artifact
    region: _Region


class _Location(_Closed):
    physicalLocation: _Physical


class _Result(_Closed):
    ruleId: str
    ruleIndex: int = Field(ge=0)
    level: Literal["warning", "error"]
    message: _Text
    partialFingerprints: dict[str, str]
    properties: dict[str, Any]
    locations: list[_Location] = Field(default=[], max_length=1)


class _Run(_Closed):
    tool: _Tool
    invocations: list[_Invocation]
    results: list[_Result]


class _Sarif(_Closed):
    """The part of SARIF 2.1.0 that the format uses, by hand and stricter than the standard's own schema."""

    schema_uri: Literal[
        "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
    ] = Field(alias="$schema")
    version: Literal["2.1.0"]
    runs: list[_Run] = Field(min_length=1, max_length=1)


@pytest.mark.parametrize("verdict", [ALL, NASTY, _verdict()])
def test_sarif_keeps_to_a_strict_subset_of_its_schema(verdict: Verdict) -> None:
    run = _Sarif.model_validate_json(_render("sarif", verdict)).runs[0]
    rules = [rule.id for rule in run.tool.driver.rules]
    assert [rules[result.ruleIndex] for result in run.results] == [result.ruleId for result in run.results]
    assert len(run.results) == sum(check.outcome != Outcome.PASS for check in verdict.checks)
    assert run.invocations[0].exitCode == verdict.exit_code


def test_sarif_points_at_the_rule_and_its_fingerprints_outlive_values_and_lines() -> None:
    def result(**fields: Any) -> _Result:
        text = _render("sarif", _verdict(_check(Outcome.FAILED, **fields)))
        return _Sarif.model_validate_json(text).runs[0].results[0]

    one = result()
    place = one.locations[0].physicalLocation
    assert (place.artifactLocation.uri, place.region.startLine) == ("scenarios/my%20gate.yaml", 12)
    moved = result(value=0.1, place=Place("scenarios/my gate.yaml", 99), reasons=("other",))
    assert moved.partialFingerprints == one.partialFingerprints
    assert result(identity="[1]").partialFingerprints != one.partialFingerprints
    odd = result(place=Place("d\udce9/a.yaml", 1)).locations[0].physicalLocation.artifactLocation
    assert odd.uri == "d%5BU%2BDCE9%5D/a.yaml"


def test_annotations_are_the_worst_ten_with_escapes() -> None:
    many = _verdict(*(_check(outcome, f"{n} {outcome.word}") for outcome in Outcome for n in range(5)))
    lines = _render("annotations", many).splitlines()
    assert len(lines) == 11
    assert all("incomparable" in line or "missing" in line for line in lines[:10])
    assert lines[-1] == "::notice title=fedsec gate::10 more are in the summary"
    assert lines[0].startswith(
        "::error file=scenarios/my gate.yaml,line=12,title=fedsec gate%3A utility/accuracy/none/krum::"
    )
    nasty = _render("annotations", NASTY)
    assert len(nasty.splitlines()) == 11
    assert all(line.startswith(("::error ", "::notice ")) for line in nasty.splitlines())
    assert _render("annotations", _verdict(_check(Outcome.PASS))) == ""


def test_the_summary_is_a_table_whose_cells_are_plain_and_that_fits() -> None:
    rows = [line for line in _render("summary", NASTY).splitlines() if line.startswith("| ❌")]
    assert len(rows) == len(NASTY.checks)
    assert all(line.count("|") == 7 and "<" not in line and "@" not in line for line in rows)
    assert not any("www." in line.lower() for line in rows)  # which GitHub makes a link, bare as it is
    huge = _verdict(*(_check(Outcome.PASS, f"{n} {'x' * 900}") for n in range(1500)))
    text = _render("summary", huge)
    assert len(text.encode()) < 2**20
    assert "more checks are left out here." in text


def test_csv_has_no_formulas_and_keeps_numbers() -> None:
    rows = list(csv.DictReader(io.StringIO(_render("csv", NASTY))))
    assert len(rows) == len(NASTY.checks)
    for row in rows:
        assert float(row["difference"]) == -0.3
        assert not row["attack"].startswith(("=", "+", "-", "@", "\t", "\r"))
        assert not row["reasons"].startswith(("=", "+", "-", "@", "\t", "\r"))


def test_openmetrics_are_sound_lines_and_end() -> None:
    for verdict in (ALL, NASTY):
        lines = _render("metrics", verdict).splitlines()
        assert lines[-1] == "# EOF"
        sample = re.compile(r'fedsec_gate_\w+(\{\w+="([^"\\]|\\["\\n])*"(,\w+="([^"\\]|\\["\\n])*")*\})? -?[0-9.e+-]+')
        assert all(line.startswith("# ") or sample.fullmatch(line) for line in lines)
        assert f"fedsec_gate_exit_code {float(verdict.exit_code)}" in lines


def test_json_holds_the_verdict() -> None:
    content = json.loads(_render("json", ALL))
    assert (content["outcome"], content["exit_code"]) == ("incomparable", ExitCode.INCOMPARABLE)
    assert [one["outcome"] for one in content["checks"]] == [outcome.word for outcome in Outcome]
    assert content["checks"][0]["place"] == {"file": "scenarios/my gate.yaml", "line": 12}


def test_a_format_that_fails_leaves_the_others_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fedsec.gate.formats import Format, write

    def broken(verdict: Verdict) -> str:
        raise ValueError(verdict.scenario)

    monkeypatch.setitem(FORMATS, "junit", Format("junit.xml", broken))
    assert write(ALL, tmp_path, FORMATS) == [f"{tmp_path / 'junit.xml'} cannot be written: ValueError: a/b"]
    assert len(list(tmp_path.iterdir())) == len(FORMATS) - 1


def test_files_have_the_names_that_pages_give(tmp_path: Path) -> None:
    from fedsec.gate.formats import write

    assert write(ALL, tmp_path, FORMATS) == []
    named = {"summary.md", "annotations.txt", "junit.xml", "results.sarif", "metrics.txt", "gate.csv", "gate.json"}
    assert {file.name for file in tmp_path.iterdir()} == named
