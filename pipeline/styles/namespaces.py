"""Namespaces: packages of function tasks, each with a definition that people and programs can read.

    weather/                the namespace `weather`, below the current folder
        tasks.py            def smooth(init_args): ... return a function of one dict
        smooth.json         what it consumes and produces, and its init_args

Everything here is read, nothing imported: who composes a job map needs the definitions, and only who runs it needs the
code. A folder is a namespace when it has a `tasks.py` and at least one definition beside it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .tasksource import TaskSource
from .typecheck import KNOWN, is_known

INPUT, GROUPS, OUTPUT = "jobmap:input", "jobmap:groups", "jobmap:output"
"""Workers that job maps need besides the functions of namespaces."""
TASKS = "tasks.py"
MOST_FOLDERS = 20_000
DEEPEST = 12
RETURNS = ("dict", "list")
_FIELDS = {"name", "consumes", "produces", "init_args", "description", "returns"}


def worker_of(namespace: str, method: str) -> str:
    """What a namespace's function is called in catalogs."""
    return f"{namespace}.{method}"


@dataclass(frozen=True, slots=True)
class Argument:
    """One of a method's init_args."""

    name: str
    type: str
    required: bool


@dataclass(frozen=True, slots=True)
class Method:
    """What a definition says of a function."""

    name: str
    consumes: tuple[str, ...]
    produces: tuple[str, ...]
    init_args: tuple[Argument, ...] = ()
    description: str = ""
    returns: str | None = None
    """`dict` or `list`; None: its source may say, or its first run."""


class BadDefinition(ValueError):
    """A definition file that cannot be used; `reasons` says why."""

    def __init__(self, reasons: list[str]) -> None:
        self.reasons = reasons
        super().__init__("; ".join(reasons))


class Namespace:
    """One package of function tasks."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods that have a definition."""
        return tuple(sorted(path.stem for path in self.folder.glob("*.json") if _is_definition(path)))

    def definition(self, method: str) -> dict[str, Any]:
        """The definition as its file has it. Raises `BadDefinition`."""
        document = _document(method_path(self, method))
        if not isinstance(document, dict):
            raise BadDefinition(["it has to be a map with name, consumes, produces, init_args and description"])
        return document

    def method(self, method: str) -> Method | None:
        """What the definition says, checked; None when there is no such file. Raises `BadDefinition`."""
        if not os.path.isfile(method_path(self, method)):  # also for a name that no disk takes
            return None
        return _checked(method, self.definition(method))

    @cached_property
    def source(self) -> TaskSource:
        """What its `tasks.py` says. Raises `BadDefinition`."""
        try:
            return TaskSource(self.folder / TASKS)
        except SyntaxError as error:
            raise BadDefinition([f"line {error.lineno}: {error.msg}"]) from None
        except (OSError, ValueError, RecursionError, MemoryError) as error:
            raise BadDefinition([f"it cannot be read: {error}"]) from None


def method_path(namespace: Namespace, method: str) -> Path:
    """Where a method's definition stands."""
    return namespace.folder / f"{method}.json"


class Namespaces:
    """The namespaces below a folder."""

    def __init__(self, folder: str | os.PathLike[str] = ".") -> None:
        self.folder = Path(folder).absolute()

    def get(self, name: str) -> Namespace | None:
        """The namespace of this dotted name, without a search."""
        parts = name.split(".")
        folder = self.folder.joinpath(*parts)
        if not all(map(_is_name, parts)) or not os.path.isfile(folder / TASKS):
            return None
        return Namespace(name, folder)

    def __iter__(self) -> Iterator[Namespace]:
        """All of them, in the order of their names. Hidden folders and virtual environments are not searched."""
        return iter(sorted(self._found(), key=lambda one: one.name))

    def _found(self) -> Iterator[Namespace]:
        for seen, (place, folders, files) in enumerate(os.walk(self.folder)):
            if seen > MOST_FOLDERS:
                return
            depth = len(Path(place).relative_to(self.folder).parts)
            folders[:] = [one for one in sorted(folders) if depth < DEEPEST and _is_searched(Path(place, one))]
            if depth and TASKS in files:
                namespace = Namespace(".".join(Path(place).relative_to(self.folder).parts), Path(place))
                if namespace.methods:
                    yield namespace


def _is_name(part: str) -> bool:
    return part.isidentifier() and not part.startswith("__")


def _is_searched(folder: Path) -> bool:
    return _is_name(folder.name) and folder.name != "node_modules" and not (folder / "pyvenv.cfg").exists()


def _document(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadDefinition([f"it cannot be read: {error}"]) from None
    except (ValueError, RecursionError) as error:
        raise BadDefinition([f"it is not JSON: {error}"]) from None


def _is_definition(path: Path) -> bool:
    """Other JSON files may lie beside a `tasks.py`."""
    try:
        document = _document(path)
    except BadDefinition:
        return False
    return path.stem.isidentifier() and isinstance(document, dict) and {"consumes", "produces"} <= document.keys()


def _checked(method: str, document: dict[str, Any]) -> Method:
    reasons: list[str] = [f"{key!r} is no field of a definition" for key in document if key not in _FIELDS]
    if document.get("name", method) != method:
        reasons.append(f"name must be {method!r}, as the file is called, not {document['name']!r}")
    types = {field: _types(field, document.get(field), reasons) for field in ("consumes", "produces")}
    arguments = _arguments(document.get("init_args", []), reasons)
    if not isinstance(document.get("description", ""), str):
        reasons.append(f"description must be a text, not {document['description']!r}")
    returns = document.get("returns")
    if returns is not None and returns not in RETURNS:
        reasons.append(f"returns must be 'dict' or 'list' (or not be there), not {returns!r}")
    if reasons:
        raise BadDefinition(reasons)
    return Method(method, types["consumes"], types["produces"], arguments, document.get("description", ""), returns)


def _types(field: str, given: Any, reasons: list[str]) -> tuple[str, ...]:
    several = [given] if isinstance(given, str) else given
    if not isinstance(several, list) or not several or not all(isinstance(one, str) and one for one in several):
        reasons.append(f"{field} must be a list of types, such as ['string'], not {given!r}")
        return ()
    return tuple(several)


def _arguments(given: Any, reasons: list[str]) -> tuple[Argument, ...]:
    if not isinstance(given, list):
        reasons.append(f"init_args must be a list of {{name, type, required}}, not {given!r}")
        return ()
    found: dict[str, Argument] = {}
    for at, one in enumerate(given):
        where = f"init_args[{at}]"
        if not isinstance(one, dict) or not isinstance(one.get("name"), str) or not one["name"]:
            reasons.append(f"{where} must be a map with name, type and required, not {one!r}")
            continue
        kind, required = one.get("type", "any"), one.get("required", False)
        if not isinstance(kind, str) or not is_known(kind):
            reasons.append(f"{where}: type must be one of {', '.join(KNOWN)}, not {kind!r}")
        elif not isinstance(required, bool):
            reasons.append(f"{where}: required must be true or false, not {required!r}")
        elif one["name"] in found:
            reasons.append(f"{where}: there are two init_args {one['name']!r}")
        else:
            found[one["name"]] = Argument(one["name"], kind, required)
    return tuple(found.values())
