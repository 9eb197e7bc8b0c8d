"""Functions of namespaces in a worker process, and the three workers that a job map needs besides.

The namespaces below a Broker's folder are imported at its start, each `NAMESPACE.METHOD` with a definition is a worker.
What stands in `tasks.py` is called once per run and process with the `init_args` and returns the function that runs:

    def smooth(init_args):
        async def run(data):          # or a plain function
            return {...}              # or a list of such: what follows runs for each
        return run

A function whose first parameter is called `data` is itself the one that runs: `def smooth(data)`, or
`def smooth(data, init_args)`. Every run of a task leaves one line in the log.
"""

from __future__ import annotations

import inspect
import logging
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..pipeline.answers import Skip
from ..pipeline.definition import Bind
from ..pipeline.errors import JobError
from ..pipeline.styles.aggregate import Aggregate, grouped
from ..pipeline.styles.importing import import_below
from ..pipeline.styles.namespaces import (
    GROUPS,
    INPUT,
    OUTPUT,
    TASKS,
    BadDefinition,
    Namespace,
    Namespaces,
    worker_of,
)
from ..pipeline.styles.tasksource import DATA, LISTED
from .runnable import Runnable, Subject

KEPT = 64
"""Closures that a worker keeps: one per run and task."""

log = logging.getLogger("headrace.jobmap")
Run = Callable[[Any], Any]


class NamespaceRunnable(Runnable):
    """A function of a namespace."""

    kind = "namespace"

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        super().__init__(name, (), None, function)
        self._closures: dict[tuple[str, str], Run] = {}

    def invoke(self, bind: Bind, value: Any, subject: Subject) -> Any:
        task = _TaskRun(subject, self.name)
        try:
            answer = self._closure(subject)(task.given(bind, value))
            if inspect.isawaitable(answer):
                return task.awaited(answer)
            return task.ended(answer)
        except Exception as error:
            task.failed(error)
            raise

    def _closure(self, subject: Subject) -> Run:
        key = subject.assignment.run, subject.assignment.job
        known = self._closures.get(key)
        if known is None:
            if len(self._closures) >= KEPT:
                self._closures.clear()
            known = self._closures[key] = _closure(self.target, subject.data["init_args"], self.name)
        return known


class _TaskRun:
    """One run of a task: what it is given, what becomes of its answer, and its line in the log."""

    def __init__(self, subject: Subject, method: str) -> None:
        self._where = _where(subject)
        self._data = subject.data
        self._method = method
        self._path: list[int] = []
        self._spread = bool(self._data.get("spread"))
        self._began = time.monotonic()

    def given(self, bind: Bind, value: Any) -> Any:
        """The map that it works on; of a task with an aggregate the list of them."""
        if bind == "gather":
            items = list(_flat(value))
            return [item["data"] for item in items] if self._tracked else items
        if self._tracked:
            self._path = value["path"]
            return value["data"]
        return value

    async def awaited(self, answer: Any) -> Any:
        try:
            return self.ended(await answer)
        except Exception as error:
            self.failed(error)
            raise

    def ended(self, answer: Any) -> Any:
        if isinstance(answer, Skip):
            log.info("%s: %s skipped it after %.3f s: %s", self._where, self._method, self._took, answer.reason)
            return answer
        self._check(answer)
        log.info("%s: %s returned %s after %.3f s", self._where, self._method, _size(answer), self._took)
        result = _tracked(answer, self._path) if self._tracked else answer
        return [result] if self._spread and isinstance(result, dict) else result

    def failed(self, error: Exception) -> None:
        log.error(
            "%s: %s failed after %.3f s: %s: %s", self._where, self._method, self._took, type(error).__name__, error
        )

    @property
    def _tracked(self) -> bool:
        return bool(self._data.get("tracked"))

    @property
    def _took(self) -> float:
        return time.monotonic() - self._began

    def _check(self, answer: Any) -> None:
        wanted: str | None = self._data.get("returns")
        several = isinstance(answer, list)
        strange = [type(item).__name__ for item in (answer if several else [answer]) if not isinstance(item, dict)]
        if strange:
            kind = f"a list with a {strange[0]}" if several else f"a {strange[0]}"
            raise JobError(f"{self._method} returned {kind}: a task returns a dict or a list of dicts")
        if wanted is not None and several != (wanted == "list"):
            kind = "a list of dicts" if several else "a dict"
            raise JobError(
                f"{self._method} returned {kind}, where its definition (or, at submission, its source) says {wanted}: "
                f'give the definition another "returns"'
            )


