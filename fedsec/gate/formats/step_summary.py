"""The verdict as Markdown, for GitHub's step summary or a comment."""

import re

from fedsec.gate.formats.words import changed, demanded, value
from fedsec.gate.verdict import Check, Outcome, Verdict
from fedsec.report.visible import visible

MOST_BYTES = 900_000
"""GitHub shows no step summary above 1 MiB."""
_SIGNS = {
    Outcome.PASS: "✅",
    Outcome.INCONCLUSIVE: "❔",
    Outcome.FAILED: "❌",
    Outcome.MISSING: "⛔",
    Outcome.INCOMPARABLE: "⛔",
}
_HEAD = (
    "| | check | measured | demanded | change | why |",
    "| --- | --- | --- | --- | --- | --- |",
)


def render(verdict: Verdict) -> str:
    """A heading, what concerns the whole, and a table of the checks, the worst first."""
    lines = [f"## {_SIGNS[verdict.outcome]} {_plain(verdict.sentence)}", ""]
    lines += [f"- **{_plain(problem)}**" for problem in verdict.problems]
    lines += [f"- {_plain(note)}" for note in verdict.notes]
    if verdict.strict:
        lines.append("- Strict: what is inconclusive fails.")
    lines += ["", *_HEAD]
    size = sum(len(line.encode()) + 1 for line in lines)
    checks = verdict.worst_first
    for place, check in enumerate(checks):
        row = _row(check)
        size += len(row.encode()) + 1
        if size > MOST_BYTES:
            lines += ["", f"{len(checks) - place} more checks are left out here."]
            break
        lines.append(row)
    return "\n".join([*lines, ""])


def _row(check: Check) -> str:
    cells = (check.name, value(check), demanded(check), changed(check), "; ".join(check.reasons))
    return f"| {_SIGNS[check.outcome]} {check.outcome.word} | {' | '.join(map(_plain, cells))} |"


def _plain(text: str) -> str:
    """A text that Markdown shows as it is: nothing in it is a link, a mention, a tag or the end of a cell."""
    flat = " ".join(visible(text).split())
    return re.sub(r"(?i)[\\`*_{}\[\]()<>#!|~&@:]|(?<=www)\.", lambda found: f"&#{ord(found[0])};", flat)
