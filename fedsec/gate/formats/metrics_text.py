"""The verdict as OpenMetrics text, for GitLab's `reports:metrics` and for what scrapes files."""

from collections.abc import Callable, Iterable, Iterator

from fedsec.gate.verdict import Check, Outcome, Verdict
from fedsec.report.visible import visible

_FAMILIES: tuple[tuple[str, str, Callable[[Check], float | None]], ...] = (
    ("value", "The mean over seeds of the gated metric.", lambda check: check.value),
    ("baseline", "The same in the baseline.", lambda check: check.baseline),
    ("difference", "The value less the baseline's.", lambda check: (check.difference or {}).get("value")),
    ("passed", "1 if the check passed, else 0.", lambda check: float(check.outcome == Outcome.PASS)),
)


def render(verdict: Verdict) -> str:
    """Gauges by check, and counts of the whole; no time stamps."""
    lines: list[str] = []
    for name, meaning, read in _FAMILIES:
        lines += _family(f"fedsec_gate_{name}", meaning, _samples(verdict.checks, read))
    counts = (({"outcome": one.word}, float(verdict.count(one))) for one in Outcome)
    lines += _family("fedsec_gate_checks", "Checks by their outcome.", counts)
    lines += _family("fedsec_gate_exit_code", "Of fedsec gate.", [({}, float(verdict.exit_code))])
    return "\n".join([*lines, "# EOF", ""])


def _samples(checks: Iterable[Check], read: Callable[[Check], float | None]) -> Iterator[tuple[dict[str, str], float]]:
    for check in checks:
        number = read(check)
        if number is not None:
            yield {"check": check.name, "scenario": check.scenario, "metric": check.metric}, number


def _family(name: str, meaning: str, samples: Iterable[tuple[dict[str, str], float]]) -> list[str]:
    found = [f"{name}{_labels(labels)} {number!r}" for labels, number in samples]
    return [f"# TYPE {name} gauge", f"# HELP {name} {meaning}", *found] if found else []


def _labels(labels: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items()) + "}" if labels else ""


def _escaped(text: str) -> str:
    return visible(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
