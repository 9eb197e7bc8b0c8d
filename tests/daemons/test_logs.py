"""The log lines of the commands."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from headrace.daemons.logs import configure


@pytest.fixture(autouse=True)
def root_logger_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_line_has_time_name_level_and_message() -> None:
    stream = io.StringIO()
    configure("info", stream=stream)
    logging.getLogger("Router").info("Entering %s", "main loop")
    time, name, level, message = stream.getvalue().rstrip("\n").split(" - ")
    assert (name, level, message) == ("Router", "INFO", "Entering main loop")
    assert time[4] == "-"


def test_lines_below_the_level_are_left_out() -> None:
    stream = io.StringIO()
    configure("warning", stream=stream)
    logging.getLogger("Router").info("quiet")
    logging.getLogger("Router").warning("loud")
    assert "quiet" not in stream.getvalue()
    assert "loud" in stream.getvalue()


def test_json_lines_are_one_map_each_with_their_traceback() -> None:
    stream = io.StringIO()
    configure("debug", as_json=True, stream=stream)
    logging.getLogger("Broker").debug("first\nsecond")
    try:
        raise ValueError("boom")
    except ValueError:
        logging.getLogger("Broker").exception("it failed")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["name"], first["level"], first["message"]) == ("Broker", "debug", "first\nsecond")
    assert "traceback" not in first
    assert "ValueError: boom" in second["traceback"]


def test_configuring_again_replaces_the_first_configuration() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure(stream=first)
    configure(stream=second)
    logging.getLogger("x").error("once")
    assert (first.getvalue(), second.getvalue().count("once")) == ("", 1)
