"""What a result was made from: keys, and words for what differs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.pipeline.canonical import digest
from headrace.pipeline.recipe import DETAILS, Recipe, details_of, difference, shown

INPUTS = st.dictionaries(
    st.text(min_size=1, max_size=3),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=3), st.floats(allow_nan=False)),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
        max_leaves=8,
    ),
    max_size=3,
)


def recipe(value: Any = None, **fields: Any) -> Recipe:
    inputs = {"input": value}
    given = {"worker": "add", "code": {"": "c0de"}, "python": "3.11", **fields}
    return Recipe(inputs={name: digest(part) for name, part in inputs.items()}, details=details_of(inputs), **given)


@given(INPUTS)
def test_an_equal_input_has_an_equal_key_and_no_differences(value: dict[str, Any]) -> None:
    again = dict(reversed(value.items()))
    assert recipe(value).key == recipe(again).key


@given(INPUTS, INPUTS)
def test_a_different_input_has_another_key_and_something_that_is_named(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    if digest(one) != digest(other):
        assert recipe(one).key != recipe(other).key
        assert "input" in difference(recipe(one), recipe(other))


@pytest.mark.parametrize(
    "change",
    [{"worker": "sub"}, {"version": "2"}, {"python": "3.12"}, {"call": "args"}, {"code": {"": "other"}}],
)
def test_every_part_is_in_the_key(change: dict[str, Any]) -> None:
    assert recipe(1, **change).key != recipe(1).key


def test_details_and_what_is_shown_are_not_in_the_key() -> None:
    bare = Recipe(worker="add", inputs={"input": digest(1)})
    told = Recipe(worker="add", inputs={"input": digest(1)}, details=details_of({"input": 1}))
    assert bare.key == told.key


@pytest.mark.parametrize(
    "old, new, told",
    [
        ({"x": 3}, {"x": 4}, "input.x: 3 → 4"),
        ({"x": "a"}, {"x": "b"}, "input.x: 'a' → 'b'"),
        ({"x": 3}, {"x": 3.0}, "input.x: 3 → 3.0"),
        ({"x": {"deep": [1, {"y": 2}]}}, {"x": {"deep": [1, {"y": 5}]}}, "input.x.deep[1].y: 2 → 5"),
        ({"x": 1}, {"x": 1, "y": 2}, "input.y is new: 2"),
        ({"x": 1, "y": 2}, {"x": 1}, "input.y is gone, it was 2"),
        ({"a b": 1}, {"a b": 2}, "input['a b']: 1 → 2"),
        (list(range(50)), list(range(1, 51)), "input: a list of 50 with another content"),
        ({"password": "a"}, {"password": "b"}, "input.password: *** with another content"),
        ([1], (1,), "input: a list → a tuple"),
        ({}, [], "input: {} → []"),
        (
            {"a": 1, "b": 1, "c": 1, "d": 1, "e": 1},
            {"a": 2, "b": 2, "c": 2, "d": 2, "e": 2},
            "input.a: 1 → 2; input.b: 1 → 2; input.c: 1 → 2; and 2 more",
        ),
    ],
)
def test_a_difference_of_inputs_names_the_part(old: Any, new: Any, told: str) -> None:
    assert difference(recipe(new), recipe(old)) == told


def test_other_differences_are_said_in_words() -> None:
    assert difference(recipe(1, version="2"), recipe(1, version="1")) == "version 1 → 2"
    assert difference(recipe(1, version="2"), recipe(1)) == "version none → 2"
    assert difference(recipe(1, python="3.12"), recipe(1)) == "Python 3.11 → 3.12"
    assert difference(recipe(1, code={"": "new"}), recipe(1)) == "code of worker add changed"
    methods = recipe(1, code={".process()": "1", ".scale()": "1"}), recipe(1, code={".process()": "1", ".scale()": "2"})
    assert difference(*methods) == "code of worker add changed (scale())"
    helpers = recipe(1, code={"": "c", "scale()": "1"}), recipe(1, code={"": "c", "scale()": "2", "RATE": "3"})
    assert difference(*helpers) == "RATE, which worker add uses, is gone; scale(), which worker add uses, changed"


def test_details_stay_few_however_large_the_input() -> None:
    large = {f"k{number}": {"a": 1, "b": [1, 2, 3]} for number in range(1000)}
    assert len(details_of({"input": large})) <= DETAILS
    assert len(details_of({"input": {f"k{number}": number for number in range(DETAILS - 2)}})) == DETAILS - 1
    changed = {**large, "k500": {"a": 2, "b": [1, 2, 3]}}
    assert difference(recipe(changed), recipe(large)) == "input: a dict of 1000 with another content"


@pytest.mark.parametrize("value", ["x" * 1000, b"x" * 1000, list(range(1000)), 10**1000, {"a": "b" * 1000}])
def test_what_is_shown_is_short(value: Any) -> None:
    assert len(shown(value)) < 80
