"""Catalog: the workers that a process can run, found in the user's modules.

A module lists its workers in `__all__`; without one, every subclass of `Worker` or `Step` and every `@worker` function
that is defined in it (or in a module below it) counts, private names excepted. Nothing is ever imported because a
pipeline names it: what is not in the catalog at start cannot be run.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
import traceback
from collections.abc import Iterable, Iterator
from importlib import import_module, invalidate_caches
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from ..pipeline.errors import ConfigError, NotFound
from ..pipeline.styles.inputs import InputHandler
from .base import Worker
from .messages import WorkerCard
from .namespaces import built_in, served
from .roles import BUILT_IN, RoleRunnable
from .runnable import Runnable, is_worker, runnable
from .steps import BUILT_IN as BUILT_IN_STEPS
from .steps import StepRunnable, is_step


class Catalog:
    """Workers by name. The built-in roles are in every catalog, for modules to have their own under these names."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self._workers: dict[str, Runnable] = {}
        self._where: dict[str, str] = {}
        self._loaders: dict[str, InputHandler] = {}
        """What loads the inputs of actions that a saver has taken, by protocol."""
        self._built_in = {entry.name: entry for entry in map(self._entry, BUILT_IN)}

    @classmethod
    def load(cls, modules: Iterable[str], required: bool = True, folder: str = "") -> Catalog:
        """Import modules by name, `folder` before everything else. Raises `ConfigError` for what cannot be used.

        `required` False: a module that does not exist is a warning.
        """
        if folder and folder not in sys.path:
            sys.path.insert(0, folder)
        catalog = cls()
        for name in modules:
            module = _imported(name, required)
            if module is None:
                catalog.warnings.append(f"there is no module {name!r} here: no workers come from it")
            else:
                catalog.add_module(module)
        if folder:
            catalog.add_namespaces(folder)
        return catalog

    @classmethod
    def of(cls, things: Any) -> Catalog:
        """From a module, a module's name, a class, a function, or a list of such."""
        catalog = cls()
        several = isinstance(things, Iterable) and not isinstance(things, str | type)
        for thing in things if several else [things]:
            if isinstance(thing, str):
                catalog.add_module(_imported(thing, True))
            elif isinstance(thing, ModuleType):
                catalog.add_module(thing)
            else:
                catalog.add(thing)
        return catalog

    def add_module(self, module: ModuleType | None) -> None:
        if module is None:
            return
        found = list(_workers_of(module))
        for target in found:
            self.add(target, module.__name__)
        handlers = [one for one in vars(module).values() if isinstance(one, InputHandler)]
        for handler in handlers:
            self.add(handler)
        if not found and not handlers:
            self.warnings.append(f"module {module.__name__!r} has no workers ({module.__file__})")

    def add(self, target: Any, where: str = "") -> None:
        if isinstance(target, InputHandler):
            self._loaders.update(dict.fromkeys(target.protocols, target))
            return
        entry = self._entry(target)
        where = where or getattr(target, "__module__", "?")
        known = self._workers.get(entry.name)
        if known is None:
            self._workers[entry.name] = entry
            self._where[entry.name] = where
            if entry.kind == StepRunnable.kind:
                self._built_in.update((one.name, one) for one in map(StepRunnable, BUILT_IN_STEPS))
        elif known.target is not target:
            places = f"{_described(known.target, self._where[entry.name])} and {_described(target, where)}"
            raise ConfigError(f"there are two workers {entry.name!r}: {places}; rename one with @worker(name=...)")

    def add_namespaces(self, folder: str | Path, names: Iterable[str] | None = None) -> None:
        """The function tasks of job maps that stand below a folder (in namespaces of these names), and, if there are
        any, what job maps need besides."""
        found = list(served(folder, self.warnings, names))
        for entry in found:
            self._workers.setdefault(entry.name, entry)
        if found or names is not None:
            self._built_in.update((entry.name, entry) for entry in built_in())

    def fill(self, other: Catalog) -> None:
        """Take from another catalog what its modules have, and this one's have not."""
        for name, entry in other._workers.items():
            if not self.has_own(name):
                self.add(entry.target, other._where[name])
        for protocol, handler in other._loaders.items():
            self._loaders.setdefault(protocol, handler)

    def has_own(self, name: str) -> bool:
        """Is this worker the user's?"""
        return name in self._workers

    def _entry(self, target: Any) -> Runnable:
        """A role is the name of its worker and of the place where it runs."""
        if is_step(target):
            return StepRunnable(target)
        entry = runnable(target)
        return RoleRunnable(entry, self._loaders) if entry.role == entry.name else entry

    def get(self, name: str) -> Runnable | None:
        return self._workers.get(name) or self._built_in.get(name)

    def __getitem__(self, name: str) -> Runnable:
        found = self.get(name)
        if found is None:
            known = ", ".join(sorted(self._workers)) or "none at all"
            raise NotFound("worker", name, f"this process has {known}")
        return found

    def __len__(self) -> int:
        """How many of the user's."""
        return len(self._workers)

    def cards(self) -> list[WorkerCard]:
        """The user's first."""
        entries = {**self._workers, **self._built_in, **self._workers}.values()
        for entry in entries:
            entry.code = version(entry.target)
        return [WorkerCard(one.name, one.requires, one.role, one.code, one.kind) for one in entries]


def version(target: Any) -> str:
    """A digest of the module that the code stands in: a changed helper beside a worker changes the worker."""
    module = sys.modules.get(getattr(target, "__module__", ""))
    file = getattr(module, "__file__", None)
    try:
        source = Path(file).read_bytes() if file else inspect.getsource(target).encode()
    except (OSError, TypeError):
        code = getattr(target, "__code__", None)
        source = code.co_code if code is not None else repr(target).encode()
    name = getattr(target, "__qualname__", "")
    return hashlib.sha256(name.encode() + b"\0" + source).hexdigest()[:12]


def _imported(name: str, required: bool) -> ModuleType | None:
    invalidate_caches()
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            if not required:
                return None
            text = f"there is no module {name!r} (looked in {Path.cwd()} and on the Python path)"
            raise ConfigError(f"{text}; start from the folder that holds it, or give its name with --workers") from None
        raise _broken(name) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _broken(name) from error


def _broken(name: str) -> ConfigError:
    """To be called while the exception is handled: the user needs the whole of it."""
    return ConfigError(f"module {name!r} cannot be imported:\n{traceback.format_exc().rstrip()}")


def _workers_of(module: ModuleType) -> Iterator[Any]:
    listed = getattr(module, "__all__", None)
    if listed is None:
        for name, target in list(vars(module).items()):
            if not name.startswith("_") and (is_worker(target) or is_step(target)) and _belongs(target, module):
                yield target
        return
    for name in listed:
        try:
            target = getattr(module, name)
        except AttributeError:
            raise ConfigError(
                f"Could not find worker {name!r}: module {module.__name__!r} lists it in __all__ and does not have it"
            ) from None
        if is_worker(target) or is_step(target) or _could_be(target):
            yield target


def _could_be(target: Any) -> bool:
    """In `__all__` a class needs no base and a function no decorator."""
    if isinstance(target, type):
        return target is not Worker and callable(getattr(target, "process", None))
    return isinstance(target, FunctionType)


def _belongs(target: Any, module: ModuleType) -> bool:
    origin: str = getattr(target, "__module__", "") or ""
    return origin == module.__name__ or origin.startswith(f"{module.__name__}.")


def _described(target: Any, where: str) -> str:
    return f"{where}.{getattr(target, '__qualname__', repr(target))}"
