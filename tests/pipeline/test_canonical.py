"""The canonical form: the same bytes for equal values, other bytes for all others."""

from __future__ import annotations

import datetime
import decimal
import pathlib
import struct
import subprocess
import sys
import uuid
from collections import OrderedDict
from typing import Any

import numpy
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.pipeline.canonical import canonical, digest
from headrace.pipeline.errors import ValueNotSupported
from headrace.pipeline.payload import pack, unpack

PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-3, 3),
    st.floats(allow_nan=False),
    st.sampled_from([0.0, -0.0, 1.0, 0.1]),
    st.text(max_size=5),
    st.binary(max_size=5),
)
LEAVES = st.one_of(
    PLAIN,
    st.dates(),
    st.datetimes(),
    st.decimals(allow_nan=False, allow_infinity=False, places=2),
    st.uuids(),
    st.timedeltas(),
    st.complex_numbers(allow_nan=False, allow_infinity=False),
    st.frozensets(PLAIN, max_size=4),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.one_of(st.text(max_size=3), st.integers(-2, 2), st.booleans()), inner, max_size=4),
        st.sets(PLAIN, max_size=4),
    ),
    max_leaves=12,
)


def normal(value: Any) -> Any:
    """The value as something that is equal only where types are equal too, down to the sign of a zero."""
    kind = type(value).__name__
    if isinstance(value, dict):
        return kind, frozenset((normal(key), normal(part)) for key, part in value.items())
    if isinstance(value, list | tuple):
        return kind, tuple(map(normal, value))
    if isinstance(value, set | frozenset):
        return kind, frozenset(map(normal, value))
    if isinstance(value, float):
        return kind, struct.pack(">d", value)
    if isinstance(value, complex):
        return kind, struct.pack(">dd", value.real, value.imag)
    return kind, str(value) if isinstance(value, decimal.Decimal) else value


def turned_round(value: Any) -> Any:
    """An equal value whose maps and sets were filled in the opposite order."""
    if isinstance(value, dict):
        return {key: turned_round(part) for key, part in reversed(list(value.items()))}
    if isinstance(value, list | tuple):
        return type(value)(map(turned_round, value))
    if isinstance(value, set | frozenset):
        return type(value)(reversed(list(value)))
    return value


@given(VALUES)
def test_the_order_in_which_maps_and_sets_were_filled_does_not_count(value: Any) -> None:
    assert canonical(turned_round(value)) == canonical(value)


@given(VALUES, VALUES)
@settings(max_examples=300)
def test_two_values_have_the_same_form_exactly_when_they_are_the_same(one: Any, other: Any) -> None:
    assert (canonical(one) == canonical(other)) == (normal(one) == normal(other))


@given(VALUES)
def test_the_form_can_be_read_and_nothing_is_lost_in_it(value: Any) -> None:
    assert normal(unpack(canonical(value))) == normal(value)


@given(VALUES)
def test_a_value_that_has_travelled_has_the_same_form(value: Any) -> None:
    assert canonical(unpack(pack(value))) == canonical(value)


@given(st.recursive(PLAIN, lambda inner: st.lists(inner, min_size=1, max_size=3), max_leaves=5), st.integers(1, 9))
def test_one_changed_leaf_changes_the_form(value: Any, more: int) -> None:
    changed = [value, {"deep": [value, more]}]
    assert canonical(changed) != canonical([value, {"deep": [value, more + 1]}])


@pytest.mark.parametrize(
    "one, other",
    [
        (1, 1.0), (1, True), (0.0, -0.0), ("1", 1), (b"a", "a"), ([1], (1,)), ({1}, frozenset({1})), ({}, []),
        (None, False), ({"a.b": 1}, {"a": {"b": 1}}), (2**64, float(2**64)), (0.1 + 0.2, 0.3),
    ],
)  # fmt: skip
def test_values_that_look_alike_are_told_apart(one: Any, other: Any) -> None:
    assert canonical(one) != canonical(other)


def test_subclasses_of_plain_types_count_as_these() -> None:
    assert canonical(OrderedDict(b=1, a=2)) == canonical({"a": 2, "b": 1})
    assert canonical(bytearray(b"x")) == canonical(b"x")


def test_arrays_count_by_dtype_shape_and_content() -> None:
    array = numpy.arange(6)
    assert canonical(array) == canonical(numpy.array([0, 1, 2, 3, 4, 5]))
    assert canonical(array.reshape(2, 3).T.T) == canonical(array.reshape(2, 3))
    for other in (array.reshape(2, 3), array.astype("float64"), array + 1, list(range(6))):
        assert canonical(other) != canonical(array)


def test_tables_count_by_their_content() -> None:
    table = pandas.DataFrame({"a": [1, 2], "b": ["x", None]})
    assert canonical(table.copy()) == canonical(table)
    for other in (table.rename(columns={"a": "c"}), table[["b", "a"]], table.assign(a=[1, 3]), table.iloc[:1]):
        assert canonical(other) != canonical(table)


def test_dates_paths_and_ids_count_as_what_they_are() -> None:
    parts = [datetime.date(2026, 1, 2), pathlib.Path("/tmp/x"), uuid.UUID(int=3), decimal.Decimal("1.10")]
    assert canonical(parts) == canonical(list(parts))
    assert canonical(decimal.Decimal("1.1")) != canonical(decimal.Decimal("1.10"))
    assert canonical("/tmp/x") != canonical(pathlib.Path("/tmp/x"))


def test_another_process_with_another_seed_of_hashes_gives_the_same_digest() -> None:
    value = {"set": {"a", "b", "c", "d"}, "map": {"z": 1, "a": frozenset({"x", "y", ("t", 1)})}}
    code = f"from headrace.pipeline.canonical import digest; print(digest({value!r}).hex())"
    for seed in ("1", "2"):
        line = [sys.executable, "-c", code]
        done = subprocess.run(line, capture_output=True, text=True, env={"PYTHONHASHSEED": seed}, check=True)
        assert done.stdout.strip() == digest(value).hex()


def test_what_cannot_travel_is_refused_with_its_place() -> None:
    with pytest.raises(ValueNotSupported, match=r"input\['rows'\]\[1\].*object"):
        canonical({"rows": [1, object()]}, "input")
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueNotSupported, match="input"):
        canonical(endless, "input")
