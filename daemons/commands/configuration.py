"""`headrace config`: what is set, and where it came from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from .. import config
from ..settings import as_text
from .options import command, json_option
from .printing import print_json, print_table

NAMES = [section.section for section in config.SECTIONS]


@dataclass(frozen=True)
class Line:
    daemon: str
    setting: str
    value: Any
    origin: str


@command("config", "headrace config", "headrace config broker --origin", "headrace config --json")
@click.argument("daemon", required=False, type=click.Choice(NAMES))
@click.option("--origin", is_flag=True, help="say where each value came from")
@json_option
def config_command(daemon: str | None, origin: bool, as_json: bool) -> None:
    """Print the settings as seen from this folder and environment."""
    lines = _lines(daemon)
    if as_json:
        print_json("config", {"settings": [vars(line) for line in lines]})
        return
    headers = ["daemon", "setting", "value", "origin"][: 4 if origin else 3]
    print_table(headers, [_row(line)[: len(headers)] for line in lines])


def _lines(daemon: str | None) -> list[Line]:
    lines = []
    for section in config.SECTIONS:
        if daemon in (None, section.section):
            loaded: config.Loaded[Any] = config.load(section)
            for one in config.fields_of(section):
                value = getattr(loaded.config, one.name)
                lines.append(Line(section.section, one.key, value, loaded.origins[one.name]))
    return lines


def _row(line: Line) -> list[str]:
    empty = line.value is None or line.value == {}
    return [line.daemon, line.setting, "-" if empty else as_text(line.value), line.origin]


def stray_variables(environ: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    """(name, the setting it may be meant for) of variables that look like a setting and are none."""
    environ = os.environ if environ is None else environ
    keys = {one.key for section in config.SECTIONS for one in config.fields_of(section)}
    known = {config.variable(key.replace("-", "_")) for key in keys} | {config.FILE_VARIABLE}
    strays = []
    for name in environ.keys() - known:
        close = config.close_name(name.removeprefix(config.PREFIX), keys) if name.startswith(config.PREFIX) else None
        if close:
            strays.append((name, config.variable(close.replace("-", "_"))))
    return sorted(strays)
