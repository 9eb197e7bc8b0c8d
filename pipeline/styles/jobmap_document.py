"""A job map, read and checked: everything that can be wrong with it is found before anything runs, all of it at once.

What a map says of a task is checked against the definition of its method; how tasks are connected is `jobmap_flow`'s
affair. A misspelt field is a problem too: an `agregate` that nobody reads would be a promise that nobody keeps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..checks import show
from ..errors import ConfigError, DefinitionError, ValueNotSupported
from ..job import Job
from ..names import check_names
from ..payload import pack
from ..run_options import checked
from .aggregate import Aggregate
from .datasource import Content, DataSource, Unreadable
from .jobmap_flow import check_flow
from .namespaces import TASKS, BadDefinition, Method, Namespace, Namespaces, method_path
from .problems import JobMapError, Problem
from .typecheck import fits, value_fits

if TYPE_CHECKING:
    from ..pipeline import Pipeline

KINDS = ("input", "function", "output")
FIELDS = ("name", "id", "description", "datasource", "tasks", "workflow", "options")
OPTIONS = ("priority", "deadline", "max_active", "key", "on_duplicate", "on_error")
TASK_FIELDS = ("name", "id", "type", "description")
TEXTS = ("method", "namespace", "consumes", "produces")
FUNCTION_FIELDS = (*TASK_FIELDS, *TEXTS, "init_args", "aggregate", "options")
TASK_OPTIONS = ("retry", "timeout", "queue_timeout", "role", "resources", "limits", "priority", "cache")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(slots=True)
class MapTask:
    """A task of a job map. Of a task with problems only what is right is here."""

    name: str
    kind: str
    id: str
    namespace: str = ""
    method: str = ""
    consumes: str | None = None
    produces: str | None = None
    init_args: dict[str, Any] = field(default_factory=dict)
    returns: str | None = None
    aggregate: Aggregate | None = None
    options: dict[str, Any] = field(default_factory=dict)
    parents: list[str] = field(default_factory=list)


@dataclass(slots=True)
class JobMap:
    """A map without problems: tasks by name in the order of the map, their parents in the order of the edges."""

    name: str
    tasks: dict[str, MapTask]
    data: DataSource
    options: dict[str, Any]
    place: str
    """What it is called in messages."""

    def content(self) -> Content:
        """Read the data source. Raises `JobMapError`."""
        try:
            data = self.data.read()
        except Unreadable as error:
            raise JobMapError([error.problem], self.place) from error.__cause__
        if told := _cannot_travel(data):
            raise JobMapError([Problem(None, "datasource", told)], self.place)
        return data

    def to_pipeline(self, priority: int | None = None, role: str | None = None) -> Pipeline:
        """The pipeline, with the data in it."""
        from .jobmap_jobs import compiled

        if role is not None:
            raise ConfigError(f"{self.place}: a job map has no role as a whole; a task has one among its options")
        options = self.options if priority is None else {**self.options, "priority": priority}
        return compiled(self, self.content(), options)


def read_map(document: Any, place: str, folders: tuple[Path, ...]) -> JobMap:
    """The map of a document, called `place` in messages. `folders`: see `DataSource`, which is not read here.

    Raises `JobMapError` with every problem.
    """
    reading = _Reading(document, folders)
    if reading.problems or reading.data is None:
        raise JobMapError(reading.problems, place)
    return JobMap(reading.name, reading.tasks, reading.data, reading.options, place)


class _Reading:
    """One pass over a document that collects what it finds and what is wrong."""

    def __init__(self, document: Any, folders: tuple[Path, ...]) -> None:
        self.problems: list[Problem] = []
        self.tasks: dict[str, MapTask] = {}
        self.options: dict[str, Any] = {}
        self.data: DataSource | None = None
        self.name = ""
        if not isinstance(document, Mapping):
            self._wrong(None, "map", f"must be a map with {', '.join(FIELDS)}, not {show(document)}")
            return
        self._methods = _Methods(Namespaces(folders[-1]))
        self._digest = blake2b(show_all(document), digest_size=16).digest()
        self._check_fields(None, document, FIELDS)
        self.name = self._text(None, document, "name")
        self._id(None, document, "")
        self._read_options(document)
        self._read_source(document, folders)
        self._read_tasks(document)
        self._read_workflow(document)

    def _wrong(self, task: str | None, name: str, message: str) -> None:
        self.problems.append(Problem(task, name, message))

    # The map ---------------------------------------------------------------------------------------------------------

    def _read_options(self, document: Mapping[str, Any]) -> None:
        given = self._map(None, document, "options", needed=False)
        if given.get("on_error") == "continue":
            self._wrong(
                None, "options.on_error", "must be 'fail' or 'block': a failure is no data for the tasks after it"
            )
            return
        self._check_fields(None, given, OPTIONS, "options.")
        for option in OPTIONS:
            if option in given:
                try:
                    checked({"title": None, option: given[option]}, ())
                    self.options[option] = given[option]
                except DefinitionError as error:
                    self._wrong(None, f"options.{option}", str(error).partition(": ")[2])

    def _read_source(self, document: Mapping[str, Any], folders: tuple[Path, ...]) -> None:
        if "datasource" not in document:
            self._wrong(None, "datasource", "is missing: a map with source and content")
            return
        try:
            self.data = DataSource(document["datasource"], folders)
        except Unreadable as error:
            self.problems.append(error.problem)

    def _read_tasks(self, document: Mapping[str, Any]) -> None:
        ids: dict[str, str] = {}
        for at, given in enumerate(self._list(document, "tasks")):
            if not isinstance(given, Mapping):
                self._wrong(None, f"tasks[{at}]", f"must be a map, not {show(given)}")
                continue
            name = self._task_name(given, at)
            if name is None:
                continue
            task = self._task(name, given)
            if task.id in ids:
                self._wrong(name, "id", f"{task.id!r} is the id of task {ids[task.id]!r} too")
            ids.setdefault(task.id, name)
            self.tasks[name] = task
        for kind, most in (("input", 1), ("output", None)):
            names = [task.name for task in self.tasks.values() if task.kind == kind]
            if not names and isinstance(document.get("tasks"), list):
                self._wrong(None, "tasks", f"there is no task of type {kind!r}: a map has {_needs[kind]}")
            elif most is not None and len(names) > most:
                self._wrong(
                    None,
                    "tasks",
                    f"there are {len(names)} tasks of type {kind!r} ({', '.join(names)}): a map has {_needs[kind]}",
                )

    def _read_workflow(self, document: Mapping[str, Any]) -> None:
        edges = []
        for at, edge in enumerate(self._list(document, "workflow")):
            if not isinstance(edge, list | tuple) or len(edge) != 2 or not all(isinstance(one, str) for one in edge):
                self._wrong(
                    None, f"workflow[{at}]", f"must be a pair of task names, such as ['in', 'out'], not {show(edge)}"
                )
            else:
                edges.append((at, edge[0], edge[1]))
        if isinstance(document.get("workflow"), list | tuple) and isinstance(document.get("tasks"), list | tuple):
            self.problems += check_flow(self.tasks, edges)

    # One task --------------------------------------------------------------------------------------------------------

    def _task_name(self, given: Mapping[str, Any], at: int) -> str | None:
        name = given.get("name")
        try:
            check_names(name, "task")
        except DefinitionError:
            self._wrong(
                None, f"tasks[{at}].name", f"must be a text that is not empty, and no 'hook:', not {show(name)}"
            )
            return None
        assert isinstance(name, str)
        if name in self.tasks:
            self._wrong(name, "name", "there are two tasks of this name")
            return None
        return name

    def _task(self, name: str, given: Mapping[str, Any]) -> MapTask:
        kind = given.get("type")
        if kind not in KINDS:
            self._wrong(
                name,
                "type",
                f"must be {_either(KINDS)}, not {show(kind)}" if "type" in given else f"is missing: {_either(KINDS)}",
            )
            return MapTask(name, "", self._id(name, given, name))
        self._check_fields(name, given, FUNCTION_FIELDS if kind == "function" else TASK_FIELDS)
        task = MapTask(name, kind, self._id(name, given, name))
        if kind == "function":
            self._read_function(task, given)
        return task

    def _read_function(self, task: MapTask, given: Mapping[str, Any]) -> None:
        texts = {one: self._text(task.name, given, one) for one in TEXTS}
        task.namespace, task.method = texts["namespace"], texts["method"]
        task.consumes, task.produces = texts["consumes"] or None, texts["produces"] or None
        task.init_args = self._map(task.name, given, "init_args")
        if told := _cannot_travel(task.init_args):
            self._wrong(task.name, "init_args", told)
        if "aggregate" in given:
            try:
                task.aggregate = Aggregate(given["aggregate"])
            except ValueError as error:
                self._wrong(task.name, "aggregate", str(error))
        self._read_task_options(task, given)
        if task.namespace and task.method:
            method = self._methods.find(task, self._wrong)
            if method is not None:
                self._compare(task, method)

    def _read_task_options(self, task: MapTask, given: Mapping[str, Any]) -> None:
        options = self._map(task.name, given, "options", needed=False)
        self._check_fields(task.name, options, TASK_OPTIONS, "options.")
        for option in TASK_OPTIONS:
            if option in options:
                try:
                    Job(task.name, **{option: options[option]})
                    task.options[option] = options[option]
                except DefinitionError as error:
                    self._wrong(task.name, f"options.{option}", str(error).partition(": ")[2])

    def _compare(self, task: MapTask, method: Method) -> None:
        """The task against the definition of its method."""
        where = f"{task.namespace}.{task.method}"
        task.returns = method.returns
        if task.consumes is not None and not any(fits(task.consumes, one) for one in method.consumes):
            self._wrong(
                task.name, "consumes", f"{task.consumes!r} is not what {where} consumes: {_either(method.consumes)}"
            )
        if task.produces is not None and not any(fits(one, task.produces) for one in method.produces):
            self._wrong(
                task.name, "produces", f"{task.produces!r} is not what {where} produces: {_either(method.produces)}"
            )
        known = {one.name: one for one in method.init_args}
        for name in task.init_args:
            if name not in known:
                self._wrong(task.name, f"init_args.{name}", f"{where} has no such argument{_nearest(name, known)}")
        for name, argument in known.items():
            if name not in task.init_args:
                if argument.required:
                    self._wrong(task.name, f"init_args.{name}", f"is missing: {where} requires it ({argument.type})")
            elif not value_fits(task.init_args[name], argument.type):
                value = show(task.init_args[name])
                self._wrong(task.name, f"init_args.{name}", f"must be of type {argument.type}, not {value}")

    # Fields ----------------------------------------------------------------------------------------------------------

    def _check_fields(self, task: str | None, given: Mapping[str, Any], known: Iterable[str], prefix: str = "") -> None:
        for key in given:
            if key not in known:
                self._wrong(task, f"{prefix}{key}", f"there is no such field{_nearest(str(key), known)}")

    def _text(self, task: str | None, given: Mapping[str, Any], name: str) -> str:
        value = given.get(name)
        if name not in given:
            self._wrong(task, name, "is missing: a text")
        elif not isinstance(value, str) or not value:
            self._wrong(task, name, f"must be a text that is not empty, not {show(value)}")
        else:
            return value
        return ""

    def _map(self, task: str | None, given: Mapping[str, Any], name: str, *, needed: bool = True) -> dict[str, Any]:
        value = given.get(name)
        if name not in given:
            if needed:
                self._wrong(task, name, "is missing: a map, {} when there is nothing in it")
        elif not isinstance(value, dict):
            self._wrong(task, name, f"must be a map, not {show(value)}")
        else:
            return value
        return {}

    def _list(self, given: Mapping[str, Any], name: str) -> list[Any]:
        value = given.get(name)
        if isinstance(value, list | tuple):
            return list(value)
        self._wrong(None, name, f"must be a list, not {show(value)}" if name in given else "is missing: a list")
        return []

    def _id(self, task: str | None, given: Mapping[str, Any], seed: str) -> str:
        """The id that is given, or one that is made up from the map: the same map has the same ids."""
        if given.get("id") is not None:
            return self._text(task, given, "id")
        number = int.from_bytes(blake2b(seed.encode("utf-8", "replace"), key=self._digest).digest())
        letters = []
        for _ in range(15):
            number, at = divmod(number, len(_LETTERS))
            letters.append(_LETTERS[at])
        return "".join(letters)


class _Methods:
    """Looks definitions up, each once."""

    def __init__(self, namespaces: Namespaces) -> None:
        self._namespaces = namespaces
        self._known: dict[str, Namespace | None] = {}
        self._read: dict[tuple[str, str], Method | BadDefinition | None] = {}

    def find(self, task: MapTask, wrong: Any) -> Method | None:
        if not _DOTTED.fullmatch(task.namespace):
            return wrong(task.name, "namespace", f"must be a dotted name such as 'main', not {task.namespace!r}")  # type: ignore[no-any-return]
        if task.namespace not in self._known:
            self._known[task.namespace] = self._namespaces.get(task.namespace)
        namespace = self._known[task.namespace]
        if namespace is None:
            near = _nearest(task.namespace, [one.name for one in self._namespaces])
            text = f"there is no namespace {task.namespace!r} below {self._namespaces.folder}{near}"
            return wrong(task.name, "namespace", text)  # type: ignore[no-any-return]
        return self._method(task, namespace, wrong)

    def _method(self, task: MapTask, namespace: Namespace, wrong: Any) -> Method | None:
        method = self._definition(namespace, task.method)
        if isinstance(method, BadDefinition):
            for reason in method.reasons:
                wrong(task.name, "method", f"its definition {method_path(namespace, task.method)}: {reason}")
            return None
        if method is None:
            known = _nearest(task.method, namespace.methods)
            wrong(task.name, "method", f"namespace {namespace.name!r} has no definition {task.method}.json{known}")
            return None
        try:
            if namespace.functions is not None and task.method not in namespace.functions:
                wrong(task.name, "method", f"{namespace.folder / TASKS} has no function {task.method!r}")
        except BadDefinition as error:
            for reason in error.reasons:
                wrong(task.name, "method", f"{namespace.folder / TASKS}: {reason}")
        return method

    def _definition(self, namespace: Namespace, method: str) -> Method | BadDefinition | None:
        """Each is read once."""
        key = namespace.name, method
        if key not in self._read:
            try:
                self._read[key] = namespace.method(method) if method.isidentifier() else None
            except BadDefinition as error:
                self._read[key] = error
        return self._read[key]


def show_all(value: Any) -> bytes:
    """All of a value as text, for a digest."""
    try:
        return repr(value).encode("utf-8", "replace")
    except RecursionError:
        return b""


def _cannot_travel(value: Any) -> str:
    """Why a value cannot be given to another process; empty when it can."""
    try:
        pack(value, "")
    except ValueNotSupported as error:
        return f"holds what cannot travel between processes: {str(error).lstrip(': ')}"
    return ""


def _nearest(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = get_close_matches(name, names, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(names) or 'none'}"


def _either(names: Iterable[str]) -> str:
    return " or ".join(map(repr, names))


_needs = {"input": "exactly one", "output": "at least one"}
