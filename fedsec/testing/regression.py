"""An assertion for robustness tests: a run keeps to its scenario's gate and to a baseline."""

import shlex
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedsec.gate.verdict import Verdict
    from fedsec.result import RunResult


class InconclusiveWarning(UserWarning):
    """Nothing failed, and something could not be decided."""


def assert_no_regression(run: "RunResult | Path | str", baseline: Path | str | None, *, strict: bool = False) -> None:
    """Hold a run to its scenario's `gate:` and to a baseline, with the verdict of `fedsec gate`.

    Warns with `InconclusiveWarning` where nothing failed and something could not be decided. No baseline is written:
    that takes `fedsec baseline bless`.

    Args:
        run: what `fedsec_run` or `fedsec.run` returned, or a run's folder.
        baseline: the file that `fedsec baseline bless` wrote; None where no rule has a tolerance.
        strict: whether what is inconclusive fails too.

    Raises:
        AssertionError: `fedsec gate` would fail; names every check that did not pass and says what to do.
        FedsecError: there is no run, or its scenario has no gate.
    """
    __tracebackhide__ = True
    from fedsec.gate.judge import judge, look
    from fedsec.gate.verdict import Outcome
    from fedsec.result import read

    result, record = read(Path(run) if isinstance(run, Path | str) else run.path)
    looked = look(result.path, record, result.scorecard, result.cells)
    verdict = judge(looked, None if baseline is None else Path(baseline), strict=strict)
    if verdict.exit_code:
        raise AssertionError(_told(verdict, result.path, baseline))
    if verdict.outcome == Outcome.INCONCLUSIVE:
        warnings.warn(_told(verdict, result.path, baseline), InconclusiveWarning, stacklevel=2)


def _told(verdict: "Verdict", run: Path, baseline: Path | str | None) -> str:
    """The verdict, every check that did not pass, and the commands that come next."""
    from fedsec.gate.formats.words import sentence
    from fedsec.gate.verdict import Outcome
    from fedsec.report.visible import visible

    lines = [verdict.sentence, *verdict.problems]
    lines += [sentence(check) for check in verdict.worst_first if check.outcome != Outcome.PASS]
    held = [] if baseline is None else ["--baseline", str(baseline)]
    lines.append(f"To see everything: {shlex.join(['fedsec', 'gate', str(run), *held])}")
    if baseline is not None:
        lines.append(f"If the change is meant: {shlex.join(['fedsec', 'baseline', 'bless', str(run), *held])}")
    return visible("\n".join(lines))
