"""Values as bytes: everything comes back exactly, whatever cannot travel is named with its place."""

import collections
import dataclasses
import enum
import math
import struct
import sys
import threading
import types
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.pipeline.errors import ConfigError, ValueNotSupported
from headrace.pipeline.payload import MAX_DEPTH, MAX_NESTED, pack, unpack

ZONES = st.sampled_from([None, UTC, timezone(timedelta(hours=-3, minutes=-30)), ZoneInfo("Europe/Paris")])
KEYS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary(), st.dates(), st.uuids()
)
LEAVES = st.one_of(
    KEYS,
    st.text(st.characters()),
    st.datetimes(timezones=ZONES),
    st.times(timezones=st.sampled_from([None, UTC])),
    st.timedeltas(),
    st.decimals(allow_nan=False),
    st.complex_numbers(allow_nan=False),
    st.text(st.characters(exclude_characters="\0/")).map(PurePosixPath),
    st.builds(Path, st.text("abc/.", min_size=1)),
    st.builds(PureWindowsPath, st.text("abc\\:", min_size=1)),
)
VALUES = st.recursive(
    LEAVES,
    lambda parts: st.one_of(
        st.lists(parts, max_size=5),
        st.lists(parts, max_size=5).map(tuple),
        st.dictionaries(st.one_of(KEYS, st.tuples(KEYS, KEYS), st.frozensets(KEYS)), parts, max_size=5),
        st.sets(KEYS, max_size=5),
        st.frozensets(st.tuples(KEYS), max_size=5),
    ),
    max_leaves=20,
)


