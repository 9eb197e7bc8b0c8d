"""Exit codes, and which one an error means."""

from __future__ import annotations

import click

from ...pipeline.errors import Busy, ClusterError, HeadraceError, NotFound, Refused, Unreachable, UserError

OK = 0
FAILED = 1
"""The pipeline failed, or a command could not do its work."""
USAGE = 2
NOT_FOUND = 3
UNREACHABLE = 4
TIMED_OUT = 124
INTERRUPTED = 130


def exit_code(error: BaseException) -> int:
    match error:
        case KeyboardInterrupt() | click.Abort():
            return INTERRUPTED
        case TimeoutError():
            return TIMED_OUT
        case NotFound():
            return NOT_FOUND
        case Refused(code="not-found"):
            return NOT_FOUND
        case Unreachable() | Busy():
            return UNREACHABLE
        case UserError() | Refused() | click.UsageError():
            return USAGE
    return FAILED


def error_code(error: BaseException) -> str:
    """The error in one word, for programs."""
    match error:
        case Refused(code=code):
            return code
        case Busy():
            return "busy"
        case HeadraceError() if not isinstance(error, ClusterError | UserError):
            return "failed"
    words = {
        FAILED: "internal",
        USAGE: "usage",
        NOT_FOUND: "not-found",
        UNREACHABLE: "unreachable",
        TIMED_OUT: "timed-out",
        INTERRUPTED: "interrupted",
    }
    return words[exit_code(error)]
