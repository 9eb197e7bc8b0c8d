"""Data sources of job maps: where the data of the input task comes from.

    {"source": "direct", "content": {"input": "text"}}             the content itself
    {"source": "file", "content": {"path": "rows.csv"}}            a file; `format` where the ending does not say it
    {"source": "my_sources:rows", "content": {"station": "A3"}}    what a function of the current folder returns

The data is one map, or (of a file or a function) a list of maps: then all that follows is run for each of them. It is
read where the map is run or submitted from, once, before anything runs.

A job map is data, and may come from anybody. So a function has to stand in a module below the current folder, and be
defined there: no map gets at `os:system`.
"""

from __future__ import annotations

import csv
import inspect
import io
import json
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..checks import show
from ..errors import UserError
from .importing import import_below
from .problems import Problem

FORMATS = ("json", "jsonl", "csv", "toml")
_OTHER_ENDINGS = {"ndjson": "jsonl"}
_FILE_FIELDS = ("path", "format")
Content = dict[str, Any] | list[dict[str, Any]]


class Unreadable(ValueError):
    """A source that cannot be read: `problem` says where and why."""

    def __init__(self, field: str, message: str) -> None:
        self.problem = Problem(None, f"datasource.{field}" if field else "datasource", message)
        super().__init__(str(self.problem))


class DataSource:
    """A source as a map describes it. Making one checks everything that can be known without reading.

    `folders` are where a relative path is looked for, in that order; the last one is the current folder, whose path
    also replaces `{}`. Raises `Unreadable`.
    """

    def __init__(self, given: Any, folders: tuple[Path, ...]) -> None:
        self._folders = folders
        if not isinstance(given, Mapping):
            raise Unreadable("", f"must be a map with source and content, not {show(given)}")
        for key in given:
            if key not in ("source", "content"):
                raise Unreadable("", f"there is no field {key!r} here: it has source and content")
        source, content = given.get("source"), given.get("content")
        if not isinstance(source, str) or not source:
            raise Unreadable("source", f"must be 'direct', 'file' or 'module:function', not {show(source)}")
        if not isinstance(content, dict):
            raise Unreadable("content", f"must be a map, not {show(content)}")
        self._source, self._content = source, content
        self._read = self._reader()

    def read(self) -> Content:
        """The data. Raises `Unreadable`."""
        return _content(self._read(), self._source)

    def _reader(self) -> Callable[[], Any]:
        if self._source == "direct":
            return lambda: self._content
        if self._source == "file":
            return self._file()
        if ":" in self._source:
            return self._function()
        raise Unreadable(
            "source", f"there is no kind {self._source!r}: write 'direct', 'file' or 'module:function' for one of yours"
        )

    def _file(self) -> Callable[[], Any]:
        for key in self._content:
            if key not in _FILE_FIELDS:
                raise Unreadable("content", f"there is no field {key!r} here: a file has path and format")
        path = self._content.get("path")
        if not isinstance(path, str) or not path:
            raise Unreadable("content.path", f"must be the path of a file, not {show(path)}")
        found = self._found(path)
        kind = self._content.get("format", found.suffix[1:].lower())
        kind = _OTHER_ENDINGS.get(kind, kind)
        if kind not in FORMATS:
            raise Unreadable("content.format", f"must be one of {', '.join(FORMATS)}, not {show(kind)}")
        return lambda: _parsed(found, kind)

    def _found(self, path: str) -> Path:
        path = path.replace("{}", str(self._folders[-1]))
        for folder in self._folders:
            if os.path.isfile(folder / path):
                return folder / path
        places = " or ".join(dict.fromkeys(str(folder) for folder in self._folders))
        raise Unreadable(
            "content.path", f"there is no file {path}" + ("" if Path(path).is_absolute() else f" in {places}")
        )

    def _function(self) -> Callable[[], Any]:
        module, _, name = self._source.partition(":")
        function = self._imported(module, name)
        try:
            arguments = _bound(function, self._content)
        except TypeError as error:
            raise Unreadable("content", f"does not fit what {self._source} takes: {error}") from None
        return lambda: self._called(function, arguments)

    def _imported(self, module: str, name: str) -> Callable[..., Any]:
        root = self._folders[-1]
        top = module.partition(".")[0]
        if not all(part.isidentifier() for part in module.split(".")) or not name.isidentifier():
            raise Unreadable("source", f"{self._source!r} is no module:function")
        if not os.path.isdir(root / top) and not os.path.isfile(root / f"{top}.py"):
            raise Unreadable(
                "source", f"there is no module {module!r} in {root}: functions of other places are not called"
            )
        try:
            found = getattr(import_below(root, module), name, None)
        except UserError:
            raise
        except (Exception, SystemExit) as error:
            raise Unreadable("source", f"{module!r} cannot be imported: {type(error).__name__}: {error}") from error
        if not inspect.isfunction(found) or found.__module__ != module:
            raise Unreadable("source", f"{module!r} defines no function {name!r}")
        return found

    def _called(self, function: Callable[..., Any], arguments: inspect.BoundArguments) -> Any:
        try:
            value = function(*arguments.args, **arguments.kwargs)
            return _awaited(value) if inspect.isawaitable(value) else value
        except UserError:
            raise
        except Exception as error:
            raise Unreadable("source", f"{self._source} failed: {type(error).__name__}: {error}") from error


def _bound(function: Callable[..., Any], content: dict[str, Any]) -> inspect.BoundArguments:
    """The content by name; a function of one parameter may have all of it."""
    signature = inspect.signature(function)
    try:
        return signature.bind(**content)
    except TypeError:
        if len(signature.parameters) != 1:
            raise
        return signature.bind(content)


def _awaited(value: Any) -> Any:
    """On a loop of its own, in a thread of its own: the caller may have a loop that runs."""
    import asyncio
    import threading

    ended: list[Any] = []

    async def wait() -> Any:
        return await value

    def run() -> None:
        try:
            ended.append((asyncio.run(wait()), None))
        except BaseException as error:  # noqa: BLE001  raised again in the caller
            ended.append((None, error))

    thread = threading.Thread(target=run, name="headrace-datasource")
    thread.start()
    thread.join()
    result, error = ended[0]
    if error is not None:
        raise error
    return result


def _content(value: Any, source: str) -> Content:
    if isinstance(value, dict):
        return value
    rows = [dict(row) if isinstance(row, Mapping) else row for row in value] if _is_rows(value) else None
    if rows is None or not all(isinstance(row, dict) for row in rows):
        raise Unreadable("content", f"the source {source!r} gives {show(value)}: a map, or a list of maps, is wanted")
    return rows


def _is_rows(value: Any) -> bool:
    return isinstance(value, list | tuple | Iterator)


def _parsed(path: Path, kind: str) -> Any:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if kind == "json":
            return json.loads(text)
        if kind == "jsonl":
            return [json.loads(line) for line in text.split("\n") if line.strip()]
        if kind == "toml":
            return tomllib.loads(text)
        return list(_table(text))
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise Unreadable("content.path", f"{path} cannot be read as {kind}: {error}") from None


def _table(text: str) -> Iterator[dict[str, str]]:
    """The rows of a CSV text, by the names in its first line. Raises ValueError for one that has more or less."""
    reader = csv.reader(io.StringIO(text), strict=True)
    names = next(reader, [])
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"line 1: two columns are called {twice!r}")
    for row in reader:
        if row and len(row) != len(names):
            raise ValueError(f"line {reader.line_num}: there are {len(row)} fields for {len(names)} columns")
        if row:
            yield dict(zip(names, row, strict=True))
