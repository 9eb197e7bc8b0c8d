"""What commands print."""

from __future__ import annotations

import json
import math
import time
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.daemons.commands import printing


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (math.nan, None),
        (math.inf, None),
        (1.5, 1.5),
        (True, True),
        ({"a": (1, 2)}, {"a": [1, 2]}),
        ({(1, 2): None}, {"[1, 2]": None}),
        ({1: 2}, {"1": 2}),
        ({3, 1, 2}, [1, 2, 3]),
        (b"abc", "YWJj"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05+00:00"),
        (date(2026, 1, 2), "2026-01-02"),
        (Decimal("1.10"), "1.10"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Path("/x"), "/x"),
        (1 + 2j, "(1+2j)"),
    ],
)
def test_json_says_the_nearest_thing(value: object, shown: object) -> None:
    assert printing.jsonable(value) == shown


def test_arrays_become_lists() -> None:
    numpy = pytest.importorskip("numpy")
    assert printing.jsonable({"a": numpy.arange(4).reshape(2, 2), "b": numpy.float64("nan")}) == {
        "a": [[0, 1], [2, 3]],
        "b": None,
    }


values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=20,
)


@settings(deadline=None)
@given(values)
def test_every_value_can_be_printed_as_strict_json(value: object) -> None:
    text = json.dumps(printing.jsonable(value), allow_nan=False)
    assert json.loads(text) == printing.jsonable(value)


def test_a_piped_table_shortens_nothing_and_has_no_colours(capsys: pytest.CaptureFixture[str]) -> None:
    printing.print_table(["id", "title"], [["a" * 32, "t" * 300], ["b" * 32, None]], title="runs")
    assert capsys.readouterr().out.splitlines() == [
        "runs",
        f"id{'':32}title",
        f"{'a' * 32}  {'t' * 300}",
        "b" * 32,
    ]


def test_a_cell_never_breaks_its_line_or_commands_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    printing.print_table(["title"], [["a\nb\x1b[31mc"]])
    assert capsys.readouterr().out.splitlines() == ["title", "a\\nb\\x1b[31mc"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.0, "0 ms"),
        (0.0123, "12 ms"),
        (1.25, "1.2 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (90061, "1 d 1 h"),
    ],
)
def test_durations_are_told_in_words(seconds: float | None, text: str) -> None:
    assert printing.duration(seconds) == text


def test_moments_are_local_time() -> None:
    at = time.mktime((2026, 1, 2, 3, 4, 5, 0, 0, -1))
    assert printing.moment(at) == "2026-01-02 03:04:05"
    assert printing.moment(None) == ""


def test_sizes_have_units() -> None:
    assert [printing.size(number) for number in (0, 2048, 3 * 2**20, 2**42)] == [
        "0 bytes",
        "2.0 KiB",
        "3.0 MiB",
        "4.0 TiB",
    ]
