"""`headrace status`: the Router, its peers, its queues and its rates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..config import ClientConfig
from .connecting import connect
from .options import command, json_option, settings
from .printing import duration, print_json, print_table, say

DURATIONS = {"uptime", "silent"}


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
    rates = status.get("rates", {})
    router = {key: value for key, value in status["router"].items() if key not in rates and key != "at"}
    for name, values in (("router", router), ("rates", rates), ("limits", status.get("limits", {}))):
        if values:
            say(f"{name}: {facts_line(values)}")
    paused = status.get("paused", {})
    if names := [
        *(["the cluster"] if paused.get("cluster") else []),
        *(f"role {one}" for one in paused.get("roles", ())),
    ]:
        say(f"paused: {', '.join(names)}")
    for name in ("brokers", "pipeliners", "queues"):
        say()
        print_maps(name, status.get(name, ()))


def facts_line(values: Mapping[str, Any]) -> str:
    known = {key: word(key, value) for key, value in values.items()}
    return ", ".join(f"{key.replace('_', ' ')} {text}" for key, text in known.items() if text)


def print_maps(title: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """A table of maps: a column for every key that one of them has."""
    lines = list(rows)
    headers = list(dict.fromkeys(key for line in lines for key in line))
    if not lines:
        say(f"{title}: none")
        return
    print_table(
        [header.replace("_", " ") for header in headers],
        [[word(header, line.get(header)) for header in headers] for line in lines],
        title=title,
    )


def word(key: str, value: Any) -> str:
    """A value in as few characters as say it; the times among them are durations."""
    if value is None:
        return ""
    if key in DURATIONS:
        return duration(value)
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e6 else f"{value:.0f}"
    if isinstance(value, Mapping):
        return " ".join(f"{name}:{word(name, item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ",".join(word("", item) for item in value)
    return str(value)
