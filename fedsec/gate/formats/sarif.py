"""The verdict as SARIF 2.1.0: a result for each check that did not pass, anchored at its rule's line."""

import hashlib
import json
from typing import Any
from urllib.parse import quote

from fedsec.gate.formats.words import sentence
from fedsec.gate.verdict import Check, Outcome, Verdict
from fedsec.report.visible import visible

VERSION = "2.1.0"
_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_FINGERPRINT = "fedsecGate/v1"


def render(verdict: Verdict) -> str:
    """One run; that it found nothing says that all passed."""
    told = [check for check in verdict.worst_first if check.outcome != Outcome.PASS]
    about = {check.rule: check.metric for check in told}
    rules = list(about)
    run = {
        "tool": {"driver": {"name": "fedsec", "rules": [_rule(*one) for one in about.items()]}},
        "invocations": [_invocation(verdict)],
        "results": [_result(check, rules.index(check.rule), strict=verdict.strict) for check in told],
    }
    document = {"$schema": _SCHEMA, "version": VERSION, "runs": [run]}
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _rule(rule: str, metric: str) -> dict[str, Any]:
    return {
        "id": visible(rule),
        "shortDescription": {"text": visible(f"The gate of {rule}")},
        "help": {"text": visible(f"What the metric means: fedsec show {metric}. What the verdict means: docs/gate.md")},
    }


def _invocation(verdict: Verdict) -> dict[str, Any]:
    """That the gate ran to its end, its exit code, and what is wrong with the baseline."""
    told = [("error", problem) for problem in verdict.problems] + [("note", note) for note in verdict.notes]
    return {
        "executionSuccessful": True,
        "exitCode": int(verdict.exit_code),
        "toolExecutionNotifications": [{"level": level, "message": {"text": visible(text)}} for level, text in told],
    }


def _result(check: Check, rule: int, *, strict: bool) -> dict[str, Any]:
    serious = strict or check.outcome > Outcome.INCONCLUSIVE
    result: dict[str, Any] = {
        "ruleId": visible(check.rule),
        "ruleIndex": rule,
        "level": "error" if serious else "warning",
        "message": {"text": visible(sentence(check))},
        "partialFingerprints": {_FINGERPRINT: _fingerprint(check)},
        "properties": {"outcome": check.outcome.word, "value": check.value, "baseline": check.baseline},
    }
    if check.place is not None:
        place = {
            "artifactLocation": {"uri": quote(visible(check.place.file))},
            "region": {"startLine": check.place.line},
        }
        result["locations"] = [{"physicalLocation": place}]
    return result


def _fingerprint(check: Check) -> str:
    """Equal for the same rule and cells, whatever they measured and wherever the rule stands."""
    return hashlib.sha256(f"{check.rule}\n{check.identity}".encode("utf-8", "surrogatepass")).hexdigest()
