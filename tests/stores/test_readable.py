"""What a store writes can be read by people and by other programs, and comes back exactly."""

import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.stores.readable import dumps, from_readable, to_readable

KEYS = st.one_of(st.text(st.characters(), max_size=5), st.integers(), st.sampled_from(["!packed", "$set", "a.b", "!x"]))
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters()), st.binary(), st.dates()
)
VALUES = st.recursive(
    LEAVES,
    lambda parts: st.one_of(
        st.lists(parts, max_size=4), st.lists(parts, max_size=4).map(tuple), st.dictionaries(KEYS, parts, max_size=4)
    ),
    max_leaves=15,
)


@given(VALUES)
@settings(deadline=None)
def test_any_value_comes_back_through_json_text(value: Any) -> None:
    text = dumps(to_readable(value))
    text.encode()
    assert repr(from_readable(json.loads(text))) == repr(value)


@pytest.mark.parametrize(
    "value", [{"title": "Ünï", "words": ["a", "b"], "count": 2, "ratio": 0.5, "ok": True, "none": None}, [], {}, ""]
)
def test_plain_data_stays_as_it_is(value: Any) -> None:
    assert to_readable(value) == value


def test_other_parts_say_what_they_are() -> None:
    readable = to_readable({"when": date(2024, 2, 29), "raw": b"x" * 500, "name": "plain"})
    assert readable["name"] == "plain"
    assert (readable["when"]["type"], readable["when"]["text"]) == ("date", "datetime.date(2024, 2, 29)")
    assert (readable["raw"]["type"], readable["raw"]["text"]) == ("bytes", "500 bytes")


def test_user_data_cannot_pass_for_a_packed_part() -> None:
    forged = {"!packed": "gqFhAQ==", "type": "dict", "text": "{}"}
    assert from_readable(to_readable(forged)) == forged
    assert from_readable(to_readable([{"deep": forged}])) == [{"deep": forged}]
