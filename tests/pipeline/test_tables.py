"""Arrays and tables come back with their types, and those that only pickle could carry are refused."""

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.pipeline.errors import ValueNotSupported
from headrace.pipeline.payload import pack, unpack

np = pytest.importorskip("numpy")

ARRAYS = {
    "numbers": np.arange(6, dtype="i4").reshape(2, 3),
    "big-endian": np.arange(3, dtype=">f8"),
    "transposed": np.arange(6).reshape(2, 3).T,
    "strided": np.arange(10)[::2],
    "empty": np.zeros((0, 3), "f4"),
    "single": np.array(5),
    "text": np.array(["a", "bcd", ""]),
    "empty text": np.array(["", ""]),
    "bytes": np.array([b"x", b"yz"]),
    "dates": np.array(["2024-02-29", "NaT"], "M8[D]"),
    "spans": np.array([1, 2], "m8[ms]"),
    "complex": np.array([1 + 2j]),
    "truth": np.array([True, False]),
    "half": np.zeros(3, "f2"),
    "records": np.array([(1, 2.5, [3, 4])], dtype=[("a", "i4"), ("b", ">f8"), ("c", "u1", (2,))]),
}
SCALARS = [np.float64(1.5), np.int8(-3), np.bool_(True), np.str_("x"), np.datetime64("2024"), np.complex64(1j)]


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_an_array_comes_back_with_its_dtype_and_shape(array: Any) -> None:
    again = unpack(pack({"deep": [array]}))["deep"][0]
    assert (again.dtype, again.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(again, array)
    assert again.flags.writeable


@pytest.mark.parametrize("scalar", SCALARS, ids=repr)
def test_a_scalar_comes_back_with_its_type(scalar: Any) -> None:
    again = unpack(pack([scalar]))[0]
    assert (type(again), again) == (type(scalar), scalar)


@given(st.lists(st.floats(width=32)), st.sampled_from(["f4", ">f4", "f8", "c8"]))
@settings(deadline=None)
def test_numbers_of_any_kind_come_back(numbers: list[float], dtype: str) -> None:
    array = np.array(numbers, dtype)
    assert unpack(pack(array)).tobytes() == array.tobytes()


@pytest.mark.parametrize(
    "array",
    [
        np.array([object()]),
        np.array([(1, None)], dtype=[("a", "i4"), ("b", "O")]),
        np.ma.array([1, 2], mask=[True, False]),
    ],
    ids=["objects", "a field of objects", "masked"],
)
def test_an_array_that_holds_more_than_plain_elements_is_refused(array: Any) -> None:
    with pytest.raises(ValueNotSupported, match=r"data\['k'\]: a value of type numpy\."):
        pack({"k": array}, "data")


def test_an_array_of_objects_is_refused_when_it_is_read() -> None:
    packed = pack(np.array([1, 2], "i8")).replace(b"\xa3<i8", b"\xa3|O8")
    with pytest.raises(ValueError, match="are no packed value"):
        unpack(packed)


def test_plain_values_import_no_library() -> None:
    code = (
        "import sys; from headrace.pipeline.payload import pack, unpack\n"
        "unpack(pack([1, (2,), {3}])); print([name for name in ('numpy', 'pandas', 'pyarrow') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


# pandas and pyarrow -------------------------------------------------------------------------------------------------


def frames(pd: Any) -> dict[str, Any]:
    mixed = pd.DataFrame(
        {
            "number": [1, 2],
            "text": ["x", None],
            "category": pd.Categorical(["u", None], categories=["v", "u"], ordered=True),
            "zoned": pd.date_range("2024-10-27", periods=2, tz="Europe/Paris"),
            "nullable": pd.array([1, None], dtype="Int16"),
            "truth": pd.array([True, None], dtype="boolean"),
            "real": pd.array([1.5, None], dtype="Float64"),
            "string": pd.array(["x", None], dtype="string"),
            "objects": [{"a": 1}, (1, 2)],
            "lists": [[1, 2], [3, 4]],
            "moments": pd.to_datetime(["2024-02-29", None]),
            "spans": pd.to_timedelta([1, 2]),
        }
    )
    return {
        "mixed": mixed,
        "levels": mixed.set_index(["number", "text"]),
        "same names": pd.DataFrame([[1, 2.5]], columns=["x", "x"], index=pd.Index(["r"], name="row")),
        "dated": pd.DataFrame({"a": [1, 2]}, index=pd.date_range("2024", periods=2, freq="D")),
        "odd names": pd.DataFrame({1: [1], (2, 3): [2]}),
        "nothing": pd.DataFrame(),
        "no columns": pd.DataFrame(index=[1, 2]),
        "no rows": pd.DataFrame({"a": pd.Series([], dtype="i8")}),
    }


@pytest.mark.parametrize(
    "name", ["mixed", "levels", "same names", "dated", "odd names", "nothing", "no columns", "no rows"]
)
def test_a_frame_comes_back(name: str) -> None:
    pd = pytest.importorskip("pandas")
    frame = frames(pd)[name]
    frame.attrs["source"] = ("somewhere",)
    again = unpack(pack(frame))
    pd.testing.assert_frame_equal(again, frame)
    assert again.attrs == frame.attrs


def test_series_indexes_and_moments_come_back() -> None:
    pd = pytest.importorskip("pandas")
    for series in (pd.Series([1, 2], name=("a", 1)), pd.Series([], dtype="f8"), frames(pd)["mixed"]["zoned"]):
        pd.testing.assert_series_equal(unpack(pack(series)), series)
    for index in (pd.RangeIndex(1, 9, 2, name="r"), pd.Index(["a"]), frames(pd)["levels"].index):
        pd.testing.assert_index_equal(unpack(pack(index)), index)
    moments = [
        pd.Timestamp("2024-01-01 00:00:00.123456789"),
        pd.Timestamp("2024", tz="Europe/Paris"),
        pd.Timedelta(5, "ns"),
    ]
    for moment in moments:
        again = unpack(pack(moment))
        assert (type(again), again) == (type(moment), moment)


def test_missing_values_come_back_as_themselves() -> None:
    pd = pytest.importorskip("pandas")
    first, second = unpack(pack([pd.NaT, pd.NA]))
    assert first is pd.NaT
    assert second is pd.NA


def test_columns_of_other_types_are_refused_with_their_dtype() -> None:
    pd = pytest.importorskip("pandas")
    with pytest.raises(ValueNotSupported, match=r"a column of dtype period\[M\] cannot travel"):
        pack(pd.Series(pd.period_range("2024", periods=2, freq="M")))
    with pytest.raises(ValueNotSupported, match=r"pandas\..*DataFrame cannot travel"):
        pack(pd.DataFrame({"a": [object()]}))


def test_an_arrow_table_comes_back() -> None:
    arrow = pytest.importorskip("pyarrow")
    table = arrow.table({"a": [1, None], "b": ["x", "y"], "c": [[1], []]})
    assert unpack(pack({"t": table}))["t"].equals(table)
