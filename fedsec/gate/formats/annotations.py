"""The verdict as GitHub's workflow commands, which annotate files: of the worst ten checks."""

from fedsec.gate.formats.words import sentence
from fedsec.gate.verdict import Check, Outcome, Verdict
from fedsec.report.visible import visible

MOST = 10
"""GitHub shows no more of a kind in a step."""


def render(verdict: Verdict) -> str:
    """A line per annotation; nothing if all passed."""
    told = [check for check in verdict.worst_first if check.outcome != Outcome.PASS]
    lines = [f"::error title={_property('fedsec gate')}::{_message(problem)}" for problem in verdict.problems]
    lines += [_line(check, strict=verdict.strict) for check in told]
    if len(lines) > MOST:
        lines[MOST:] = [f"::notice title=fedsec gate::{len(lines) - MOST} more are in the summary"]
    return "".join(f"{line}\n" for line in lines)


def _line(check: Check, *, strict: bool) -> str:
    kind = "error" if strict or check.outcome > Outcome.INCONCLUSIVE else "warning"
    place = check.place
    at = "" if place is None else f"file={_property(place.file)},line={place.line},"
    return f"::{kind} {at}title={_property(f'fedsec gate: {check.rule}')}::{_message(sentence(check))}"


def _message(text: str) -> str:
    """A text on one line, by the escapes of GitHub's runner."""
    return visible(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
