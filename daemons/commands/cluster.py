"""`headrace status`: the Router, its peers, its queues and its rates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..config import ClientConfig
from .connecting import connect
from .options import command, json_option, settings
from .printing import print_json, print_table, say


@command("status", "headrace status", "headrace status --json", "headrace status --api tcp://127.0.0.1:6000")
@json_option
@settings(ClientConfig)
def status_command(as_json: bool, **given: Any) -> None:
    """Show the Router, its peers, its queues and its rates."""
    with connect(given) as cluster:
        status = cluster.cluster()
    if as_json:
        print_json("status", {"status": status})
        return
    print_status(status)


def print_status(status: Mapping[str, Any]) -> None:
    for name in ("router", "rates"):
        if status.get(name):
            say(f"{name}: {facts_line(status[name])}")
    for name in ("brokers", "pipeliners", "queues"):
        say()
        print_maps(name, status.get(name, ()))


def facts_line(values: Mapping[str, Any]) -> str:
    known = {key.replace("_", " "): word(value) for key, value in values.items()}
    return ", ".join(f"{key} {value}" for key, value in known.items() if value)


def print_maps(title: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """A table of maps: a column for every key that one of them has."""
    lines = list(rows)
    headers = list(dict.fromkeys(key for line in lines for key in line))
    if not lines:
        say(f"{title}: none")
        return
    print_table(
        [header.replace("_", " ") for header in headers],
        [[word(line.get(header)) for header in headers] for line in lines],
        title=title,
    )


def word(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e6 else f"{value:.0f}"
    if isinstance(value, Mapping):
        return " ".join(f"{key}:{word(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ",".join(map(word, value))
    return str(value)
