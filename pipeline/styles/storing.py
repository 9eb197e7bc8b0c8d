"""How a Context gets onto the disk: a folder with one JSON file, and one file per array or table.

    master_record.json
    0001-Train.npy
    0002-Table.parquet

    {"headrace context": 1, "fingerprint": false, "fingerprints": {},
     "values": {"Rate":  {"kind": "value", "value": 0.1},
                "Train": {"kind": "dict", "items": {...}},
                "Model": {"kind": "array", "file": "0001-Model.npy"},
                "Table": {"kind": "frame", "file": "0002-Table.parquet"}}}

Nothing is pickled, and paths are relative: the folder may be moved. What cannot come back as it was is refused, with
its place, before anything is written: tuples, sets, None, bytes, empty dicts, keys that are no texts, objects. A table
goes into a parquet file when pyarrow is there and parquet can hold it exactly, else into a packed file of our own.

The folder is made under another name and renamed when all of it is on the disk.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ValueNotSupported
from ..payload import pack
from ..plain import to_plain
from .record import Record

RECORD = "master_record.json"
FORMAT = "headrace context"
VERSION = 1
HIDDEN = "."
MAX_DEPTH = 100
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")
_PLAIN = (int, str, float, bool)
_DICTS = (dict, Record)

Write = Callable[[Path], None]


class CannotStore(ValueNotSupported):
    """A value of a type that a Context cannot store."""

    def __init__(self, where: str, value: Any, hint: str = "") -> None:
        kind = type(value)
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        super().__init__(where, name, hint)
        text = f"Unsupported store operation for variable {where} of type {name}"
        self.args = (f"{text}: {hint}" if hint else text,)


class CannotStoreInList(CannotStore, AssertionError):
    """A list holds something that cannot stand in one."""


class KeyIsNoText(CannotStore, NotImplementedError):
    """A dict has a key that is no text."""


def store(
    values: Mapping[str, Any],
    path: str | os.PathLike[str],
    fingerprinted: bool,
    fingerprints: Mapping[str, Sequence[str]],
) -> None:
    place = Path(path)
    if os.path.lexists(place):
        raise FileExistsError(f"{place} is there already: a Context is stored into a folder of its own")
    files: dict[str, Write] = {}
    written = _dict("", values, files, 0)["items"]
    document = {
        FORMAT: VERSION,
        "fingerprint": fingerprinted,
        "fingerprints": {name: list(fingerprints[name]) for name in written if name in fingerprints},
        "values": written,
    }
    place.parent.mkdir(parents=True, exist_ok=True)
    making = place.parent / f".{place.name}.{uuid.uuid4().hex}.making"
    making.mkdir()
    try:
        for name, write in files.items():
            write(making / name)
            _sync(making / name)
        (making / RECORD).write_text(json.dumps(document, indent=1), encoding="utf-8")
        _sync(making / RECORD)
        _sync(making)
        making.rename(place)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise
    _sync(place.parent)


# What to write ------------------------------------------------------------------------------------------------------


def _entry(where: str, value: Any, files: dict[str, Write], depth: int) -> dict[str, Any]:
    """A value as it stands in the JSON file; what needs a file of its own is added to `files`."""
    kind = type(value)
    if kind in _DICTS:
        if not value:
            raise CannotStore(where, value, "it is empty; leave it out")
        return _dict(where, value, files, depth)
    if kind is list or kind in _PLAIN:
        _check(where, value, depth)
        return {"kind": "value", "value": to_plain(value, where)}
    entry = _array(where, value, files) or _table(where, value, files)
    if entry is None:
        raise CannotStore(where, value, _hint(value))
    return entry


def _dict(where: str, value: Mapping[Any, Any], files: dict[str, Write], depth: int) -> dict[str, Any]:
    _check_depth(where, value, depth)
    items = {}
    for key, part in value.items():
        _check_key(where, key, KeyIsNoText)
        if not key.startswith(HIDDEN):
            items[key] = _entry(f"{where}[{key!r}]" if where else key, part, files, depth + 1)
    return {"kind": "dict", "items": items}


def _check(where: str, value: Any, depth: int) -> None:
    """A list may hold plain values, and lists and dicts of such."""
    kind = type(value)
    if kind in _PLAIN:
        return
    _check_depth(where, value, depth)
    if kind is list:
        for at, part in enumerate(value):
            _check(f"{where}[{at}]", part, depth + 1)
    elif kind in _DICTS and value:
        for key, part in value.items():
            _check_key(where, key, CannotStoreInList)
            _check(f"{where}[{key!r}]", part, depth + 1)
    elif _is_file_of_its_own(value):
        raise CannotStoreInList(where, value, "arrays and tables cannot stand in a list; put them into a dict")
    else:
        raise CannotStoreInList(where, value, _hint(value))


def _check_key(where: str, key: Any, kind: type[CannotStore]) -> None:
    if type(key) is not str:
        raise kind(f"the key {key!r} of {where or 'the Context'}", key, "keys have to be texts")


def _check_depth(where: str, value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise CannotStore(f"{where[:80]}...", value, "it is nested too deep, or contains itself")


_HINTS: dict[str, str] = {
    "tuple": "make a list of it",
    "set": "make a list of it",
    "NoneType": "leave it out, or write a value that says that there is none",
    "bytes": "write it into a file of its own, or make a text of it",
    "dict": "it is empty; leave it out",
}


def _hint(value: Any) -> str:
    if hasattr(value, "dtype") and hasattr(value, "item"):
        return "make a plain number of it: value.item()"
    return _HINTS.get(type(value).__name__, "numbers, texts, lists, dicts, arrays and tables can be stored")


def _is_file_of_its_own(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] in ("numpy", "pandas") and hasattr(value, "shape")


# Arrays and tables --------------------------------------------------------------------------------------------------


def _array(where: str, value: Any, files: dict[str, Write]) -> dict[str, Any] | None:
    numpy: Any = sys.modules.get("numpy")
    if numpy is None or type(value) is not numpy.ndarray:
        return None
    if value.dtype.hasobject:
        raise CannotStore(where, value, "it holds Python objects; give it a plain dtype, or make a list of it")
    name = _file(where, "npy", files)
    files[name] = lambda path: numpy.save(path, value, allow_pickle=False)
    return {"kind": "array", "file": name}


def _table(where: str, value: Any, files: dict[str, Write]) -> dict[str, Any] | None:
    pandas: Any = sys.modules.get("pandas")
    if pandas is None or type(value) not in (pandas.DataFrame, pandas.Series):
        return None
    series = type(value) is pandas.Series
    entry = {"kind": "series", "named": value.name is not None} if series else {"kind": "frame"}
    if _fits_parquet(pandas, value):
        frame = value.to_frame("values" if value.name is None else value.name) if series else value
        parquet = _parquet(frame)
        if parquet is not None:
            name = _file(where, "parquet", files)
            files[name] = lambda path: _write(path, parquet)
            return {**entry, "file": name}
    try:
        packed = pack(value, where)
    except ValueNotSupported as error:
        raise CannotStore(where, value, str(error)) from None
    name = _file(where, "packed", files)
    files[name] = lambda path: _write(path, packed)
    return {**entry, "file": name}


def _fits_parquet(pandas: Any, value: Any) -> bool:
    """Would it come back exactly? Python objects may not; a frequency, attributes and odd names would not."""
    series = type(value) is pandas.Series
    if series and not isinstance(value.name, str | None):
        return False
    columns = [] if series else [value.columns]
    if any(index.inferred_type not in ("string", "integer", "empty") for index in columns):
        return False
    dtypes = [value.dtype] if series else list(value.dtypes)
    levels = [value.index.get_level_values(level) for level in range(value.index.nlevels)]
    plain = all(dtype.kind != "O" or dtype.name != "object" for dtype in (*dtypes, *(level.dtype for level in levels)))
    return plain and not value.attrs and getattr(value.index, "freq", None) is None


def _parquet(frame: Any) -> bytes | None:
    """The table as a parquet file; None where there is no pyarrow, or it cannot write this one."""
    try:
        written: bytes = frame.to_parquet(None, engine="pyarrow")
    except (ImportError, ValueError, TypeError, NotImplementedError):
        return None
    return written


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _file(where: str, ending: str, files: Mapping[str, Write]) -> str:
    """A name that any disk takes: the number makes it unique, the rest is for people."""
    return f"{len(files) + 1:04}-{_UNSAFE.sub('_', where).strip('_.')[:60]}.{ending}"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
