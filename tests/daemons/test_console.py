"""Lines of many processes under one terminal."""

from __future__ import annotations

import io
import json
import os
import threading

from headrace.daemons.console import CAPACITY, Console


def test_every_line_says_who_wrote_it() -> None:
    stream = io.StringIO()
    console = Console(stream, width=6)
    console.line("router", "started")
    console.line("up", "ok")
    console.line("", "ready")
    console.close(timeout=60)
    assert stream.getvalue() == "router | started\nup     | ok\nready\n"


def test_colours_are_used_only_when_asked_for() -> None:
    stream = io.StringIO()
    console = Console(stream, colour=True)
    console.line("router", "started")
    console.close(timeout=60)
    assert stream.getvalue().startswith("\x1b[")


def test_as_json_every_line_is_one_map() -> None:
    stream = io.StringIO()
    console = Console(stream, as_json=True)
    console.line("router", '{"message": "started"}')
    console.line("broker", "plain")
    console.close(timeout=60)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert lines == [{"message": "started"}, {"name": "broker", "message": "plain"}]


def test_a_terminal_that_does_not_read_stops_nobody_and_the_loss_is_told() -> None:
    class Stuck(io.StringIO):
        free = threading.Event()

        def write(self, text: str) -> int:
            self.free.wait(60)
            return super().write(text)

    stream = Stuck()
    console = Console(stream)
    for number in range(CAPACITY + 100):
        console.line("router", str(number))
    assert console.dropped >= 90
    stream.free.set()
    console.line("router", "last")
    console.close(timeout=60)
    assert f"... {console.dropped} lines dropped" in stream.getvalue()


def test_a_terminal_that_is_gone_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    stream = os.fdopen(write, "w")
    console = Console(stream)
    console.line("router", "started")
    console.close(timeout=60)
    try:
        stream.close()
    except BrokenPipeError:
        pass
