"""Errors that a user can fix, with a message that says what to do, and the exit codes of the command line."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of `fedsec`, part of its public interface."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    """A mistake in usage or configuration."""
    GATE_FAILED = 10
    """A limit of the scenario is broken, or something is worse than the baseline."""
    CELLS_MISSING = 11
    """A cell ended in an error or is missing."""
    INCOMPARABLE = 12
    """Runs cannot be compared, or there is no baseline that this run can be compared with."""
    INCONCLUSIVE = 13
    """Under `--strict`: nothing failed, and something could not be decided."""
    INTERRUPTED = 130


class FedsecError(Exception):
    """An error that the user can fix; printed without a traceback."""

    exit_code = ExitCode.USAGE


class UnknownNameError(FedsecError):
    """Nothing is registered under that name."""


class DuplicateNameError(FedsecError):
    """Two plug-ins claim the same name."""


class MissingDataError(FedsecError):
    """A data set or model is not on this machine; the message names every way to get it."""


class WrongAnswerError(FedsecError, ValueError):
    """An attack's answer is not what its goal asked for; raised by goals, without any text of a client.

    Whatever else an attack raises may quote a client's text, and is told to the run's owner alone.
    """


class NotARunError(FedsecError):
    """The folder holds no run, or one that this version cannot read."""


class IncomparableError(FedsecError):
    """Two runs have nothing that can be compared; the message names what differs."""

    exit_code = ExitCode.INCOMPARABLE


class BaselineError(FedsecError):
    """There is no baseline, or none that this run can be compared with."""

    exit_code = ExitCode.INCOMPARABLE
