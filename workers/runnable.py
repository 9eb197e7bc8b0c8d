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
from .functions import DECLARED, Declaration, Parameters, names


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

    def invoke(self, bind: Bind, value: Any, subject: Subject) -> Any:
        """Run on a value made by `bind`; under `args` it is a list, under `item` it may be `NOTHING`."""
        raise NotImplementedError


class ClassRunnable(Runnable):
    """A class with `process`."""

    def __init__(self, cls: type) -> None:
        declared: Declaration = vars(cls).get(DECLARED, Declaration())
        name = declared.name or cls.__name__
        requires = declared.requires
        if requires is None:
            requires = names(getattr(cls, "requires", ()), f"{cls.__qualname__}.requires")
        super().__init__(name, requires, declared.role or getattr(cls, "role", None), cls)
        self._process: Callable[..., Any] | None = None

    def invoke(self, bind: Bind, value: Any, subject: Subject) -> Any:
        process = self._process or self._make()
        if bind == "args":
            return process(*value) if value else process(subject.data)
        return process(subject.data if value is NOTHING else value)

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
