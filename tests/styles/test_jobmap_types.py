"""Types of definitions: which fits where, and which values they take."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.pipeline.styles.typecheck import KNOWN, element, fits, is_known, parsed, value_fits


@pytest.mark.parametrize(
    ("given_type", "wanted"),
    [
        ("string", "string"),
        ("season name", "season name"),
        ("str", "string"),
        ("string", "any"),
        ("integer", "number"),
        ("integer", "float"),
        ("float", "number"),
        ("list[integer]", "list"),
        ("list", "list[any]"),
        ("list[integer]", "list[number]"),
        ("list[list[integer]]", "list[list]"),
        ("integer", "string|integer"),
        ("integer | float", "number"),
        ("dict", "map"),
        ("array[int]", "list[integer]"),
        ("list[string|integer]", "list[any]"),
    ],
)
def test_a_type_fits_where_it_is_wanted(given_type: str, wanted: str) -> None:
    assert fits(given_type, wanted)


@pytest.mark.parametrize(
    ("given_type", "wanted"),
    [
        ("string", "integer"),
        ("any", "string"),
        ("number", "integer"),
        ("float", "integer"),
        ("boolean", "integer"),
        ("list", "list[integer]"),
        ("list[number]", "list[integer]"),
        ("integer", "list[integer]"),
        ("string|integer", "integer"),
        ("season name", "season"),
        ("map", "list"),
    ],
)
def test_a_type_does_not_fit_elsewhere(given_type: str, wanted: str) -> None:
    assert not fits(given_type, wanted)


types = st.recursive(
    st.sampled_from([*KNOWN, "season", "str", "int"]),
    lambda inner: inner.map(lambda one: f"list[{one}]") | st.tuples(inner, inner).map("|".join),
    max_leaves=4,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(types, types, types)
def test_fitting_is_an_order(one: str, two: str, three: str) -> None:
    assert fits(one, one)
    assert fits(one, "any")
    if fits(one, two) and fits(two, three):
        assert fits(one, three)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(types)
def test_a_type_is_the_same_in_its_normal_form(text: str) -> None:
    assert parsed("|".join(parsed(text))) == parsed(text)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(alphabet="list[]|any "))
def test_any_text_is_a_type_that_fits_itself(text: str) -> None:
    assert fits(text, text)


def test_a_type_without_end_is_a_name() -> None:
    deep = "list[" * 50_000 + "any" + "]" * 50_000
    assert fits(deep, deep)
    assert not fits(deep, "list")
    assert not is_known(deep)


def test_lists_say_what_they_hold() -> None:
    assert element("list[str]") == "string"
    assert element("list") is None
    assert element("string") is None


@pytest.mark.parametrize(
    ("value", "wanted", "right"),
    [
        (1, "integer", True),
        (True, "integer", False),
        (1, "float", True),
        (1.5, "integer", False),
        (True, "number", False),
        ("a", "string", True),
        (None, "any", True),
        (None, "string", False),
        ({}, "map", True),
        ([], "list[string]", True),
        (["a", 1], "list[string]", False),
        (["a", 1], "list[string|integer]", True),
        ([["a"]], "list[list[string]]", True),
        (False, "boolean", True),
    ],
)
def test_values_are_checked_against_types(value: Any, wanted: str, right: bool) -> None:
    assert value_fits(value, wanted) is right


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(types.filter(is_known), types.filter(is_known), st.sampled_from([None, True, 1, 1.5, "a", [], [1], ["a"], {}]))
def test_a_value_of_a_type_is_one_of_every_type_that_it_fits(one: str, two: str, value: Any) -> None:
    if fits(one, two) and value_fits(value, one):
        assert value_fits(value, two)