class InputRunnable(Runnable):
    """The input task: its result is the content of the data source."""

    kind = "namespace"

    def invoke(self, bind: Bind, value: Any, subject: Subject) -> Any:
        content = value["content"]
        log.info("%s: the data source gives %s", _where(subject), _size(content))
        return _tracked(content, []) if value.get("tracked") else content


class GroupsRunnable(Runnable):
    """What a task with an aggregate gets, group by group."""

    kind = "namespace"

    def invoke(self, bind: Bind, value: Any, subject: Subject) -> Any:
        tracked = bool(subject.data.get("tracked"))
        items = ((tuple(one["path"]), one["data"]) if tracked else ((), one) for one in _flat(value))
        try:
            groups = grouped(Aggregate(subject.data["aggregate"]), items)
        except ValueError as error:
            raise JobError(f"the aggregate of {subject.assignment.job!r}: {error}") from None
        return [{"path": list(path), "data": group} if tracked else group for path, group in groups]


class OutputRunnable(Runnable):
    """An output task: its result is its record, with everything that has reached it, in index order."""

    kind = "namespace"

    def invoke(self, bind: Bind, value: Any, subject: Subject) -> Any:
        items = list(_flat(value))
        data = [item["data"] for item in items] if subject.data.get("tracked") else items
        log.info("%s: %s reached it", _where(subject), _size(data))
        return {**subject.data["record"], "data": data}


def built_in() -> list[Runnable]:
    """The workers that job maps need besides the functions of namespaces."""
    made = ((INPUT, InputRunnable), (GROUPS, GroupsRunnable), (OUTPUT, OutputRunnable))
    return [runnable(name, (), None, runnable) for name, runnable in made]


def served(folder: str | Path, warnings: list[str], names: Iterable[str] | None = None) -> Iterator[Runnable]:
    """The functions of the namespaces below a folder, of these or of all. What cannot be used is a warning."""
    below = Namespaces(folder)
    for namespace in below if names is None else filter(None, map(below.get, sorted(set(names)))):
        try:
            functions = _functions(namespace, Path(folder).absolute())
        except (Exception, SystemExit) as error:  # noqa: BLE001  whatever the user's modules raise
            told = traceback.format_exception_only(error)[-1].strip()
            warnings.append(f"namespace {namespace.name!r} cannot be imported: {told}")
            continue
        for method in namespace.methods:
            if callable(functions.get(method)):
                yield NamespaceRunnable(worker_of(namespace.name, method), functions[method])
            else:
                warnings.append(f"{namespace.folder / TASKS} has no function {method!r}, and {method}.json defines it")


def _functions(namespace: Namespace, folder: Path) -> Mapping[str, Any]:
    module = import_below(folder, f"{namespace.name}.{Path(TASKS).stem}")
    listed = getattr(module, LISTED, None)
    if not callable(listed):
        return vars(module)
    functions = listed()
    if not isinstance(functions, Mapping):
        raise BadDefinition([f"{LISTED}() returned a {type(functions).__name__}, not a map of functions"])
    return functions


def _closure(function: Callable[..., Any], init_args: dict[str, Any], name: str) -> Run:
    """The function that runs, made with the init_args."""
    parameters = list(inspect.signature(function).parameters.values())
    if parameters and parameters[0].name == DATA:
        if len(parameters) == 1:
            return function
        return lambda data: function(data, init_args)
    made = function(init_args) if len(parameters) == 1 else function(**init_args)
    if not callable(made):
        if inspect.iscoroutine(made):
            made.close()
        raise JobError(
            f"{name} was called with its init_args and returned a {type(made).__name__}: it has to return the function "
            f"that runs (or take {DATA!r} as its first parameter and be that function itself)"
        )
    run: Run = made
    return run


def _where(subject: Subject) -> str:
    """The beginning of a line in the log."""
    assignment = subject.assignment
    branch = f" {list(assignment.path)}" if assignment.path else ""
    return f"run {assignment.run[:12]}, task {assignment.job}{branch}"


def _tracked(answer: Any, path: list[int]) -> Any:
    """A map with the branch that it came from; of a list every map has a branch of its own."""
    if isinstance(answer, list):
        return [{"path": [*path, at], "data": item} for at, item in enumerate(answer)]
    return {"path": path, "data": answer}


def _flat(value: Any) -> Iterator[Any]:
    """The maps in what tasks have returned, one by one or as lists."""
    for one in value:
        if isinstance(one, list):
            yield from one
        else:
            yield one


def _size(answer: Any) -> str:
    return f"{len(answer)} maps" if isinstance(answer, list) else "a map"
