"""`fedsec init`: a scenario to start from, and the CI that gates it."""

import json
import os
import shlex
from collections.abc import Mapping
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from fedsec import __version__
from fedsec.errors import FedsecError


class Host(StrEnum):
    """Whose CI runs the gate."""

    GITHUB = "github"
    GITLAB = "gitlab"


PIPELINES = {Host.GITHUB: Path(".github/workflows/robustness.yml"), Host.GITLAB: Path(".gitlab-ci.yml")}
"""The file that each of them reads, from the top of the repository."""
IGNORED = ("runs/", "fedsec-reports/")
"""What a run and a gate leave behind, and no repository keeps."""


def init(
    file: Annotated[Path, typer.Argument(help="Where to write it; a name that ends in .yaml or .yml.")] = Path(
        "scenario.yaml"
    ),
    ci: Annotated[
        bool,
        typer.Option(
            "--ci",
            envvar="FEDSEC_CI",
            help="From the top of a repository: a scenario with a gate, the CI that runs it, and lines of .gitignore.",
        ),
    ] = False,
    host: Annotated[
        Host, typer.Option("--host", envvar="FEDSEC_HOST", help="With --ci: whose CI it is.")
    ] = Host.GITHUB,
    force: Annotated[bool, typer.Option("--force", envvar="FEDSEC_FORCE", help="Overwrite files.")] = False,
) -> None:
    """Write a commented scenario to start from: valid as it stands, and run in under a minute."""
    from fedsec.cli.commands import command, quoted
    from fedsec.config.suite import ENDINGS

    if file.suffix not in ENDINGS:
        raise FedsecError(f"{file} must end in .yaml or .yml")
    if ci and (file.is_absolute() or ".." in file.parts):
        raise FedsecError(f"{file} must lie in this folder, the top of the repository, where CI runs it from")
    name = _name(file.stem)
    written = {file: _starter("gated.yaml" if ci else "first.yaml", file, name)}
    if ci:
        written[PIPELINES[host]] = _starter(f"{host.value}.yaml", file, name)
    _write(written, force=force)
    if ci:
        _ignore(Path(".gitignore"))
    steps = [quoted(command(verb, file)) for verb in ("plan", "run")]
    if ci:
        baseline = f"baselines/{name}.json"
        steps += [quoted(["fedsec", "baseline", "bless", f"runs/{name}", "--baseline", baseline])]
        steps += [quoted(["git", "add", str(file), str(PIPELINES[host]), baseline, ".gitignore"])]
    are = " and ".join(map(str, written)) + (" are written" if ci else " is written")
    typer.echo(f"{are}. Look at what it says, change it, then:" + "".join(f"\n  {step}" for step in steps))


def _starter(starter: str, file: Path, name: str) -> str:
    """The text of a starter, about that file and that scenario."""
    from fedsec.report.visible import visible

    text = (resources.files("fedsec.cli") / "starters" / starter).read_text(encoding="utf-8")
    words: Mapping[str, str] = {
        "__NAME__": name,
        "__REQUIREMENT__": f"fedsec=={__version__}",
        "__FILE__": json.dumps(file.as_posix())[1:-1],  # between the double quotes of YAML
        "__COMMAND_FILE__": visible(shlex.quote(file.name if starter == "first.yaml" else file.as_posix())),
    }
    for word, value in words.items():
        text = text.replace(word, value)
    return text


def _write(texts: Mapping[Path, str], *, force: bool) -> None:
    """Write all of them, or none where one is there already."""
    from fedsec.store.atomic import write_text

    for file in texts:
        if os.path.lexists(file) and not force:
            other = "add the job by hand (docs/ci.md)" if file in PIPELINES.values() else "give another name"
            raise FedsecError(f"{file} exists; {other}, or --force to overwrite it")
    for file, text in texts.items():
        try:
            write_text(file, text)
        except OSError as error:
            raise FedsecError(f"{file} cannot be written: {error}") from error


def _ignore(file: Path) -> None:
    """Add to .gitignore what it lacks."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        missing = [line for line in IGNORED if line not in lines]
        if missing:
            _write({file: "\n".join([*lines, *missing]) + "\n"}, force=True)
    except (OSError, UnicodeDecodeError) as error:
        raise FedsecError(f"{file} cannot be read: {error}. Add to it: {' '.join(IGNORED)}") from error


def _name(stem: str) -> str:
    """The file's name as a scenario's."""
    kept = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in stem.lower())
    return "-".join(part for part in kept.split("-") if part)[:80] or "scenario"
