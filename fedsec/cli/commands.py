"""Commands that the command line recommends: quoted for a shell, and with what they were told."""

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedsec.report.again import again

if TYPE_CHECKING:
    from fedsec.config.schema import Scenario
    from fedsec.config.suite import Suite


def command(
    verb: str,
    what: str | Path,
    *,
    overrides: Iterable[str] = (),
    plugins: Iterable[Path] = (),
    out: Path | None = None,
    **numbers: object,
) -> list[str]:
    """The words of a command that was given these options.

    Args:
        verb: such as `run`.
        what: its argument.
        overrides: of `--set`.
        plugins: of `--allow-plugins`.
        out: of `--out`; left out where it is the default.
        numbers: other options by name; those that are None are left out.
    """
    words = ["fedsec", verb, str(what)]
    for value in overrides:
        words += ["--set", value]
    for file in plugins:
        words += ["--allow-plugins", str(file)]
    if out is not None and out != Path("runs"):
        words += ["--out", str(out)]
    for name, number in numbers.items():
        words += [] if number is None else [f"--{name}", str(number)]
    return words


def quoted(words: Sequence[str]) -> str:
    """The line to type."""
    return shlex.join(words)


def again_from_here(record: Mapping[str, Any], run: Path) -> list[str]:
    """The words that run a run again, or finish it, from the working directory."""
    return again(record, os.fspath(run))


def next_step(scorecard: Mapping[str, Any], scenario: "Scenario | Suite | None", rerun: Sequence[str]) -> str:
    """What is worth doing after this run: training that works, then more seeds, then a closer look at what did most.

    Args:
        scorecard: of the run.
        scenario: what ran; None if it cannot be read any more.
        rerun: the words that run it again.
    """
    from fedsec.config.suite import Suite
    from fedsec.report.trouble import steps_too_long  # numpy, which most verbs do without

    rows, seeds = scorecard["summary"], {cell["seed"] for cell in scorecard["cells"]}
    broken = any(row["attack"] == row["defense"] == "none" and steps_too_long(row) for row in rows)
    if broken and scenario is not None and not isinstance(scenario, Suite):
        rate = scenario.federation.learning_rate / 10
        return quoted([*rerun, "--set", f"federation.learning_rate={rate:g}"])
    if len(seeds) == 1:
        seed = next(iter(seeds))
        return quoted([*rerun, "--set", f"matrix.seed=[{seed}, {seed + 1}, {seed + 2}]"])
    harmed = [row for row in rows if row.get("harm") and row["harm"]["value"] is not None]
    worst = max(harmed, key=lambda row: float(row["harm"]["value"]), default=None)
    return quoted(["fedsec", "list", "attacks"] if worst is None else ["fedsec", "show", worst["attack"].split("(")[0]])
