"""How commands are declared: examples at the end of every help, flags made from the fields of a configuration."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from .. import config
from ..settings import Setting, as_text

F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C")


class Command(click.Command):
    """A command whose help ends with examples."""

    def __init__(self, *arguments: Any, examples: Sequence[str] = (), **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.examples = tuple(examples)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"{'':{formatter.current_indent}}{example}\n")


def command(name: str, *examples: str) -> Callable[[Callable[..., Any]], Command]:
    """`@command('list', 'headrace list --json')`"""
    return click.command(name, cls=Command, examples=examples, context_settings={"help_option_names": ["-h", "--help"]})


def settings(*sections: type[Any]) -> Callable[[F], F]:
    """A flag for every setting of these configurations; one that several have is one flag."""
    found: dict[str, Setting] = {}
    for one in (one for section in sections for one in config.fields_of(section)):
        found.setdefault(one.name, one)

    def decorate(function: F) -> F:
        for one in reversed(found.values()):
            function = _option(one)(function)
        return function

    return decorate


def _option(one: Setting) -> Callable[[F], F]:
    help_text = f"{one.help}{_default(one)}"
    if one.is_flag:
        return click.option(f"--{one.key}/--no-{one.key}", one.name, default=None, help=help_text)
    return click.option(f"--{one.key}", one.name, default=None, metavar=one.metavar, help=help_text)


def _default(one: Setting) -> str:
    if one.default in (None, {}) or one.is_flag:
        return ""
    return f"  [{as_text(one.default)}]"


def chosen(section: type[C], given: Mapping[str, object]) -> C:
    """The configuration, from these flags and all other sources."""
    return config.load(section, _flags_of(section, given)).config


def arguments_for(section: type[Any], given: Mapping[str, object]) -> tuple[list[str], dict[str, str]]:
    """A configuration as a child process needs it: (flags, environment). Secrets never stand on a command line."""
    made = chosen(section, given)
    flags: list[str] = []
    environment: dict[str, str] = {}
    for one in config.fields_of(section):
        value = getattr(made, one.name)
        if value is None or value == {}:
            continue
        if one.secret:
            environment[config.variable(one.name)] = json.dumps(dict(value))
        elif one.is_flag:
            flags.append(f"--{one.key}" if value else f"--no-{one.key}")
        else:
            flags.extend([f"--{one.key}", as_text(value)])
    return flags, environment


def _flags_of(section: type[Any], given: Mapping[str, object]) -> dict[str, object]:
    return {one.name: given.get(one.name) for one in config.fields_of(section)}


json_option = click.option("--json", "as_json", is_flag=True, help="print one JSON value and nothing else")
