"""The verdict as JUnit XML: a test case per check."""

import io

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from fedsec.gate.formats.words import sentence
from fedsec.gate.verdict import Check, Outcome, Verdict
from fedsec.report.visible import visible


def render(verdict: Verdict) -> str:
    """One suite with the checks in the rules' order, and a case for the baseline where it is what is wrong.

    Failed checks are failures, those without a result or a baseline errors, inconclusive ones skipped, or failures
    under `strict`.
    """
    suite = TestSuite(f"fedsec gate {visible(verdict.scenario)}")
    for problem in verdict.problems:
        case = TestCase("baseline", classname=_class(verdict.scenario))
        case.result = [Error(visible(problem), "incomparable")]
        suite.add_testcase(case)
    for check in verdict.checks:
        suite.add_testcase(_case(check, strict=verdict.strict))
    document = JUnitXml("fedsec gate")
    document.add_testsuite(suite)
    stream = io.BytesIO()
    document.write(stream)
    return stream.getvalue().decode("utf-8") + "\n"


def _case(check: Check, *, strict: bool) -> TestCase:
    case = TestCase(visible(check.name), classname=_class(check.scenario))
    said, word = visible(sentence(check)), check.outcome.word
    if check.outcome == Outcome.FAILED or (check.outcome == Outcome.INCONCLUSIVE and strict):
        case.result = [Failure(said, word)]
    elif check.outcome == Outcome.INCONCLUSIVE:
        case.result = [Skipped(said, word)]
    elif check.outcome != Outcome.PASS:
        case.result = [Error(said, word)]
    if check.place is not None:
        case._elem.attrib["file"] = visible(
            check.place.file
        )  # GitLab and others read it; junitparser has no name for it
        case._elem.attrib["line"] = str(check.place.line)
    return case


def _class(scenario: str) -> str:
    return f"fedsec.gate.{visible(scenario).replace('/', '.')}"
