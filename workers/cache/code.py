"""The code of a worker, as digests by name: what has to change for its results to be other ones.

It is read from what the process has loaded, not from files: a file may have been edited since, and what runs is what
counts. Names of variables count, comments, docstrings and the place of the code do not; another version of Python is
a part of its own. From the worker on it goes to

- the methods and attributes of its class, and of the classes that this one is made from,
- the functions and classes that it calls by a global name, directly or by `module.name`, and those that these call,
- globals that are plain values or tables of functions, defaults, and what a closure holds; of an object its class,

as far as they are the user's: defined in the worker's module, in its package, or in a module of the same folder.

It does not see installed packages, methods of objects that are handed in, what is looked up by a name made at run time,
files and the environment. `version` on the worker is for those.
"""

from __future__ import annotations

import inspect
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from enum import Enum
from functools import cached_property, partial, partialmethod
from hashlib import sha256
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from ...pipeline.canonical import canonical
from ...pipeline.errors import ValueNotSupported

PACKAGE = __name__.partition(".")[0]
LARGEST = 64 * 1024
"""A global, default or attribute that is larger counts by its type only."""
MOST = 2000
"""Functions and classes that are looked at, and entries of a table."""
DEEPEST = 8
"""Tables in tables that are looked into."""
_INSTALLED = ("site-packages", "dist-packages")
_PASSED_OVER = frozenset({
    "__module__", "__doc__", "__dict__", "__weakref__", "__firstlineno__", "__static_attributes__", "__headrace__",
    "__qualname__", "__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__", "version",
})  # fmt: skip


def code_of(target: Any) -> dict[str, str]:
    """Digests by name: `''` is the worker itself, `.process()` a method of it, others are what it uses."""
    return _Reading(target).digests()


class _Reading:
    def __init__(self, target: Any) -> None:
        self._target = target
        self._module = getattr(target, "__module__", None) or ""
        self._package = self._module.partition(".")[0]
        self._folder = _folder_of(self._module)
        self._waiting: deque[tuple[str, Any]] = deque([("", target)])
        self._seen: set[int] = {id(target)}
        self._globals: set[tuple[int, str]] = set()
        self._found: dict[str, list[bytes]] = {}

    def digests(self) -> dict[str, str]:
        while self._waiting:
            name, thing = self._waiting.popleft()
            if isinstance(thing, type):
                self._class(name, thing)
            else:
                self._found.setdefault(name, []).append(self._callable(thing))
        return {name: sha256(b"\0".join(parts)).hexdigest()[:24] for name, parts in sorted(self._found.items())}

    # What is looked at ----------------------------------------------------------------------------------------------

    def _class(self, name: str, cls: type) -> None:
        """A class by its attributes: of the worker one by one, of others together."""
        for one in cls.__mro__:
            if one is not cls and not self._ours(one):
                continue
            for attribute, value in sorted(vars(one).items(), key=lambda pair: pair[0]):
                if attribute not in _PASSED_OVER:
                    self._attribute(name, attribute, value)
        if issubclass(cls, Enum):
            self._found.setdefault(name, []).append(self._value({one.name: one.value for one in cls}))

    def _attribute(self, name: str, attribute: str, value: Any) -> None:
        several = (value.fget, value.fset, value.fdel) if isinstance(value, property) else (value,)
        for part in several:
            function = _function(part)
            told = name or f".{attribute}" + ("()" if function is not None else "")
            digest = self._callable(function) if function is not None else self._value(part)
            self._found.setdefault(told, []).append(attribute.encode() + b"=" + digest)

    def _callable(self, thing: Any) -> bytes:
        """A function with all that it refers to; of what is no function of Python its name."""
        if isinstance(thing, partial):
            return self._callable(thing.func) + self._value([thing.args, thing.keywords])
        function = _function(thing)
        if function is None:
            return f"{type(thing).__qualname__} {getattr(thing, '__qualname__', '')}".encode("utf-8", "surrogatepass")
        parts = [_bytes_of(function.__code__, function.__doc__)]
        for held in (function.__defaults__, function.__kwdefaults__):
            parts += [self._value(one) for one in _values(held)]
        parts += [self._value(one) for one in _held(function)]
        if self._ours(function):
            self._follow(function)
        return b"\0".join(parts)

    def _follow(self, function: FunctionType) -> None:
        names = set(_names(function.__code__))
        for name in sorted(names & function.__globals__.keys()):
            value = function.__globals__[name]
            if isinstance(value, ModuleType):
                if self._ours_by_name(value.__name__):
                    for inner in sorted(names & vars(value).keys()):
                        self._global(vars(value), inner)
            else:
                self._global(function.__globals__, name)

    def _global(self, names: dict[str, Any], name: str) -> None:
        """Something that stands in a module: what is the user's is looked at, plain values are read."""
        value = names[name]
        if isinstance(value, ModuleType) or (id(names), name) in self._globals:
            return
        self._globals.add((id(names), name))
        if isinstance(value, type) or _function(value) is not None:
            self._enqueue(value)
        else:
            self._found.setdefault(name, []).append(self._value(value))

    def _enqueue(self, thing: Any) -> None:
        thing = thing if isinstance(thing, type) else _function(thing)
        if id(thing) in self._seen or len(self._seen) >= MOST or not self._ours(thing):
            return
        self._seen.add(id(thing))
        self._waiting.append((thing.__qualname__ + ("" if isinstance(thing, type) else "()"), thing))

    def _value(self, value: Any, depth: int = 0) -> bytes:
        """A plain value by its content; a function, a class or a table of such is looked at; other things by type."""
        if isinstance(value, partial):
            return self._value(value.func) + self._value([value.args, value.keywords])
        if isinstance(value, type) or _function(value) is not None:
            self._enqueue(value)
            return getattr(value, "__qualname__", "").encode("utf-8", "surrogatepass")
        try:
            content = canonical(value)
        except ValueNotSupported:
            content = self._parts(value, depth)
        if 0 < len(content) <= LARGEST:
            return sha256(content).digest()
        self._enqueue(type(value))
        return f"{type(value).__module__}.{type(value).__qualname__}".encode()

    def _parts(self, value: Any, depth: int) -> bytes:
        """Of a list or dict that holds more than plain values, such as a table of functions."""
        if type(value) not in (list, tuple, dict) or depth > DEEPEST or len(value) > MOST:
            return b""
        parts = value.items() if isinstance(value, dict) else value
        return b"(" + b",".join(self._value(part, depth + 1) for part in parts) + b")"

    # What is the user's ---------------------------------------------------------------------------------------------

    def _ours(self, thing: Any) -> bool:
        return self._ours_by_name(getattr(thing, "__module__", None) or "")

    def _ours_by_name(self, module: str) -> bool:
        package = module.partition(".")[0]
        if package == PACKAGE:
            return False
        if module == self._module or package == self._package:
            return True
        folder = _folder_of(module)
        return self._folder is not None and folder is not None and folder.is_relative_to(self._folder)


