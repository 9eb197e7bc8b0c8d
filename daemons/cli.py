"""The `headrace` command: which commands there are, and what becomes of an error.

A command's module is imported when the command is named, and imports the machinery it needs when it runs: help and
completion load neither zmq nor rich.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import click

from ..pipeline.errors import HeadraceError
from .commands.exits import FAILED, OK, USAGE, error_code, exit_code
from .commands.printing import print_json, say

COMMANDS = {
    "Daemons": {
        "up": "up",
        "router": "machines",
        "broker": "machines",
        "pipeliner": "machines",
    },
    "Pipelines": {
        "submit": "submit",
        "run": "submit",
        "check": "checking",
        "list": "reading",
        "show": "reading",
        "watch": "watching",
        "results": "reading",
        "logs": "output",
        "dot": "drawing",
        "explain": "reading",
        "cache": "caching",
    },
    "Control": {
        "cancel": "control",
        "pause": "control",
        "resume": "control",
        "retry": "control",
        "rerun": "control",
        "prune": "control",
    },
    "Cluster": {
        "status": "cluster",
        "drain": "draining",
        "top": "watching",
        "events": "events",
        "doctor": "doctor",
        "config": "configuration",
        "completion": "completion",
    },
    "Job maps": {
        "namespace": "namespace",
    },
}
"""Heading of the help, command, module below `commands` that has it as `<command>_command`."""
MODULES = {name: module for group in COMMANDS.values() for name, module in group.items()}


class Commands(click.Group):
    """Loads commands by name, and is the boundary where errors become one sentence and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in MODULES:
            return None
        module = importlib.import_module(f".commands.{MODULES[cmd_name]}", __package__)
        found: click.Command = getattr(module, f"{cmd_name}_command")
        return found

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args[:2] == ["broker", "drain"]:
            args = args[1:]
        if args and not args[0].startswith("-") and args[0] not in MODULES:
            close = difflib.get_close_matches(args[0], MODULES, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise click.UsageError(f"there is no command {args[0]!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for heading, names in COMMANDS.items():
            with formatter.section(heading):
                formatter.write_dl([(name, self._summary(ctx, name)) for name in names])

    def _summary(self, ctx: click.Context, name: str) -> str:
        found = self.get_command(ctx, name)
        return found.get_short_help_str(90) if found else ""

    def main(  # type: ignore[override]  # click's overloads say the same in four forms
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        arguments = list(sys.argv[1:] if args is None else args)
        run = functools.partial(super().main, arguments, prog_name, standalone_mode=False, **extra)
        code = guarded(run, wants_json(arguments))
        if standalone_mode:
            sys.exit(code)
        return code


def wants_json(arguments: Sequence[str]) -> bool:
    """Known before the arguments are parsed: a mistake in them is answered in JSON too."""
    return "--json" in arguments[: arguments.index("--") if "--" in arguments else None]


def guarded(run: Callable[[], object], as_json: bool) -> int:
    """Run a command; whatever it raises becomes one message and an exit code."""
    try:
        code = run()
        sys.stdout.flush()
    except BrokenPipeError:
        _stop_writing()
        return OK
    except click.ClickException as error:
        return _answer(error, USAGE, error.format_message(), as_json, _usage(error))
    except (HeadraceError, TimeoutError) as error:
        return _answer(error, exit_code(error), str(error), as_json)
    except (KeyboardInterrupt, click.Abort) as error:
        return _answer(error, exit_code(error), str(error.__cause__ or error) or "interrupted", as_json)
    except Exception as error:  # noqa: BLE001 - the boundary: a mistake of ours is shown whole, and answered in JSON too
        traceback.print_exc()
        return _answer(error, FAILED, f"{type(error).__name__}: {error}", as_json)
    return code if isinstance(code, int) else OK


def _answer(error: BaseException, code: int, message: str, as_json: bool, usage: str = "") -> int:
    if as_json:
        print_json("error", {"error": {"code": error_code(error), "message": message, "exit": code}})
    else:
        say(f"{usage}headrace: {message}", error=True)
    return code


def _usage(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.get_usage()}\n" if context else ""


def _stop_writing() -> None:
    """Whoever read our output has seen enough."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group("headrace", cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="headrace", message="headrace %(version)s")
def commands() -> None:
    """Durable pipelines of jobs, on one machine or a small cluster.

    Start a cluster with `headrace up`, give it work with `headrace submit`. Settings come from flags, from the
    environment (HEADRACE_API, ...) and from headrace.toml in the current folder: see `headrace config`.
    """
    logging.getLogger("headrace").addHandler(logging.NullHandler())


def main() -> None:
    """The console command."""
    commands.main(prog_name="headrace")
