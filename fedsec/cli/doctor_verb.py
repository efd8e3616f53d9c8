"""`fedsec doctor`: is this installation sound."""

import json
from pathlib import Path

import typer

from fedsec.cli.options import AllowPlugins, Json, Out, allow
from fedsec.errors import ExitCode


def doctor(
    out: Out = Path("runs"),
    plugins: AllowPlugins = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Check Python, packages, plug-ins, data, weights and memory, and run one tiny round; exit 2 if a check fails."""
    from fedsec.cli.checks import Grade, examine

    allow(plugins)
    findings = []
    for finding in examine(out):
        findings.append(finding)
        if not as_json:
            advice = f"\n      {finding.advice}" if finding.advice else ""
            typer.echo(f"{finding.grade:<4}  {finding.what}: {finding.found}{advice}")
    failed = sum(finding.grade == Grade.FAIL for finding in findings)
    if as_json:
        typer.echo(json.dumps([finding.as_json() for finding in findings], ensure_ascii=False))
    else:
        warned = sum(finding.grade == Grade.WARN for finding in findings)
        well = f"Everything works but for {warned} warning{'s' * (warned > 1)}." if warned else "Nothing is wrong."
        typer.echo(f"\n{failed} of {len(findings)} checks failed" if failed else f"\n{well}")
    if failed:
        raise typer.Exit(ExitCode.USAGE)
