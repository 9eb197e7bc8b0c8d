"""Functions as workers: what a function takes, read from its signature, and how an input becomes its arguments.

    @worker
    def words(text, limit=100): ...

    @worker(name="resize", role="gpu")
    async def resize(image, width): ...

The decorated function stays the function that it is. How it is called depends on the job's `bind`:

store     a map from the store, by name: parameters without a default are the worker's `requires`
named     a map of data and upstream results, by name
literal   the job's own data, every key of it by name (a key too many is the function's TypeError)
args      the upstream results, one positional argument each, in the order of the edges
item      the one upstream result
gather    the list of upstream results

By name means: a function gets the keys that it has parameters for, `**rest` gets all others. When a required parameter
is not among the keys, a function with exactly one parameter gets the whole map (so that `def report(outcome)` is a fine
hook), any other fails with `MissingInput`. Under `args`, `item` and `gather` parameters that are left over are filled
from the data by name, and a job without anything upstream gets its data instead. What is not a map is handed over as
the one positional argument.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, overload

import msgspec

from ..pipeline.errors import ConfigError, MissingInput

DECLARED = "__headrace__"
"""The attribute in which a decorator leaves its `Declaration`."""

F = TypeVar("F", bound=Callable[..., Any])
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Declaration(msgspec.Struct, frozen=True):
    """What a decorator says of a worker; None leaves it to the function or class itself."""

    name: str | None = None
    requires: tuple[str, ...] | None = None
    role: str | None = None
    version: str = ""


@overload
def worker(function: F, /) -> F: ...


@overload
def worker(
    *,
    name: str | None = None,
    requires: Iterable[str] | None = None,
    role: str | None = None,
    version: str | int | None = None,
) -> Callable[[F], F]: ...


def worker(
    function: F | None = None,
    /,
    *,
    name: str | None = None,
    requires: Iterable[str] | None = None,
    role: str | None = None,
    version: str | int | None = None,
) -> F | Callable[[F], F]:
    """Make a function (or a class with `process`) a worker that a Broker finds in its module.

    `version`: what was kept in the cache under another one counts no longer.
    """
    needed = None if requires is None else names(requires, "requires")
    declaration = Declaration(name, needed, role, version_of(version, "version"))

    def declare(target: F) -> F:
        if not callable(target):
            raise ConfigError(f"@worker takes a function or a class, not {target!r}; a name is given as name='...'")
        setattr(target, DECLARED, declaration)
        return target

    return declare if function is None else declare(function)


def names(value: object, where: str) -> tuple[str, ...]:
    """A list of names, checked: one text is a common slip, and would be a list of its letters."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise ConfigError(f"{where} has to be a list of names, not {value!r}")
    found = tuple(value)
    if wrong := [item for item in found if not isinstance(item, str)]:
        raise ConfigError(f"{where} has to be a list of names, and {wrong[0]!r} is none")
    return found


def version_of(value: object, where: str = "") -> str:
    """A version as text. Anything but a text or a number is refused, or (without `where`) none."""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    if value is not None and where:
        raise ConfigError(f"{where} has to be a text or a number, not {value!r}")
    return ""


class Parameters:
    """What a function takes."""

    def __init__(self, function: Callable[..., Any]) -> None:
        parameters = list(_signature(function).parameters.values())
        kinds = {parameter.kind for parameter in parameters}
        self.positional = tuple(item.name for item in parameters if item.kind in _POSITIONAL)
        self.positional_only = sum(item.kind is item.POSITIONAL_ONLY for item in parameters)
        self.keyword_only = tuple(item.name for item in parameters if item.kind is item.KEYWORD_ONLY)
        self.any_positional = inspect.Parameter.VAR_POSITIONAL in kinds
        self.any_keyword = inspect.Parameter.VAR_KEYWORD in kinds
        named = [item for item in parameters if item.kind in (*_POSITIONAL, *_NAMED)]
        self.required = tuple(item.name for item in named if item.default is item.empty)
        self.optional = tuple(item.name for item in named if item.default is not item.empty)
        self.single = len(parameters) == 1 and len(named) == 1

    def by_name(self, given: Mapping[str, Any], worker: str, source: str) -> tuple[Sequence[Any], dict[str, Any]]:
        """Arguments from a map; `source` says in words where the map comes from."""
        for name in self.required:
            if name not in given:
                if self.single:
                    return (given,), {}
                raise MissingInput(name, worker, source)
        if self.any_keyword:
            chosen = dict(given)
        else:
            chosen = {name: given[name] for name in self.required}
            for name in self.optional:
                if name in given:
                    chosen[name] = given[name]
        if not self.positional_only:
            return (), chosen
        first = [name for name in self.positional[: self.positional_only] if name in chosen]
        return [chosen.pop(name) for name in first], chosen

    def read_from(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """The part of a map that `by_name` looks at."""
        if self.any_keyword or (self.single and not all(name in given for name in self.required)):
            return given
        return {name: given[name] for name in (*self.required, *self.optional) if name in given}

    def left_over(self, taken: int, given: Mapping[str, Any]) -> dict[str, Any]:
        """Keywords from the data for the parameters that `taken` positional arguments leave open."""
        open_names = self.keyword_only
        if not self.any_positional:
            open_names = self.positional[max(taken, self.positional_only) :] + open_names
        return {name: given[name] for name in open_names if name in given}


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except (ValueError, TypeError):  # some functions written in C do not say
        return inspect.signature(lambda *values, **named: None)
