"""Tables of pandas and pyarrow as extension types of `payload`.

A DataFrame is taken apart into its columns, not handed to pyarrow: whoever has pandas can read it. A column of Python
objects travels as the list of its elements, each of which has to be packable. A type of column that is neither numpy's
nor nullable numbers, text, categories or dates with a zone is refused. As with arrays, packing imports nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

from .arrays import NotPlain, Pack, Unpack, library

FRAME, SERIES, INDEX, TIMESTAMP, TIMEDELTA, MISSING, TABLE = 22, 23, 24, 25, 26, 27, 28


def encode(value: Any, pack: Pack) -> tuple[int, bytes] | None:
    """The extension code and bytes; None when it is no value of these libraries."""
    if (pandas := sys.modules.get("pandas")) is not None:
        for kind, (code, encoder) in _encoders(pandas).items():
            if type(value) is kind:
                return code, pack(encoder(value))
        if isinstance(value, pandas.Index):
            return INDEX, pack(_index_parts(value))
    arrow = sys.modules.get("pyarrow")
    if arrow is not None and type(value) is arrow.Table:
        return TABLE, _pack_table(value, arrow)
    return None


def _encoders(pandas: Any) -> dict[type, tuple[int, Callable[[Any], Any]]]:
    return {
        pandas.DataFrame: (FRAME, _frame_parts),
        pandas.Series: (SERIES, _series_parts),
        pandas.Timestamp: (TIMESTAMP, lambda value: [value.asm8, _zone(value.tz)]),
        pandas.Timedelta: (TIMEDELTA, lambda value: value.asm8),
        type(pandas.NaT): (MISSING, lambda value: "NaT"),
        type(pandas.NA): (MISSING, lambda value: "NA"),
    }


# Apart --------------------------------------------------------------------------------------------------------------


def _frame_parts(frame: Any) -> list[Any]:
    columns = [_column(frame.iloc[:, number]) for number in range(frame.shape[1])]
    return [frame.index, frame.columns, columns, frame.attrs]


def _series_parts(series: Any) -> list[Any]:
    return [series.index, series.name, _column(series), series.attrs]


def _index_parts(index: Any) -> list[Any]:
    pandas = library("pandas")
    if isinstance(index, pandas.RangeIndex):
        return ["range", [index.start, index.stop, index.step], index.name]
    if isinstance(index, pandas.MultiIndex):
        codes = [library("numpy").asarray(level) for level in index.codes]
        return ["multi", [list(index.levels), codes], list(index.names)]
    return ["plain", [_column(index.to_series()), getattr(index, "freqstr", None)], index.name]


def _column(series: Any) -> list[Any]:
    """A column as [kind, dtype, content]."""
    pandas, numpy = library("pandas"), library("numpy")
    dtype = series.dtype
    if isinstance(dtype, pandas.CategoricalDtype):
        return ["category", dtype.ordered, [dtype.categories, series.cat.codes.to_numpy()]]
    if isinstance(dtype, pandas.DatetimeTZDtype):
        return ["zoned", _zone(dtype.tz), series.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()]
    if isinstance(dtype, pandas.StringDtype):
        missing = series.isna()
        return ["text", str(dtype), [None if gone else text for text, gone in zip(series, missing, strict=True)]]
    if isinstance(dtype, numpy.dtype):
        return ["objects", None, list(series)] if dtype.hasobject else ["array", None, series.to_numpy()]
    arrays = pandas.arrays
    if isinstance(series.array, arrays.IntegerArray | arrays.FloatingArray | arrays.BooleanArray):
        plain = series.to_numpy(dtype=dtype.numpy_dtype, na_value=dtype.numpy_dtype.type(0))
        return ["nullable", str(dtype), [plain, series.isna().to_numpy()]]
    raise NotPlain(f"a column of dtype {dtype} cannot travel; convert it with astype()")


def _zone(zone: Any) -> datetime | None:
    """A zone travels as the zone of some date."""
    return None if zone is None else datetime(2000, 1, 1, tzinfo=zone)


def _pack_table(table: Any, arrow: Any) -> bytes:
    sink = arrow.BufferOutputStream()
    with library("pyarrow.ipc").new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


# Together -----------------------------------------------------------------------------------------------------------


def _frame(parts: Any) -> Any:
    pandas = library("pandas")
    index, names, columns, attrs = parts
    series = {number: pandas.Series(_array(column), index=index) for number, column in enumerate(columns)}
    frame = pandas.DataFrame(series, index=index)
    frame.columns = names
    frame.attrs.update(attrs)
    return frame


def _series(parts: Any) -> Any:
    index, name, column, attrs = parts
    series = library("pandas").Series(_array(column), index=index, name=name)
    series.attrs.update(attrs)
    return series


def _index(parts: Any) -> Any:
    pandas = library("pandas")
    kind, content, name = parts
    if kind == "range":
        return pandas.RangeIndex(*content, name=name)
    if kind == "multi":
        return pandas.MultiIndex(levels=content[0], codes=content[1], names=name)
    index = pandas.Index(_array(content[0]), name=name)
    if content[1] is not None:
        index.freq = content[1]
    return index


def _array(column: Any) -> Any:
    pandas = library("pandas")
    kind, dtype, content = column
    if kind == "category":
        return pandas.Categorical.from_codes(content[1], content[0], ordered=dtype)
    if kind == "zoned":
        return pandas.Series(content).dt.tz_localize("UTC").dt.tz_convert(dtype.tzinfo).array
    if kind == "text":
        return pandas.array(content, dtype=dtype)
    if kind == "nullable":
        array = pandas.array(content[0], dtype=dtype)
        array[content[1]] = pandas.NA
        return array
    if kind == "objects":
        objects = library("numpy").empty(len(content), dtype=object)
        for number, element in enumerate(content):  # at once, numpy would look into elements that are lists
            objects[number] = element
        return objects
    return content


def _timestamp(parts: Any) -> Any:
    moment, zone = parts
    found = library("pandas").Timestamp(moment)
    return found if zone is None else found.tz_localize("UTC").tz_convert(zone.tzinfo)


def _table(data: bytes, unpack: Unpack) -> Any:
    return library("pyarrow.ipc").open_stream(data).read_all()


DECODERS: dict[int, Callable[[bytes, Unpack], Any]] = {
    FRAME: lambda data, unpack: _frame(unpack(data)),
    SERIES: lambda data, unpack: _series(unpack(data)),
    INDEX: lambda data, unpack: _index(unpack(data)),
    TIMESTAMP: lambda data, unpack: _timestamp(unpack(data)),
    TIMEDELTA: lambda data, unpack: library("pandas").Timedelta(unpack(data)),
    MISSING: lambda data, unpack: {"NaT": library("pandas").NaT, "NA": library("pandas").NA}[unpack(data)],
    TABLE: _table,
}
