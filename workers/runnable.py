"""Runnable: one way to run user code, whatever it was written as.

A class is instantiated once, by its first job, and its instance kept; a function is called as `functions` says. Both
may be `async`: what they return is awaited by the execution. Command lines are runnables too (`command`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ..pipeline.definition import Bind
from ..pipeline.errors import ConfigError, JobError
from ..pipeline.task import Assignment
from .base import Worker
from .functions import DECLARED, Declaration, Parameters, names, version_of


class Nothing:
    """The mark for "there is no value", where None is one."""

    def __repr__(self) -> str:
        return "NOTHING"


NOTHING = Nothing()

_SOURCES = {
    "store": "what the store retrieved",
    "named": "the data and the upstream results of the job",
    "literal": "the data of the job",
}


class Subject(Protocol):
    """What a runnable may ask of the attempt that it works on."""

    @property
    def assignment(self) -> Assignment: ...

    @property
    def data(self) -> Any:
        """The pipeline's data with the job's data over it."""


class Runnable:
    """A worker that can be run by name."""

    kind = "class"

    def __init__(self, name: str, requires: tuple[str, ...], role: str | None, target: Any) -> None:
        self.name = name
        self.requires = requires
        self.optional: tuple[str, ...] = ()
        self.role = role
        self.target = target
        self.code = ""
        """A digest of its code, when its process has told its Broker."""
        self.version = ""
        """What the worker's author calls this version of it."""

    def invoke(self, bind: Bind, value: Any, subject: Subject) -> Any:
        """Run on a value made by `bind`; under `args` it is a list, under `item` it may be `NOTHING`."""
        raise NotImplementedError

    def inputs(self, bind: Bind, value: Any, subject: Subject) -> dict[str, Any]:
        """By name, all that `invoke` would give the worker: for the cache. More than it looks at does no harm."""
        return {"data": subject.data} if value is NOTHING else {"input": value, "data": subject.data}


class ClassRunnable(Runnable):
    """A class with `process`."""

    def __init__(self, cls: type) -> None:
        declared: Declaration = vars(cls).get(DECLARED, Declaration())
        name = declared.name or cls.__name__
        requires = declared.requires
        if requires is None:
            requires = names(getattr(cls, "requires", ()), f"{cls.__qualname__}.requires")
        super().__init__(name, requires, declared.role or getattr(cls, "role", None), cls)
        self.version = declared.version or version_of(getattr(cls, "version", ""))
        self._process: Callable[..., Any] | None = None

    def invoke(self, bind: Bind, value: Any, subject: Subject) -> Any:
        process = self._process or self._make()
        if bind == "args":
            return process(*value) if value else process(subject.data)
        return process(subject.data if value is NOTHING else value)

    def inputs(self, bind: Bind, value: Any, subject: Subject) -> dict[str, Any]:
        return {"input": subject.data if value is NOTHING or (bind == "args" and not value) else value}

    def _make(self) -> Callable[..., Any]:
        try:
            instance = self.target()
        except Exception as error:
            raise JobError(f"worker {self.name!r} cannot be made: {type(error).__name__}: {error}") from error
        self._process = instance.process
        return self._process


class FunctionRunnable(Runnable):
    """A function."""

    kind = "function"

    def __init__(self, function: Callable[..., Any]) -> None:
        declared: Declaration = getattr(function, DECLARED, Declaration())
        self.parameters = Parameters(function)
        requires = self.parameters.required if declared.requires is None else declared.requires
        super().__init__(declared.name or function.__name__, requires, declared.role, function)
        self.optional = self.parameters.optional
        self.version = declared.version

    def invoke(self, bind: Bind, value: Any, subject: Subject) -> Any:
        if bind == "args":
            return self._with_left_over(value, subject) if value else self._with_data(subject.data)
        if bind == "item":
            return self._with_data(subject.data) if value is NOTHING else self._with_left_over([value], subject)
        if bind == "gather":
            return self._with_left_over([value], subject)
        if bind == "literal" and isinstance(value, dict):
            return self.target(**value)
        return self._from(value, _SOURCES[bind])

    def inputs(self, bind: Bind, value: Any, subject: Subject) -> dict[str, Any]:
        if bind in ("args", "item", "gather") and value is not NOTHING and not (bind == "args" and not value):
            taken = len(value) if bind == "args" else 1
            data = subject.data
            left = self.parameters.left_over(taken, data) if isinstance(data, Mapping) else {}
            return {"input": value, "data": left} if left else {"input": value}
        if bind in ("args", "item", "gather"):
            value = subject.data
        if bind == "literal" or not isinstance(value, Mapping):
            return {"input": value}
        return {"input": self.parameters.read_from(value)}

    def _with_data(self, data: Any) -> Any:
        return self._from(data, "the data of the job, which has nothing upstream")

    def _from(self, value: Any, source: str) -> Any:
        if value is None:
            value = {}
        if not isinstance(value, Mapping):
            return self.target(value)
        args, named = self.parameters.by_name(value, self.name, source)
        return self.target(*args, **named)

    def _with_left_over(self, values: list[Any], subject: Subject) -> Any:
        parameters = self.parameters
        if not parameters.keyword_only and len(parameters.positional) <= len(values):
            return self.target(*values)
        data = subject.data
        named = parameters.left_over(len(values), data) if isinstance(data, Mapping) else {}
        return self.target(*values, **named)


def runnable(target: Any) -> Runnable:
    """A class with `process`, or a function, as what a catalog holds."""
    if isinstance(target, type):
        if not callable(getattr(target, "process", None)):
            raise ConfigError(f"class {target.__qualname__} is no worker: it has no `process(self, data)`")
        return ClassRunnable(target)
    if callable(target) and hasattr(target, "__name__"):
        return FunctionRunnable(target)
    raise ConfigError(f"{target!r} is no worker: give a class with `process`, or a function")


def is_worker(target: Any) -> bool:
    """A class or function that was written as a worker, as opposed to anything else that a module may hold."""
    if isinstance(target, type):
        declared = DECLARED in vars(target)
        return declared or (issubclass(target, Worker) and target.process is not Worker.process)
    return callable(target) and isinstance(getattr(target, DECLARED, None), Declaration)
