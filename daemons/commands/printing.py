"""What commands print: one JSON value for programs, tables and sentences for people.

Plain text when the output is piped: nothing is shortened, nothing is coloured, columns are separated by two blanks.
"""

from __future__ import annotations

import base64
import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, redirect_stdout
from datetime import date, datetime, time
from typing import Any

import click

VERSION = 1
"""Of the JSON that commands print: raised when a field changes its meaning or goes."""
STATE_COLOURS = {
    "success": "green",
    "failed": "red",
    "lost": "red",
    "cancelled": "yellow",
    "cancelling": "yellow",
    "running": "cyan",
    "queued": "blue",
}


def say(text: str = "", *, error: bool = False) -> None:
    click.echo(text, err=error)


def print_json(kind: str, body: Mapping[str, Any]) -> None:
    """Exactly one JSON value, on one line."""
    click.echo(json.dumps({"version": VERSION, "kind": kind, **jsonable(body)}, ensure_ascii=False, allow_nan=False))


@contextmanager
def prints_aside() -> Iterator[None]:
    """What user code (and its subprocesses) prints meanwhile goes to standard error: our output is ours alone."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def on_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def jsonable(value: Any) -> Any:
    """The nearest thing that JSON can say: texts for times, lists for sets and arrays, base64 for bytes."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_key(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, Set):
        return sorted((jsonable(item) for item in value), key=repr)
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(bytes(value)).decode("ascii")
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if callable(getattr(value, "tolist", None)):
        return jsonable(value.tolist())
    return str(value)


def _key(key: object) -> str:
    return key if isinstance(key, str) else str(jsonable(key))


def print_table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> None:
    lines = [[_cell(cell) for cell in row] for row in rows]
    if on_terminal():
        _print_rich_table(headers, lines, title)
        return
    if title:
        say(title)
    widths = [max(map(len, column)) for column in zip(headers, *lines, strict=True)]
    for line in [list(headers), *lines]:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _print_rich_table(headers: Sequence[str], lines: list[list[str]], title: str) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*headers, title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for line in lines:
        table.add_row(*(Text(cell, style=STATE_COLOURS.get(cell, ""), overflow="fold") for cell in line))
    Console().print(table)


def _cell(value: object) -> str:
    """One line of text: what cannot be shown on a line is escaped."""
    text = "" if value is None else str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


# Words for numbers --------------------------------------------------------------------------------------------------


def moment(at: float | None) -> str:
    """Local time, to the second."""
    return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S") if at else ""


def duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [
        f"{number} {unit}" for number, unit in ((days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")) if number
    ]
    return " ".join(parts[:2])


def size(number: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


def counts(states: Mapping[str, int]) -> str:
    """`3 success, 1 running`."""
    return ", ".join(f"{number} {state}" for state, number in states.items() if number)