def _folder_of(module: str) -> Path | None:
    """The folder that the module's package stands in; None for what is installed or has no file."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if not file:
        return None
    folder = Path(file).absolute().parent
    if any(part in _INSTALLED for part in folder.parts) or folder.is_relative_to(_LIBRARY):
        return None
    depth = module.count(".") + (Path(file).stem == "__init__")
    return folder.parents[depth - 1] if 0 < depth <= len(folder.parents) else folder


_LIBRARY = Path(inspect.__file__).parent


def _function(thing: Any) -> FunctionType | None:
    """The function behind a method, a static or class method, or a decorator that says what it wraps."""
    thing = thing.func if isinstance(thing, cached_property | partialmethod) else getattr(thing, "__func__", thing)
    for _ in range(32):
        if isinstance(thing, FunctionType):
            return thing
        if isinstance(thing, type) or not callable(thing):
            return None
        thing = getattr(thing, "__wrapped__", None)
    return None


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from _names(one)


def _values(held: tuple[Any, ...] | Mapping[str, Any] | None) -> Iterator[Any]:
    if isinstance(held, Mapping):
        for name, value in sorted(held.items()):
            yield from (name, value)
    else:
        yield from held or ()


def _held(function: FunctionType) -> Iterator[Any]:
    """What its closure holds, as far as that is there yet."""
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:
            yield None


def _bytes_of(code: CodeType, doc: str | None) -> bytes:
    """The code in the same bytes in every process: sets among its constants have no order of their own."""
    constants = code.co_consts
    if doc is not None and constants and constants[0] == doc:
        constants = (None, *constants[1:])
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    texts = [code.co_code, code.co_exceptiontable, repr((counts, names)).encode("utf-8", "surrogatepass")]
    return sha256(b"\0".join([*texts, *map(_constant, constants)])).digest()


def _constant(value: Any) -> bytes:
    if isinstance(value, CodeType):
        return _bytes_of(value, None)
    if isinstance(value, frozenset):
        return b"{" + b",".join(sorted(map(_constant, value))) + b"}"
    if isinstance(value, tuple):
        return b"(" + b",".join(map(_constant, value)) + b")"
    return f"{type(value).__name__} {value!r}".encode("utf-8", "surrogatepass")
