"""Which pipeline a command is about: named as an argument, or as a file of one style by a flag of its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .printing import say

if TYPE_CHECKING:
    from ...pipeline.pipeline import Pipeline

F = TypeVar("F", bound=Callable[..., Any])

SHOWN = 10
TARGET = "FILE|FILE.py:NAME|MODULE:NAME"
_FLAGS = {
    "job_file": ("-j", "--job-file", "a job file, in JSON or TOML"),
    "alfscript": ("-a", "--alfscript", "an Alfred job script"),
    "job_map": ("-m", "--job-map", "a job map"),
}
"""A file is told by its content anyway: these say what it is to the reader of a command line."""


class Target:
    """What was named, and what else was said about it."""

    def __init__(self, name: str, role: str | None = None, priority: int | None = None) -> None:
        self.name = name
        self._options = {"role": role, "priority": priority}

    def load(self) -> Pipeline:
        """The pipeline; what may not be as it was meant is told on standard error."""
        written = self.find()
        pipeline = self.made(written)
        warnings = list(getattr(written, "warnings", ()))
        for warning in warnings[:SHOWN]:
            say(f"warning: {warning}", error=True)
        if len(warnings) > SHOWN:
            say(f"and {len(warnings) - SHOWN} more warnings: `headrace check` tells all", error=True)
        return pipeline

    def find(self) -> Any:
        """The same as it was written."""
        from ...pipeline.loading import find

        return find(self.name)

    def made(self, written: Any) -> Pipeline:
        """The pipeline of what was found."""
        from ...pipeline.loading import as_pipeline

        return as_pipeline(written, **self._options)


def target_argument(function: F) -> Callable[..., Any]:
    """Gives a command its `target`."""

    @wraps(function)
    def with_target(target: str | None, role: str | None, priority: int | None, **given: Any) -> Any:
        files = [given.pop(name) for name in _FLAGS]
        named = [name for name in (target, *files) if name is not None]
        if len(named) != 1:
            flags = ", ".join(f"{short} FILE" for short, _, _ in _FLAGS.values())
            raise click.UsageError(f"name one pipeline: {TARGET}, or {flags}")
        return function(target=Target(named[0], role, priority), **given)

    with_options: Any = with_target
    with_options = click.option("--priority", type=int, help="of the run: higher goes first")(with_options)
    with_options = click.option("--role", help="of actions that have none: cmd makes them shell text")(with_options)
    for name, (short, long, text) in reversed(_FLAGS.items()):
        with_options = click.option(short, long, name, metavar="FILE", help=text)(with_options)
    decorated: Callable[..., Any] = click.argument("target", metavar=TARGET, required=False)(with_options)
    return decorated
