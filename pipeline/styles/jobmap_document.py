"""A job map, read and checked: everything that can be wrong with it is found before anything runs, all of it at once.

What stands in a task is `jobmap_task`'s affair, how tasks are connected `jobmap_flow`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..checks import show
from ..errors import ConfigError, DefinitionError
from ..names import check_names
from ..run_options import checked
from .datasource import Content, DataSource, Unreadable
from .jobmap_fields import Fields, cannot_travel
from .jobmap_flow import Edge, check_flow
from .jobmap_methods import Methods
from .jobmap_task import MapTask, read_task
from .namespaces import Namespaces
from .problems import JobMapError, Problem

if TYPE_CHECKING:
    from ..pipeline import Pipeline

FIELDS = ("name", "id", "description", "datasource", "tasks", "workflow", "options")
OPTIONS = ("priority", "deadline", "max_active", "key", "on_duplicate", "on_error")
_HAS = {"input": "exactly one", "output": "at least one"}


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
        if told := cannot_travel(data):
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
    fields = Fields(document)
    if not isinstance(document, Mapping):
        raise JobMapError(
            [Problem(None, "map", f"must be a map with {', '.join(FIELDS)}, not {show(document)}")], place
        )
    fields.check(None, document, FIELDS)
    name = fields.text(None, document, "name")
    fields.id(None, document)
    options = _options(document, fields)
    data = _source(document, fields, folders)
    tasks = _tasks(document, fields, Methods(Namespaces(folders[-1]), fields))
    _connect(document, fields, tasks)
    if fields.problems or data is None:
        raise JobMapError(fields.problems, place)
    return JobMap(name, tasks, data, options, place)


def _options(document: Mapping[str, Any], fields: Fields) -> dict[str, Any]:
    given = fields.map(None, document, "options", needed=False)
    fields.check(None, given, OPTIONS, "options.")
    found = {}
    for option in OPTIONS:
        if option in given:
            try:
                checked({"title": None, option: given[option]}, ())
                found[option] = given[option]
            except DefinitionError as error:
                fields.wrong(None, f"options.{option}", str(error).partition(": ")[2])
    if found.get("on_error") == "continue":
        text = "must be 'fail' or 'block': a failure is no data for the tasks after it"
        fields.wrong(None, "options.on_error", text)
    return found


def _source(document: Mapping[str, Any], fields: Fields, folders: tuple[Path, ...]) -> DataSource | None:
    if "datasource" not in document:
        fields.wrong(None, "datasource", "is missing: a map with source and content")
        return None
    try:
        return DataSource(document["datasource"], folders)
    except Unreadable as error:
        fields.problems.append(error.problem)
        return None


def _tasks(document: Mapping[str, Any], fields: Fields, methods: Methods) -> dict[str, MapTask]:
    tasks: dict[str, MapTask] = {}
    ids: dict[str, str] = {}
    for at, given in enumerate(fields.list(document, "tasks")):
        if not isinstance(given, Mapping):
            fields.wrong(None, f"tasks[{at}]", f"must be a map, not {show(given)}")
            continue
        name = _task_name(given.get("name"), at, fields)
        if name is None:
            continue
        if name in tasks:
            fields.wrong(name, "name", "there are two tasks of this name")
            continue
        task = tasks[name] = read_task(name, given, fields, methods)
        if task.id in ids:
            fields.wrong(name, "id", f"{task.id!r} is the id of task {ids[task.id]!r} too")
        ids.setdefault(task.id, name)
    if _is_list(document.get("tasks")):
        _count(tasks, fields)
    return tasks


def _task_name(name: Any, at: int, fields: Fields) -> str | None:
    try:
        check_names(name, "task")
    except DefinitionError:
        text = f"must be a text that is not empty, and no 'hook:', not {show(name)}"
        fields.wrong(None, f"tasks[{at}].name", text)
        return None
    return str(name)


def _count(tasks: Mapping[str, MapTask], fields: Fields) -> None:
    for kind, wanted in _HAS.items():
        names = [task.name for task in tasks.values() if task.kind == kind]
        if not names:
            fields.wrong(None, "tasks", f"there is no task of type {kind!r}: a map has {wanted}")
        elif kind == "input" and len(names) > 1:
            text = f"there are {len(names)} tasks of type {kind!r} ({', '.join(names)}): a map has {wanted}"
            fields.wrong(None, "tasks", text)


def _connect(document: Mapping[str, Any], fields: Fields, tasks: dict[str, MapTask]) -> None:
    edges: list[Edge] = []
    for at, edge in enumerate(fields.list(document, "workflow")):
        if _is_list(edge) and len(edge) == 2 and all(isinstance(one, str) for one in edge):
            edges.append((at, edge[0], edge[1]))
        else:
            text = f"must be a pair of task names, such as ['in', 'out'], not {show(edge)}"
            fields.wrong(None, f"workflow[{at}]", text)
    if _is_list(document.get("workflow")) and _is_list(document.get("tasks")):
        fields.problems += check_flow(tasks, edges)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)