def typed(value: Any) -> Any:
    """The value with its types: 1 equals True and 1.0, -0.0 equals 0.0, and a list may not become a tuple."""
    if isinstance(value, dict):
        return dict, [(typed(key), typed(part)) for key, part in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [typed(part) for part in value]
    if isinstance(value, set | frozenset):
        return type(value), sorted(repr(typed(part)) for part in value)
    return type(value), repr(value), getattr(value, "fold", 0)


@given(VALUES)
@settings(deadline=None, max_examples=300)
def test_every_value_comes_back_with_its_types(value: Any) -> None:
    assert typed(unpack(pack(value))) == typed(value)


@given(st.binary(max_size=200))
@settings(deadline=None, max_examples=500)
def test_any_bytes_are_a_value_or_a_value_error(data: bytes) -> None:
    try:
        unpack(data)
    except ValueError as error:
        assert str(error).startswith(f"these {len(data)} bytes are no packed value")


@given(VALUES, st.data())
@settings(deadline=None)
def test_a_value_that_was_cut_short_is_a_value_error(value: Any, data: st.DataObject) -> None:
    packed = pack(value)
    with pytest.raises(ValueError, match="are no packed value"):
        unpack(packed[: data.draw(st.integers(0, len(packed) - 1))])


@given(st.integers(-1, 127), st.binary(max_size=60))
@settings(deadline=None, max_examples=500)
def test_any_extension_with_any_content_is_a_value_or_a_value_error(code: int, content: bytes) -> None:
    try:
        unpack(msgpack.packb(msgpack.ExtType(code, content) if code >= 0 else msgpack.ExtType(127, content)))
    except (ValueError, ConfigError):  # the second names a library that is not installed here
        pass


@given(st.integers(1, 30), VALUES)
@settings(deadline=None, max_examples=500)
def test_any_extension_with_packed_content_is_a_value_or_a_value_error(code: int, content: Any) -> None:
    try:
        unpack(msgpack.packb(msgpack.ExtType(code, pack(content))))
    except (ValueError, ConfigError):
        pass


def test_plain_data_is_plain_msgpack() -> None:
    value = {"a": [1, -2.5, None, True, b"bytes"], "text": "ü"}
    assert msgpack.unpackb(pack(value)) == value
    assert pack(value) == msgpack.packb(value)


def test_a_timestamp_of_another_language_is_an_aware_datetime() -> None:
    moment = datetime(2024, 2, 29, 12, tzinfo=UTC)
    assert unpack(msgpack.packb(moment, datetime=True)) == moment


@pytest.mark.parametrize("number", [2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**100, -(10**100)])
def test_integers_have_no_limit(number: int) -> None:
    assert unpack(pack([number])) == [number]


def test_special_numbers_come_back() -> None:
    values = unpack(pack([math.nan, math.inf, -0.0, Decimal("NaN"), Decimal("-Infinity"), complex(math.nan, -0.0)]))
    assert [repr(value) for value in values] == [
        "nan",
        "inf",
        "-0.0",
        "Decimal('NaN')",
        "Decimal('-Infinity')",
        "(nan-0j)",
    ]


def test_a_zone_keeps_its_rules_and_its_fold() -> None:
    for fold in (0, 1):
        moment = datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Paris"), fold=fold)
        again = unpack(pack(moment))
        assert (again.tzinfo, again.fold, again.utcoffset()) == (moment.tzinfo, fold, moment.utcoffset())


def test_a_nameless_zone_travels_as_its_offset() -> None:
    class Odd(timezone.__base__):  # type: ignore[misc,name-defined]
        def utcoffset(self, when: Any) -> timedelta:
            return timedelta(hours=1, microseconds=5)

    again = unpack(pack(datetime(2024, 1, 1, tzinfo=Odd())))
    assert again.utcoffset() == timedelta(hours=1, microseconds=5)
    assert unpack(pack(time(1, 2, tzinfo=UTC))) == time(1, 2, tzinfo=UTC)


def test_subclasses_of_plain_types_travel_as_the_plain_type() -> None:
    class Number(enum.IntEnum):
        HUGE = 1 << 70
        ONE = 1

    class Text(enum.StrEnum):
        X = "x"

    class Real(float):
        pass

    Point = collections.namedtuple("Point", "x y")
    ordered = collections.OrderedDict(a=1)
    mixed = [
        Number.ONE,
        Number.HUGE,
        Text.X,
        Real(1.5),
        ordered,
        collections.Counter("a"),
        types.MappingProxyType({1: 2}),
    ]
    assert typed(unpack(pack(mixed))) == typed([1, 1 << 70, "x", 1.5, {"a": 1}, {"a": 1}, {1: 2}])
    assert typed(unpack(pack(Point(1, 2)))) == typed((1, 2))
    assert unpack(pack([bytearray(b"a"), memoryview(b"b")])) == [b"a", b"b"]


def test_text_with_lone_surrogates_travels() -> None:
    value = {"name": ["\udcff", ("\udcfe", {Path("\udcfd")})]}
    assert unpack(pack(value)) == value


def test_equal_sets_give_equal_bytes() -> None:
    forward, backward = set(range(0, 50 << 20, 1 << 20)), set(range(49 << 20, -1, -1 << 20))
    assert forward == backward
    assert list(forward) != list(backward)
    assert pack(forward) == pack(backward)


def test_every_reader_has_a_value_of_its_own() -> None:
    packed = pack({"list": []})
    unpack(packed)["list"].append(1)
    assert unpack(packed) == {"list": []}


# What cannot travel -------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Point:
    x: int


@pytest.mark.parametrize(
    ("value", "place", "said"),
    [
        ({"a": [1, 2, 3, Point(1)]}, "data['a'][3]", "Point cannot travel between processes; give a dict"),
        ({"a": {"b": (0, object())}}, "data['a']['b'][1]", "a value of type object "),
        ({"a": ({1, lambda: 0},)}, "data['a'][0]{<function>}", "a value of type function "),
        ({(1, object()): 1}, "the key <tuple> of data[1]", "a value of type object "),
        (object(), "data", "a value of type object "),
        ([iter([1])], "data[0]", "make a list of it"),
        ([range(3)], "data[0]", "make a list of it"),
        ([ValueError("x")], "data[0]", "give its text, or raise it"),
        ([threading.Lock()], "data[0]", "a value of type _thread.lock "),
        ({"x" * 50: Point}, "data['xxxxxxxxxxxxxxxxxxxxxxxxxxxxx…xxxx']", "a value of type type "),
        ({"\udcff": [object()]}, "data['\\udcff'][0]", "a value of type object "),
    ],
)
def test_what_cannot_travel_is_named_with_its_place_and_type(value: Any, place: str, said: str) -> None:
    with pytest.raises(ValueNotSupported) as caught:
        pack(value, "data")
    assert caught.value.where == place
    assert said in str(caught.value)


def test_a_value_that_contains_itself_is_refused_with_the_place() -> None:
    value: dict[str, Any] = {"a": [1]}
    value["a"].append({"up": value})
    with pytest.raises(ValueNotSupported, match=r"data\['a'\]\[1\]\['up'\]: .* it contains itself"):
        pack(value, "data")
    loop: list[Any] = []
    loop.append((loop, loop))
    with pytest.raises(ValueNotSupported, match="it contains itself"):
        pack(loop)


def test_a_part_that_stands_twice_is_no_cycle() -> None:
    part = {"x": [1]}
    assert unpack(pack([part, part, (part,)])) == [part, part, (part,)]


def nested(levels: int, wrap: Any, inner: Any = 1) -> Any:
    for _ in range(levels):
        inner = wrap(inner)
    return inner


@pytest.mark.parametrize(
    "value",
    [
        nested(MAX_DEPTH, lambda inner: [inner]),
        nested(MAX_DEPTH, lambda inner: {"a": inner}),
        nested(MAX_NESTED, lambda inner: (inner,)),
        nested(MAX_NESTED, lambda inner: frozenset([inner])),
        nested(MAX_NESTED, lambda inner: nested(10, lambda part: [part], (inner,))),
    ],
    ids=["lists", "dicts", "tuples", "sets", "mixed"],
)
def test_deep_values_come_back(value: Any) -> None:
    assert unpack(pack(value)) == value


@pytest.mark.parametrize(
    "value",
    [
        nested(MAX_DEPTH * 20, lambda inner: [inner]),
        nested(MAX_DEPTH * 20, lambda inner: {"a": inner}),
        nested(MAX_NESTED + 1, lambda inner: (inner,)),
        nested(MAX_NESTED + 1, lambda inner: frozenset([inner])),
        nested(MAX_NESTED, lambda inner: nested(MAX_DEPTH, lambda part: [part], (inner,))),
        nested(MAX_NESTED, lambda inner: nested(MAX_DEPTH, lambda part: [part], (inner,)), "\udcff"),
    ],
    ids=["lists", "dicts", "tuples", "sets", "mixed", "surrogates"],
)
def test_too_deep_values_are_refused_with_the_limits(value: Any) -> None:
    with pytest.raises(ValueNotSupported, match=f"nested too deep .about {MAX_DEPTH} lists and dicts, {MAX_NESTED}"):
        pack(value)


def test_deeply_nested_bytes_cannot_end_the_process() -> None:
    extensions = b"\x01"
    for _ in range(5000):
        extensions = struct.pack(">BIB", 0xC9, len(extensions), 1) + extensions
    for data in (extensions, b"\x91" * 1_000_000 + b"\x01", b"\x81\x01" * 500_000 + b"\x01"):
        with pytest.raises(ValueError, match="are no packed value"):
            unpack(data)


def test_a_refusal_leaves_no_trace_in_the_next_value() -> None:
    for _ in range(3):
        with pytest.raises(ValueNotSupported):
            pack([1, (2, {3: object()})])
        assert unpack(pack((1, (2, 3)))) == (1, (2, 3))


def test_threads_do_not_disturb_each_other() -> None:
    wrong: list[Any] = []

    def work(number: int) -> None:
        value = {"number": number, "parts": [(number, {number}, str(number) * 50)] * 20}
        wrong.extend(value for _ in range(200) if unpack(pack(value)) != value)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_mapping_that_packs_while_it_is_packed_does_no_harm() -> None:
    class Odd(dict[str, Any]):
        def __iter__(self) -> Any:
            assert unpack(pack([1, (2,)])) == [1, (2,)]
            return super().__iter__()

        def keys(self) -> Any:
            return list(iter(self))

    assert unpack(pack([0, Odd(a=1), (3,)])) == [0, {"a": 1}, (3,)]


def test_large_values_travel_and_their_buffers_are_given_back() -> None:
    value = [b"x" * 3_000_000, ("y" * 3_000_000,)]
    assert unpack(pack(value)) == value
    assert unpack(pack({"small": 1})) == {"small": 1}


def test_a_library_that_is_missing_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    numpy = pytest.importorskip("numpy")
    packed = pack(numpy.arange(3))
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(ConfigError, match=r"made with numpy, which is not installed here; .* `pip install numpy`"):
        unpack(packed)


def test_uuids_and_dates_are_small() -> None:
    assert len(pack(UUID(int=1))) == 18
    assert len(pack(date(2024, 1, 1))) < 16


def test_what_is_nested_a_hundred_thousand_deep_is_refused_without_a_walk_to_its_bottom() -> None:
    """Every level of the walk writes down its place: the places of all levels would be gigabytes."""
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(ValueNotSupported, match="nested too deep") as refused:
        pack(value, "the result")
    assert refused.value.where.startswith("the result[0][0]")
