"""How a Context comes back from the disk (see `storing`), from this version of Headrace, an older one, or the ancestor.

The ancestor's folder has a `master_record.json` too: a flat map, levels joined by `;;`, and what is in a file told by
the end of the key. Its files are found beside the record, wherever the folder was when it was written. Pickles are not
read: they can run any code.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..arrays import library
from ..errors import ConfigError, DefinitionError
from ..payload import unpack
from ..plain import from_plain
from .record import Record
from .storing import FORMAT, RECORD, VERSION

Restored = tuple[Record, bool, dict[str, list[str]]]
"""Values, are results fingerprinted, fingerprints by name."""


def restore(path: str | os.PathLike[str]) -> Restored:
    """Raises a FileNotFoundError when there is nothing, a `ConfigError` when it is no Context that can be read."""
    folder = Path(path)
    record = folder / RECORD
    if not record.exists():
        raise FileNotFoundError(f"there is no Context in {folder}: {record} does not exist")
    try:
        document = json.loads(record.read_bytes())
        if not isinstance(document, dict):
            raise TypeError("it is no map")
        if FORMAT not in document:
            return _ancestral(folder, document), False, {}
        _check_version(record, document[FORMAT])
        values = _dict(folder, document["values"])
        fingerprints = {name: list(map(str, several)) for name, several in document.get("fingerprints", {}).items()}
        return values, bool(document.get("fingerprint", False)), fingerprints
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ConfigError(f"{record} cannot be read as a Context: {what}") from error


def _check_version(record: Path, version: Any) -> None:
    if not isinstance(version, int) or version > VERSION:
        raise ConfigError(
            f"{record} was written by a newer Headrace (format {version}, and this one knows {VERSION}): update it here"
        )


def _dict(folder: Path, items: Mapping[str, Any]) -> Record:
    return Record({key: _value(folder, key, entry) for key, entry in items.items()})


def _value(folder: Path, where: str, entry: Mapping[str, Any]) -> Any:
    kind = entry["kind"]
    if kind == "value":
        return from_plain(entry["value"], where)
    if kind == "dict":
        return _dict(folder, entry["items"])
    if kind not in _READERS:
        raise DefinitionError(f"{where} is a {kind!r}, which is unknown here")
    value = _read(_beside(folder, entry["file"]))
    if kind == "series" and not isinstance(value, library("pandas").Series):
        value = value.iloc[:, 0]
        if not entry.get("named", True):
            value.name = None
    return value


def _beside(folder: Path, name: Any) -> Path:
    """The file of that name in the folder, and nowhere else."""
    if not isinstance(name, str) or name in ("", ".", "..") or re.search(r"[/\\\0]", name):
        raise DefinitionError(f"{name!r} is no name of a file beside it")
    return folder / name


def _read(path: Path) -> Any:
    return _ENDINGS[path.suffix](path)


_READERS = frozenset({"array", "frame", "series"})
_ENDINGS: dict[str, Callable[[Path], Any]] = {
    ".npy": lambda path: library("numpy").load(path, allow_pickle=False),
    ".parquet": lambda path: library("pandas").read_parquet(path),
    ".packed": lambda path: unpack(path.read_bytes()),
}


# The ancestor's form ------------------------------------------------------------------------------------------------

_LEVELS = ";;"
_TOLD = re.compile(r"_-_(pd\.DataFrame|pd\.Series|np\.ndarray|_?Cleverdict|pickle)$")


def _ancestral(folder: Path, document: Mapping[str, Any]) -> Record:
    values = Record()
    for flat, entry in document.items():
        told = _TOLD.search(flat)
        *above, key = (flat[: told.start()] if told else flat).split(_LEVELS)
        level: Any = values
        for name in above:
            level = level.setdefault(name, Record())
        level[key] = _ancestral_value(folder, flat, told[1] if told else "", entry)
    return values


def _ancestral_value(folder: Path, key: str, kind: str, entry: Any) -> Any:
    if kind == "pickle":
        raise DefinitionError(f"{key} is a pickle, which could run any code and is not read: make it again")
    if kind == "Cleverdict":
        return Record(entry)
    if not kind:
        return entry
    value = _read(_beside(folder, re.split(r"[/\\]", entry)[-1]))
    return value.iloc[:, 0] if kind == "pd.Series" else value
