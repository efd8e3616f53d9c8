"""Errors that are somebody's mistake, with a message that says what to do, and the exit codes of the command line."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of `fedsec`; part of its public interface."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    """Usage or configuration."""
    CELLS_MISSING = 11
    """A cell ended in an error or is missing."""
    INTERRUPTED = 130


class FedsecError(Exception):
    """The user can mend this: printed without a traceback."""

    exit_code = ExitCode.USAGE


class UnknownNameError(FedsecError):
    """Nothing is registered under that name."""


class DuplicateNameError(FedsecError):
    """Two plug-ins claim the same name."""


class MissingDataError(FedsecError):
    """A data set or model is not on this machine; the message says every way to get it."""


class WrongAnswerError(FedsecError, ValueError):
    """An attack answered a goal with something else than it was asked for; raised by goals, with no text of a client's.

    Whatever else an attack raises may quote a client's text, and is told to the run's owner alone.
    """


class NotARunError(FedsecError):
    """The folder holds no run, or one of a schema that this version cannot read."""
