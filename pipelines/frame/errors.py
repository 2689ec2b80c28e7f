"""One small tree of errors whose text is written for the user, not for a debugger.

Form of every message: ``<where>: <name> (<value>) must <rule>; <remedy>``.
"""

import sys
from collections.abc import Callable

EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_PREEMPTED = 75  # sysexits.h EX_TEMPFAIL: try again and it goes on where it stopped
EXIT_INTERRUPTED = 130  # as shells have it
_LONGEST = 200  # letters of a value in a message


class MasklineError(Exception):
    """Base of all errors shown without a traceback."""

    exit_code = EXIT_FAILED


class ParamsError(MasklineError):
    """params.yaml or a recipe breaks a rule."""

    exit_code = EXIT_BAD_INPUT


class DataError(MasklineError):
    """An input file is missing, unreadable or not what the stage can use."""

    exit_code = EXIT_BAD_INPUT


class CheckpointError(MasklineError):
    """A checkpoint or a model folder cannot be used."""


class BusyError(MasklineError):
    """Another process holds the lock of this stage."""


class CheckFailed(MasklineError):
    """A stage's own check of its result failed; nothing was committed."""


class OutOfMemory(MasklineError):
    """A device has no room for what it was given at once."""


class PeerLost(MasklineError):
    """Another process of a training is gone; the next start goes on from its checkpoint.

    A flow starts it again by itself. For a scheduler it has failed: the other process may have died
    of what it would die of again.
    """


class PeerMissing(MasklineError):
    """Another machine of a run never came."""


class Preempted(BaseException):
    """The stage was told to stop and did; the next start goes on from its checkpoint.

    Not an `Exception`, so that no library on the way takes it for an error of its own.
    """

    exit_code = EXIT_PREEMPTED


def exit_code(act: Callable[[], int]) -> int:
    """The exit code of a command; an error for its user is printed, without a traceback."""
    try:
        return act()
    except MasklineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def broken_rule(where: str, name: str, value: object, rule: str, remedy: str) -> str:
    """The one form of an error message."""
    return f"{where}: {name} ({shown(value)}) must {rule}; {remedy}"


def shown(value: object) -> str:
    """A value as messages show it: in quotes if it is text, shortened if it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
