"""Fingerprints of steps: what has made a result, so that one can see that something else would be made today.

A fingerprint covers the code of the step's class (down to `Step`), its settings, and the fingerprints of the steps that
it depends on. It does not cover functions and constants outside of the class. Comments, blank lines and the place of
the code do not matter; another version of Python does. A setting that cannot be packed counts by its type only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from types import CodeType
from typing import Any

from ..errors import ValueNotSupported
from ..payload import pack
from .settings import settings_of
from .stepgraph import StepGraph
from .steps import OWN, Step

_PASSED_OVER = OWN | {
    "__module__", "__doc__", "__dict__", "__weakref__", "__firstlineno__", "__static_attributes__"
}  # fmt: skip


def fingerprints(graph: StepGraph) -> dict[int, str]:
    """The fingerprints of all steps of a graph, by the `id` of the step."""
    made: dict[int, str] = {}
    for step in graph.steps:  # each after those that it depends on
        parts = [*_code_of(type(step)), *_settings_of(step), *(made[id(one)] for one in graph.before(step))]
        made[id(step)] = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
    return made


def _code_of(cls: type[Step]) -> Iterator[str]:
    for one in cls.__mro__[: cls.__mro__.index(Step)]:
        for name, value in sorted(vars(one).items()):
            yield from _told(name, value)


def _settings_of(step: Step) -> Iterator[str]:
    for name, value in sorted(settings_of(step).items()):
        yield from _told(name, value)


def _told(name: str, value: Any) -> Iterator[str]:
    """An attribute of a class or a step: the code of what can be called, the value of a setting."""
    if name in _PASSED_OVER:
        return
    parts = (value.fget, value.fset, value.fdel) if isinstance(value, property) else (value,)
    for part in parts:
        function = getattr(part, "__func__", part)
        code = getattr(function, "__code__", None)
        if isinstance(code, CodeType):
            yield f"{name}: {_code(code)} {_value(getattr(function, '__defaults__', None))}"
        else:
            yield f"{name}: {_value(part)}"


def _code(code: CodeType) -> str:
    constants = ", ".join(_constant(one) for one in code.co_consts)
    return f"{code.co_code.hex()} {code.co_names} {code.co_varnames} {code.co_freevars} ({constants})"


def _constant(value: Any) -> str:
    """The same text in every process: the order of a set is not."""
    if isinstance(value, CodeType):
        return _code(value)
    if isinstance(value, frozenset):
        return f"{{{', '.join(sorted(map(_constant, value)))}}}"
    if isinstance(value, tuple):
        return f"({', '.join(map(_constant, value))})"
    return f"{type(value).__name__} {value!r}"


def _value(value: Any) -> str:
    try:
        return hashlib.sha256(pack(value)).hexdigest()
    except ValueNotSupported:
        return f"{type(value).__module__}.{type(value).__qualname__}"
